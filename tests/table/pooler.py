"""Debian's pgbouncer before a real Postgres."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL, make_url

from celadon.stack.ports import choose_ports
from tests.debian import debian_program
from tests.provisioners.programs import until
from tests.table.own_server import give_away, own_account


@asynccontextmanager
async def running_pgbouncer(
    database_url: str,
    directory: Path,
    mode: str,
    settings: str = "auth_type = trust",
    password: str = "",
) -> AsyncIterator[str]:
    """Run a pooler before a database until the block ends; yield its address."""
    program = debian_program("pgbouncer")
    url = make_url(database_url)
    port = choose_ports(("pgbouncer",), {})["pgbouncer"]
    configuration = await asyncio.to_thread(_configure, directory, url, port, mode, settings, password)
    log = directory / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(program, "-q", str(configuration)),
            stdout=output,
            stderr=output,
            **own_account(),
        )
    try:
        await until(lambda: _listens(port))
        yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def _configure(directory: Path, url: URL, port: int, mode: str, settings: str, password: str) -> Path:
    """Write a pooler's configuration; return its file."""
    directory.mkdir(mode=0o711, exist_ok=True)
    give_away(directory)
    users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
    users.write_text(f'"{url.username}" "{password}"\n')
    configuration.write_text(
        f"""
[databases]
* = host={url.host} port={url.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_file = {users}
pool_mode = {mode}
default_pool_size = 50
{settings}
""",
    )
    return configuration


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
