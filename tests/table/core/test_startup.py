"""What a process makes sure of before it works."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import make_url, text
from structlog.testing import capture_logs

from celadon.table.core import startup
from celadon.table.core.engine import Table
from celadon.table.core.listen import ROUTES_CHANNEL, Listener
from celadon.table.core.migrate import upgrade
from celadon.table.core.outages import NotMigratedError
from celadon.table.core.schema_revision import newest_revision
from celadon.table.core.startup import DatabaseRefusedError, check_revision, refuse_transaction_pooler, until_usable
from celadon.table.core.trouble_log import TroubleLog
from tests.provisioners.programs import until
from tests.table.listening import heard, notify, until_connected
from tests.table.own_server import OWNER, running_server
from tests.table.pooler import running_pgbouncer

ROUND_ROBIN = "auth_type = trust\nserver_round_robin = 1"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pooled_url(reachable_directory: Path) -> AsyncIterator[str]:
    """Run a server that lets poolers in, which are other users of the machine; return its address."""
    async with running_server(reachable_directory / "pooled") as port:
        yield f"postgresql+asyncpg://{OWNER}@127.0.0.1:{port}/postgres"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def migrated_url(pooled_url: str) -> str:
    """Return the same address with this version's tables behind it."""
    await upgrade(pooled_url)
    return pooled_url


@pytest_asyncio.fixture(loop_scope="session")
async def revision(table: Table) -> AsyncIterator[None]:
    """Put the revision of the tables back after the test."""
    yield
    async with table.transaction() as tx:
        await tx.execute(text("update alembic_version set version_num = :newest"), {"newest": newest_revision()})


async def _set_revision(table: Table, revision: str) -> None:
    async with table.transaction() as tx:
        await tx.execute(text("update alembic_version set version_num = :revision"), {"revision": revision})


async def test_postgres_itself_can_be_used(table: Table) -> None:
    await until_usable(table.database_url, TroubleLog("away"))


@pytest.mark.parametrize(
    "settings",
    [
        "server_round_robin = 0",
        "server_round_robin = 1",
        "default_pool_size = 1",
        # Exactly two servers that take turns.
        "server_round_robin = 1\nmin_pool_size = 2\ndefault_pool_size = 2",
    ],
)
async def test_a_pooler_in_transaction_mode_is_refused_in_one_sentence(
    pooled_url: str,
    reachable_directory: Path,
    settings: str,
) -> None:
    name = re.sub(r"\W", "", settings)
    async with running_pgbouncer(
        pooled_url, reachable_directory / name, "transaction", f"auth_type = trust\n{settings}"
    ) as url:
        with pytest.raises(DatabaseRefusedError) as refused:
            await until_usable(url, TroubleLog("away"))

    assert str(refused.value) == (
        f"DATABASE_URL ({url}) leads to a pooler in transaction mode, where notifications (LISTEN), locks and settings "
        "of a session are lost; let the pooler use session mode (pgbouncer: pool_mode = session), or name the address "
        "of Postgres itself"
    )


async def test_a_pooler_in_transaction_mode_is_recognised_while_others_use_it(
    pooled_url: str,
    reachable_directory: Path,
) -> None:
    directory = reachable_directory / "busy"
    async with running_pgbouncer(pooled_url, directory, "transaction", ROUND_ROBIN) as url:
        others = [await startup._open(url) for _ in range(5)]  # noqa: SLF001 - clients that need nothing of a session
        ended = asyncio.Event()

        async def use(number: int) -> None:
            while not ended.is_set():
                await startup._process_of(others[number])  # noqa: SLF001
                await asyncio.sleep(0)

        using = [asyncio.create_task(use(number)) for number in range(len(others))]
        try:
            with pytest.raises(DatabaseRefusedError):
                await refuse_transaction_pooler(url)
        finally:
            ended.set()
            await asyncio.gather(*using)
            for one in others:
                one.terminate()


async def test_a_pooler_in_statement_mode_is_refused(pooled_url: str, reachable_directory: Path) -> None:
    async with running_pgbouncer(pooled_url, reachable_directory / "statement", "statement") as url:
        with pytest.raises(DatabaseRefusedError):
            await refuse_transaction_pooler(url)


async def test_a_pooler_in_session_mode_serves_with_all_settings(
    migrated_url: str,
    reachable_directory: Path,
) -> None:
    async with running_pgbouncer(migrated_url, reachable_directory / "session", "session") as url:
        await until_usable(url, TroubleLog("away"))
        async with Table(url, "celadon-pooled") as pooled, pooled.transaction() as tx:
            assert await tx.scalar(text("show statement_timeout")) == "5s"
            assert await tx.scalar(text("show idle_in_transaction_session_timeout")) == "5s"
            assert await tx.scalar(text("show timezone")) == "UTC"
            assert await tx.scalar(text("show application_name")) == "celadon-pooled"


async def test_notifications_are_heard_through_a_pooler_in_session_mode(
    pooled_url: str,
    reachable_directory: Path,
) -> None:
    async with (
        running_pgbouncer(pooled_url, reachable_directory / "heard", "session") as url,
        Table(pooled_url, "celadon-teller") as table,
        Listener(url, "celadon-pooled-listener") as listener,
    ):
        await until_connected(listener)
        async with listener.subscribe(ROUTES_CHANNEL) as subscription:
            await notify(table, ROUTES_CHANNEL, "news")

            assert await heard(subscription, 1) == ["news"]


@pytest.mark.usefixtures("revision")
async def test_older_tables_are_named_with_what_to_do(table: Table) -> None:
    await _set_revision(table, "0001")

    with pytest.raises(NotMigratedError) as told:
        await check_revision(table.database_url)

    assert str(told.value) == (
        f"the tables are at revision 0001, this Celadon needs {newest_revision()}; run 'celadon db upgrade'"
    )


async def test_missing_tables_are_named_with_what_to_do(table: Table) -> None:
    empty = make_url(table.database_url).set(database="postgres").render_as_string(hide_password=False)

    with pytest.raises(NotMigratedError, match=r"at revision none, .*; run 'celadon db upgrade'"):
        await check_revision(empty)


@pytest.mark.usefixtures("revision")
async def test_newer_tables_are_told_and_used(table: Table) -> None:
    await _set_revision(table, "9999")

    with capture_logs() as logs:
        await check_revision(table.database_url)

    [told] = logs
    assert (told["event"], told["revision"]) == ("tables_are_newer", "9999")


@pytest.mark.usefixtures("revision")
async def test_a_process_waits_until_the_tables_are_upgraded(table: Table) -> None:
    await _set_revision(table, "0001")
    with capture_logs() as logs:
        waiting = asyncio.create_task(
            until_usable(table.database_url, TroubleLog("table_not_usable"), poll_seconds=0.05)
        )
        await until(lambda: bool(logs))
        assert not waiting.done()
        await _set_revision(table, newest_revision())
        await waiting

    assert [one["event"] for one in logs] == ["table_not_usable", "trouble_is_over"]


async def test_an_account_that_is_not_let_in_is_refused_in_one_sentence(pooled_url: str) -> None:
    url = make_url(pooled_url).set(username="stranger", password="secret")  # noqa: S106 - nobody's

    with pytest.raises(DatabaseRefusedError, match=r'role "stranger" does not exist; correct the user') as refused:
        await until_usable(url.render_as_string(hide_password=False), TroubleLog("away"))

    assert "secret" not in str(refused.value)
