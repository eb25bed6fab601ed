"""The schema: an empty database is migrated, an older one upgraded, a newer one left alone."""

import pytest
from sqlalchemy import make_url
from temporalio.client import Client

from celadon.table.core.schema_revision import current_revision, newest_revision
from tests.cli.conftest import Command
from tests.cli.doctor.conftest import Doctor, not_fine
from tests.table.rows import Rows


async def test_an_empty_database_is_migrated(
    doctor: Doctor,
    temporal: Client,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del temporal
    url = make_url(rows.table.database_url).set(database="doctor_empty").render_as_string(hide_password=False)
    async with rows.table.transaction() as tx:
        connection = await tx.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        await connection.exec_driver_sql("create database doctor_empty")
    monkeypatch.setenv("DATABASE_URL", url)

    code, found = await doctor()
    assert (code, found["Postgres"]["verdict"]) == (1, "wrong")
    assert "keeper" not in found
    assert await current_revision(url) is None

    code, mended = await doctor("--fix")
    assert (code, not_fine(mended)) == (1, {"Postgres": "mended", "keeper": "wrong", "routers": "odd"})
    assert mended["Postgres"]["done"] == f"brought the tables from revision none to {newest_revision()}"
    assert await current_revision(url) == newest_revision()

    assert not_fine((await doctor())[1]) == {"keeper": "wrong", "routers": "odd"}


async def test_the_tables_of_a_newer_celadon_are_left_alone(doctor: Doctor, rows: Rows) -> None:
    await rows.sql("update alembic_version set version_num = '9999'")
    try:
        code, found = await doctor("--fix")
        left = await rows.value("select version_num from alembic_version")
    finally:
        await rows.sql("update alembic_version set version_num = :newest", newest=newest_revision())

    assert (code, found["Postgres"]["verdict"], left) == (1, "wrong", "9999")
    assert "a newer Celadon" in found["Postgres"]["next_step"]


async def test_a_database_that_is_not_there_is_told_with_its_address(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://ann:secret@127.0.0.1:1/celadon")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")

    result = await command("doctor", "--fix")

    assert result.exit_code == 1
    assert "✘ Postgres: does not answer at postgresql+asyncpg://ann:***@127.0.0.1:1/celadon" in result.stdout
    assert "correct DATABASE_URL" in result.stdout
