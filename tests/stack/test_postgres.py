"""Postgres from its package, as the user who runs the tests."""

import asyncio
import os
import signal
import stat
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from celadon.stack.child_log import ChildLog
from celadon.stack.os_user import OsUser, user_for_postgres
from celadon.stack.postgres import (
    create_database,
    database_url,
    drop_database,
    initialise,
    postgres_spec,
    running_postgres,
)
from celadon.stack.postgres_home import PostgresHome, owner_of, prepare_home
from celadon.stack.process import ChildProcess
from tests.stack.processes import DEADLINE_SECONDS

pytestmark = pytest.mark.parts

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be another user")


async def query(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        await engine.dispose()


async def initialised_home(data_dir: Path) -> PostgresHome:
    home = await asyncio.to_thread(prepare_home, data_dir, user_for_postgres())
    await initialise(home)
    return home


async def test_gives_a_database_in_unicode_that_survives_power_cuts(data_dir: Path) -> None:
    async with running_postgres(data_dir) as url:
        rows = await query(
            url,
            "SELECT current_database(), current_setting('server_encoding'), current_setting('fsync'), datlocale "
            "FROM pg_database WHERE datname = current_database()",
        )
    assert rows == [("celadon", "UTF8", "on", "C.UTF-8")]


async def test_keeps_what_was_committed_when_the_server_is_killed(data_dir: Path) -> None:
    async with running_postgres(data_dir) as url:
        await query(url, "CREATE TABLE kept AS SELECT 1 AS one")
        postmaster = int((data_dir / "postgres/cluster/postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
    async with running_postgres(data_dir) as url:
        assert await query(url, "SELECT one FROM kept") == [(1,)]


async def test_listens_on_no_network_port(data_dir: Path) -> None:
    async with running_postgres(data_dir):
        postmaster = int((data_dir / "postgres/cluster/postmaster.pid").read_text().splitlines()[0])
        assert psutil.Process(postmaster).net_connections("inet") == []


async def test_only_its_own_user_can_enter_the_directories_it_writes(data_dir: Path) -> None:
    async with running_postgres(data_dir):
        account = user_for_postgres(owner_of(data_dir))
        for name in ("cluster", "socket"):
            found = (data_dir / "postgres" / name).stat()
            assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (account.uid, 0o700)


@as_root
async def test_the_user_it_runs_as_cannot_connect(data_dir: Path) -> None:
    home = await initialised_home(data_dir)
    async with running_postgres(data_dir):
        psql = await asyncio.create_subprocess_exec(
            home.programs / "psql",
            *("-h", home.socket_directory, "-U", "celadon", "-c", "SELECT 1", "celadon"),
            stderr=asyncio.subprocess.PIPE,
            user=home.account.uid,
            group=home.account.gid,
            extra_groups=[],
            cwd="/",
        )
        _, said = await psql.communicate()
    assert psql.returncode != 0
    assert "Peer authentication failed" in said.decode()


async def test_creating_a_database_twice_keeps_what_is_in_it(postgres_url: str) -> None:
    url = await create_database(postgres_url, "created-twice")
    await query(url, "CREATE TABLE kept ()")
    assert await create_database(postgres_url, "created-twice") == url
    assert await query(url, "SELECT count(*) FROM kept") == [(0,)]
    await drop_database(postgres_url, "created-twice")


async def test_a_dropped_database_is_gone_although_somebody_uses_it(postgres_url: str) -> None:
    url = await create_database(postgres_url, "dropped")
    engine = create_async_engine(url)
    async with engine.connect():
        await drop_database(postgres_url, "dropped")
    await engine.dispose()
    with pytest.raises(DBAPIError, match='database "dropped" does not exist'):
        await query(url, "SELECT 1")


async def test_begins_anew_when_initialising_was_cut_short(data_dir: Path) -> None:
    home = await asyncio.to_thread(prepare_home, data_dir, user_for_postgres())
    (home.directory / "initdb" / "cluster" / "base").mkdir(parents=True)
    async with running_postgres(data_dir) as url:
        assert await query(url, "SELECT 1") == [(1,)]


async def test_serves_from_a_directory_with_a_path_too_long_for_a_socket(data_dir: Path) -> None:
    deep = data_dir / ("long" * 30)
    deep.mkdir(mode=0o711)
    async with running_postgres(deep) as url:
        assert await query(url, "SELECT 1") == [(1,)]
    home = await asyncio.to_thread(prepare_home, deep, user_for_postgres())
    home.socket_directory.rmdir()


async def test_ends_a_server_that_an_earlier_stack_left_behind(data_dir: Path) -> None:
    home = await initialised_home(data_dir)
    left_behind = await ChildProcess.start(postgres_spec(home), ChildLog(data_dir / "left-behind.log"))
    await left_behind.until_ready()
    async with running_postgres(data_dir) as url:
        assert await query(url, "SELECT 1") == [(1,)]
        # The loop may hear of the end a little later than the one who saw to it.
        async with asyncio.timeout(DEADLINE_SECONDS):
            await left_behind.wait()


async def test_starts_although_the_process_id_of_a_dead_server_has_been_used_again(data_dir: Path) -> None:
    home = await initialised_home(data_dir)
    account = home.account
    other = await asyncio.create_subprocess_exec(
        "sleep",
        "600",
        user=None if account.is_current else account.uid,
    )
    (home.cluster / "postmaster.pid").write_text(f"{other.pid}\n{home.cluster}\n1\n5432\n\n\n")
    try:
        async with running_postgres(data_dir) as url:
            assert await query(url, "SELECT 1") == [(1,)]
        assert other.returncode is None
    finally:
        other.kill()
        await other.wait()


async def test_an_address_is_one_that_sqlalchemy_takes(data_dir: Path) -> None:
    home = PostgresHome(data_dir, data_dir, Path("/run/a b"), OsUser.current())
    engine = create_async_engine(database_url(home))
    assert engine.url.query == {"host": "/run/a b", "port": "5432"}
