"""A Postgres of a test's own that listens on TCP and lets every user of this machine in, such as poolers."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from celadon.stack.os_user import OsUser
from celadon.stack.ports import choose_ports
from celadon.stack.postgres_home import prepare_home
from tests.provisioners.programs import until

OWNER: Final = "celadon"
_RULES: Final = "host all all 127.0.0.1/32 trust\n"
_ACCOUNT: Final = "nobody"
"""Postgres refuses to run as root; this user is everywhere."""


def own_account() -> dict[str, Any]:
    """Return as whom a program runs that refuses to be root."""
    return {"user": _ACCOUNT, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def give_away(*paths: Path) -> None:
    """Give files to that account."""
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, _ACCOUNT, "nogroup")


@asynccontextmanager
async def running_server(
    directory: Path,
) -> AsyncIterator[int]:
    """Run a server in ``directory``, which lets everybody of this machine in, until the block ends; yield its port."""
    cluster = directory / "cluster"
    programs = await asyncio.to_thread(_initialise, directory, cluster)
    port = choose_ports(("postgres",), {})["postgres"]
    given = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    with (directory.with_name(f"{directory.name}.log")).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            str(programs / "postgres"),
            *("-D", str(cluster), "-p", str(port)),
            *(part for name, value in given.items() for part in ("-c", f"{name}={value}")),
            stdout=log,
            stderr=log,
            cwd=directory,
            **own_account(),
        )
    try:
        await until(lambda: _answers(port))
        yield port
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()


def _initialise(directory: Path, cluster: Path) -> Path:
    """Create a cluster; return the directory of programs that its account can run."""
    directory.mkdir(mode=0o755, exist_ok=True)
    account = OsUser.named(_ACCOUNT) if os.geteuid() == 0 else OsUser.current()
    home = directory.with_name(f"{directory.name}-programs")
    home.mkdir()
    programs = prepare_home(home, account).programs
    give_away(directory)
    subprocess.run(
        [str(programs / "initdb"), "-D", str(cluster), "-U", OWNER, "--auth", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        cwd=directory,
        **own_account(),
    )
    (cluster / "pg_hba.conf").write_text(_RULES)
    return programs


async def _answers(port: int) -> bool:
    """Whether the server talks at all: also one that lets nobody in does."""
    try:
        connection = await asyncpg.connect(host="127.0.0.1", port=port, user=OWNER, database="postgres", ssl="prefer")
    except asyncpg.CannotConnectNowError:
        return False
    except asyncpg.PostgresError:
        return True
    except OSError:
        return False
    await connection.close()
    return True
