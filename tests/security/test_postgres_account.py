"""Root's Postgres: who else on the machine can get at the database."""

import os
import pwd
import stat
from itertools import count
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from celadon.cli.doctor.findings import Verdict
from celadon.cli.doctor.postgres_account import check_postgres_account
from celadon.stack import os_user as accounts
from celadon.stack.addresses import StackAddresses
from celadon.stack.errors import StackError
from celadon.stack.os_user import POSTGRES_USER_VARIABLE, OsUser, user_for_postgres
from celadon.stack.postgres import running_postgres
from celadon.stack.postgres_home import owner_of
from tests.security.other_user import OtherUser

pytestmark = [
    pytest.mark.parts,
    pytest.mark.skipif(os.geteuid() != 0, reason="root alone runs Postgres as another user"),
]

NOBODY = pwd.getpwnam("nobody").pw_uid
CONNECT = """
import asyncio, asyncpg, sys
async def connect():
    return await asyncpg.connect(host=sys.argv[1], port=5432, user="celadon", database="postgres", timeout=10)
asyncio.run(connect())
print("connected")
"""


_numbers = count(1)


@pytest.fixture
def data_dir(reachable_directory: Path) -> Path:
    """Return a data directory that every user can pass through, so that what stops one is its content.

    Its path is short: the socket lies in it, not elsewhere.
    """
    directory = reachable_directory / f"pg{next(_numbers)}"
    directory.mkdir(mode=0o711)
    return directory


async def execute(url: str, statement: str) -> None:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


def servers_of(data_dir: Path) -> list[psutil.Process]:
    """Return the processes whose working directory is the cluster."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(data_dir / "postgres" / "cluster"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def stack_in(data_dir: Path) -> StackAddresses:
    places = dict.fromkeys(
        (
            *("database_url", "temporal_address", "temporal_ui", "router", "preview_router", "router_admin"),
            *("gateway", "metrics", "gateway_metrics", "preview_key"),
        ),
        "",
    )
    return StackAddresses.model_validate({**places, "data_dir": data_dir, "pid": 1})


async def test_it_runs_as_a_user_id_that_nothing_else_has(data_dir: Path) -> None:
    async with running_postgres(data_dir):
        server = servers_of(data_dir)[0]
        uid, gid = server.uids(), server.gids()
        # Servers come and go; what has gone meanwhile is left out.
        everything = [process.info for process in psutil.process_iter(["pid", "ppid", "uids", "gids"])]
        family = [one for one in everything if server.pid in (one["pid"], one["ppid"])]
        of_user = [one for one in everything if one["uids"] is not None and one["uids"].real == uid.real]

    with pytest.raises(KeyError):
        pwd.getpwuid(uid.real)
    assert uid.real == uid.effective == uid.saved == gid.real == gid.effective == gid.saved
    assert {(one["uids"], one["gids"]) for one in family} == {(uid, gid)}
    assert of_user == family


async def test_another_process_of_nobody_gets_at_nothing(data_dir: Path, user_nobody: OtherUser) -> None:
    async with running_postgres(data_dir):
        server = servers_of(data_dir)[0]
        for path in ("postgres", "postgres/cluster", "postgres/cluster/PG_VERSION", "postgres/access.conf"):
            assert "Permission denied" in user_nobody.run("cat", data_dir / path).stderr, path
        for path in ("cwd/PG_VERSION", "environ", "mem"):
            assert "Permission denied" in user_nobody.run("cat", f"/proc/{server.pid}/{path}").stderr, path
        assert "not permitted" in user_nobody.run("kill", str(server.pid)).stderr.lower()
        connecting = user_nobody.run_python(CONNECT, data_dir / "postgres" / "socket")

    assert "PermissionError" in connecting.stderr
    assert "connected" not in connecting.stdout


async def test_no_other_user_connects(data_dir: Path, other_user: OtherUser) -> None:
    async with running_postgres(data_dir):
        connecting = other_user.run_python(CONNECT, data_dir / "postgres" / "socket")

    assert "PermissionError" in connecting.stderr
    assert "connected" not in connecting.stdout


async def test_a_user_who_gets_as_far_as_the_socket_is_not_let_in(data_dir: Path, user_nobody: OtherUser) -> None:
    """Permissions are one lock, the kernel's word for who connects is another."""
    async with running_postgres(data_dir):
        (data_dir / "postgres").chmod(0o711)
        (data_dir / "postgres" / "socket").chmod(0o711)
        connecting = user_nobody.run_python(CONNECT, data_dir / "postgres" / "socket")

    assert "Peer authentication failed" in connecting.stderr
    assert "connected" not in connecting.stdout


async def test_what_is_made_before_the_first_start_is_out_of_reach_too(data_dir: Path) -> None:
    async with running_postgres(data_dir):
        home = (data_dir / "postgres").stat()
        account = user_for_postgres(owner_of(data_dir))

    assert (home.st_uid, home.st_gid, stat.S_IMODE(home.st_mode)) == (0, account.gid, 0o710)


async def test_it_keeps_its_user_from_start_to_start(data_dir: Path) -> None:
    async with running_postgres(data_dir) as url:
        await execute(url, "create table kept ()")
    first = owner_of(data_dir)
    async with running_postgres(data_dir) as url:
        await execute(url, "select * from kept")

    assert owner_of(data_dir) == first


async def test_a_database_of_nobody_is_handed_over(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was left by a version whose Postgres ran as nobody."""
    monkeypatch.setenv(POSTGRES_USER_VARIABLE, "nobody")
    async with running_postgres(data_dir) as url:
        await execute(url, "create table kept ()")
    assert owner_of(data_dir) == NOBODY
    monkeypatch.delenv(POSTGRES_USER_VARIABLE)

    async with running_postgres(data_dir) as url:
        await execute(url, "select * from kept")

    owners = {path.lstat().st_uid for path in (data_dir / "postgres" / "cluster").rglob("*")}
    assert owners == {owner_of(data_dir)}
    assert owners != {NOBODY}


async def test_the_former_user_is_given_no_file_by_a_link(
    data_dir: Path,
    user_nobody: OtherUser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(POSTGRES_USER_VARIABLE, "nobody")
    async with running_postgres(data_dir):
        pass
    monkeypatch.delenv(POSTGRES_USER_VARIABLE)
    roots = data_dir / "of-root"
    roots.mkdir(mode=0o700)
    (roots / "file").write_text("secret")
    (data_dir / "postgres" / "cluster" / "planted").symlink_to(roots / "file")
    (data_dir / "postgres" / "cluster" / "planted-directory").symlink_to(roots)

    async with running_postgres(data_dir):
        pass

    assert {roots.stat().st_uid, (roots / "file").stat().st_uid} == {0}

    other_file = user_nobody.directory / "file"
    other_file.write_text("of another program of nobody")
    os.chown(other_file, NOBODY, -1)
    monkeypatch.setenv(POSTGRES_USER_VARIABLE, "nobody")
    async with running_postgres(data_dir):
        pass
    monkeypatch.delenv(POSTGRES_USER_VARIABLE)
    os.link(other_file, data_dir / "postgres" / "cluster" / "second-name")
    with pytest.raises(StackError, match="second-name has 2 names"):
        async with running_postgres(data_dir):
            pass
    assert other_file.stat().st_uid == NOBODY


@pytest.mark.parametrize(("name", "told"), [("root", "refuses to run as root"), ("no-such-user", "has no user")])
def test_a_user_that_cannot_be_is_refused(name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRES_USER_VARIABLE, name)

    with pytest.raises(StackError, match=told):
        user_for_postgres()


def test_an_id_that_somebody_was_given_meanwhile_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = OsUser.unassigned()
    assert mine is not None
    assert OsUser.unassigned(mine.uid) == mine

    for taken in (0, NOBODY, pwd.getpwnam("daemon").pw_uid):
        other = OsUser.unassigned(taken)
        assert other is not None
        assert other.uid != taken
    monkeypatch.setattr(accounts, "_mapped", lambda kind: [range(65_536)] if kind else [])
    in_a_container = OsUser.unassigned(mine.uid)
    assert in_a_container is not None
    assert in_a_container.uid < 65_536


async def test_where_there_is_no_such_id_it_says_what_is_at_risk(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container in which hardly any user id exists."""
    monkeypatch.setattr(accounts, "_mapped", lambda kind: [range(1_000), range(NOBODY, NOBODY + 1)] if kind else [])
    with capture_logs() as lines:
        async with running_postgres(data_dir):
            [finding] = [one.finding for one in check_postgres_account(stack_in(data_dir))]

    [line] = [one for one in lines if one["event"] == "postgres.account_shared"]
    assert POSTGRES_USER_VARIABLE in line["next_step"]
    assert finding.verdict is Verdict.ODD
    assert POSTGRES_USER_VARIABLE in finding.next_step


async def test_doctor_finds_nothing_to_say_of_an_account_of_its_own(data_dir: Path) -> None:
    async with running_postgres(data_dir):
        [finding] = [one.finding for one in check_postgres_account(stack_in(data_dir))]

    assert finding.verdict is Verdict.FINE
