"""Postgres as a child of the stack.

It listens on a Unix socket alone, in a directory that only its own user (and root) can enter, and the kernel says who
connects: of all users of the machine only the one who started the stack is the database's owner. So there is no
password to keep or to leak, and the database's address may be printed.
"""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import structlog
from sqlalchemy import URL, make_url

from celadon.owned_files import write_file
from celadon.stack.child_log import ChildLog
from celadon.stack.errors import StackError
from celadon.stack.os_user import POSTGRES_USER_VARIABLE, SHARED_USER, OsUser, user_for_postgres
from celadon.stack.postgres_home import SHARED_ROOT, SOCKET_PORT, PostgresHome, owner_of, prepare_home
from celadon.stack.process import ChildProcess, ChildSpec, NotReadyError

OWNER: Final = "celadon"
"""The database's owner, and the name of the database."""

HOW_TO_SEPARATE: Final = (
    f"every process of the user {SHARED_USER} can open the database; let {POSTGRES_USER_VARIABLE} name a user that "
    "nothing else runs as, and start the stack again"
)

_INITDB_WITHIN: Final = timedelta(seconds=60)
_PREDECESSORS_END_WITHIN: Final = timedelta(seconds=20)

log = structlog.get_logger()


def database_url(home: PostgresHome, database: str = OWNER) -> str:
    """Return the SQLAlchemy address of a database of ``home``."""
    url = URL.create(
        "postgresql+asyncpg",
        username=OWNER,
        database=database,
        query={"host": str(home.socket_directory), "port": str(SOCKET_PORT)},
    )
    return url.render_as_string(hide_password=False)


async def initialise(home: PostgresHome) -> None:
    """Create the cluster when there is none, and write who may connect to it.

    Raises:
        StackError: ``initdb`` refused, with what it said.

    """
    starter = OsUser.current().name
    await asyncio.to_thread(_hand_over, home)
    write_file(home.access_rules, f"local all {OWNER} peer map={OWNER}\n", mode=0o644)
    write_file(home.user_map, f'{OWNER} "{starter}" {OWNER}\n', mode=0o644)
    if not home.cluster.exists():
        await asyncio.to_thread(_create_cluster, home)
        log.info("postgres.initialised", cluster=str(home.cluster), account=home.account.name)
    if home.account.is_shared:
        log.warning("postgres.account_shared", account=home.account.name, next_step=HOW_TO_SEPARATE)


def postgres_spec(home: PostgresHome) -> ChildSpec:
    """Describe the Postgres of ``home``, which must have been initialised."""

    async def end_predecessors() -> None:
        await asyncio.to_thread(_end_predecessors, home)

    async def ready() -> None:
        await _probe(home)

    settings = {
        "listen_addresses": "",
        "port": str(SOCKET_PORT),
        "unix_socket_directories": f'"{home.socket_directory}"',
        "hba_file": str(home.access_rules),
        "ident_file": str(home.user_map),
        "cluster_name": OWNER,
        "log_line_prefix": "%m [%p] %a ",
        "log_checkpoints": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return ChildSpec(
        name="postgres",
        command=(str(home.programs / "postgres"), "-D", str(home.cluster), *options),
        environment=_environment(home),
        ready=ready,
        # A killed server replays its log before it answers.
        ready_within=timedelta(seconds=60),
        # Fast shutdown: clients are disconnected, everything is written.
        stop_signal=signal.SIGINT,
        # Immediate shutdown: its children end too, which SIGKILL would leave behind for a while.
        kill_signal=signal.SIGQUIT,
        account=home.account,
        working_directory=home.directory,
        before_start=end_predecessors,
    )


async def create_database(server_url: str, name: str) -> str:
    """Create the database ``name`` on the server of ``server_url`` unless it exists; return its address.

    Raises:
        asyncpg.PostgresError: the server refused.
        OSError: the server cannot be reached.

    """
    connection = await _connect(server_url, "postgres")
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


async def drop_database(server_url: str, name: str) -> None:
    """Drop the database ``name`` and disconnect whoever uses it; one that does not exist is no error.

    Raises:
        asyncpg.PostgresError: the server refused.
        OSError: the server cannot be reached.

    """
    connection = await _connect(server_url, "postgres")
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@asynccontextmanager
async def running_postgres(data_dir: Path, shared_root: Path = SHARED_ROOT) -> AsyncIterator[str]:
    """Run Postgres alone, without supervision, with all it keeps in ``data_dir``; yield the address of its database.

    What root's Postgres cannot keep there, because its user cannot go there, it keeps below ``shared_root``.

    Raises:
        StackError: it cannot be set up or does not start.

    """
    account = user_for_postgres(owner_of(data_dir))
    home = await asyncio.to_thread(prepare_home, data_dir, account, shared_root)
    await initialise(home)
    server = await ChildProcess.start(postgres_spec(home), ChildLog(data_dir / "logs" / "postgres.log"))
    try:
        await server.until_ready()
        yield await create_database(database_url(home), OWNER)
    finally:
        await server.stop()


def _hand_over(home: PostgresHome) -> None:
    """Give a cluster of an earlier start, whose Postgres ran as another user, to the user it runs as now."""
    try:
        owner = home.cluster.lstat().st_uid
    except FileNotFoundError:
        return
    if owner == home.account.uid:
        return
    if os.geteuid() != 0:
        raise StackError(
            f"the database in {home.directory} belongs to user id {owner}: start the stack as the user who made it, or "
            "name another directory with --data-dir",
        )
    _end_predecessors(home)
    _give(home.cluster, owner, home.account)
    log.info("postgres.handed_over", cluster=str(home.cluster), account=home.account.name, was=owner)


def _give(tree: Path, owner: int, account: OsUser) -> None:
    """Let what belongs to ``owner`` in ``tree`` belong to ``account``.

    The former owner may be at work in the tree: each directory is taken away before its entries are looked at, links
    are not followed, and a file with a second name, which may be another file altogether, is refused.
    """
    for place, directories, files, descriptor in os.fwalk(tree, follow_symlinks=False):
        os.fchown(descriptor, account.uid, account.gid)
        for name in (*directories, *files):
            status = os.lstat(name, dir_fd=descriptor)
            if stat.S_ISDIR(status.st_mode) or status.st_uid != owner:
                continue
            if status.st_nlink > 1:
                raise StackError(
                    f"{Path(place) / name} has {status.st_nlink} names (hard links), so it may be no file of the "
                    "database: look at it and remove it",
                )
            os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)


def _create_cluster(home: PostgresHome) -> None:
    """Run ``initdb`` beside the cluster's place and move the result there, so that half a cluster is never used."""
    # Unlike the server, ``initdb`` needs a user with a name. Others of that name cannot get at its files or processes:
    # both need the group too, which is the account's own.
    account = home.account
    if not account.is_named:
        account = replace(OsUser.named(SHARED_USER), gid=account.gid)
    parent = home.directory / "initdb"
    shutil.rmtree(parent, ignore_errors=True)
    parent.mkdir(mode=0o700)
    if not account.is_current:
        shutil.chown(parent, account.uid, account.gid)
    draft = parent / "cluster"
    command = [
        str(home.programs / "initdb"),
        *("-D", str(draft), "--username", OWNER, "--encoding", "UTF8", "--auth", "peer", "--no-instructions"),
        *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
    ]
    try:
        finished = subprocess.run(  # noqa: S603 - the installed program, with paths of our own
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_INITDB_WITHIN.total_seconds(),
            cwd=home.directory,
            env=_environment(home),
            user=None if account.is_current else account.uid,
            group=None if account.is_current else account.gid,
            extra_groups=None if account.is_current else [],
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"the database in {home.directory} cannot be initialised: {error}") from error
    if finished.returncode != 0:
        said = (finished.stderr or finished.stdout).strip()
        raise StackError(f"the database in {home.directory} cannot be initialised; initdb said:\n{said}")
    if account != home.account:
        _give(draft, account.uid, home.account)
    draft.rename(home.cluster)
    parent.rmdir()


def _environment(home: PostgresHome) -> dict[str, str]:
    """Return an environment without the operator's own ``PG*`` variables, which Postgres would obey."""
    return {"HOME": str(home.directory), "LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": "UTC"}


async def _probe(home: PostgresHome) -> None:
    try:
        connection = await _connect(database_url(home), "postgres")
    except (OSError, asyncpg.PostgresError) as error:
        raise NotReadyError(f"it does not take connections: {error}") from error
    await connection.close()


async def _connect(server_url: str, database: str) -> "asyncpg.Connection[asyncpg.Record]":
    url = make_url(server_url)
    return await asyncpg.connect(
        host=str(url.query["host"]),
        port=int(str(url.query["port"])),
        user=url.username,
        database=database,
        timeout=10,
    )


def _end_predecessors(home: PostgresHome) -> None:
    """See to it that nothing of an earlier start uses the cluster any more.

    A killed stack's server gets a signal from the kernel and may still be writing, and the processes of a killed
    server end only when they notice.
    """
    predecessors = _servers_of(home.cluster)
    for process in predecessors:
        log.info("postgres.predecessor_running", pid=process.pid)
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT)
    _, alive = psutil.wait_procs(predecessors, timeout=_PREDECESSORS_END_WITHIN.total_seconds())
    if alive:
        pids = ", ".join(str(process.pid) for process in alive)
        raise StackError(
            f"Postgres cannot be started: of an earlier start, process {pids} still uses {home.cluster} and does not "
            "end; end it and try again",
        )
    pid_file = home.cluster / "postmaster.pid"
    pid = _written_pid(pid_file)
    if pid is not None and psutil.pid_exists(pid):
        # Nobody uses the cluster, so this is another program, or nothing but an exit status that nobody asked for;
        # Postgres would mistake it for its predecessor. A file with an id that is free it clears away by itself.
        pid_file.unlink()


def _servers_of(cluster: Path) -> list[psutil.Process]:
    servers = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(cluster):
                servers.append(process)
    return servers


def _written_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
