"""Every address that a stack or a production set-up listens on stands in docs/security.md, and nothing else does."""

import asyncio
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil
import pytest

from celadon.api.settings import ApiSettings
from celadon.stack.addresses import StackAddresses
from tests.deploy.files import DEPLOY, read_environment_file, read_image, read_services, unit_files
from tests.security.address_table import REPOSITORY, Row, read_rows, sockets_of
from tests.stack.stack_process import stack_process

ROWS: Final = read_rows()
COPIES: Final = 2

LISTENS_BY: Final = {
    "CELADON_METRICS_ADDRESS": "worker",
    "CELADON_GATEWAY_ADDRESS": "gateway",
    "CELADON_GATEWAY_METRICS_ADDRESS": "gateway",
    "CELADON_ROUTER_ADDRESS": "router",
    "CELADON_PREVIEW_ROUTER_ADDRESS": "router",
    "CELADON_API_ADDRESS": "api",
}
"""Who listens where a variable says: routers listen where the gateway tells them to."""


def rows_of(where: str) -> list[Row]:
    return [row for row in ROWS if row.where == where]


def test_every_row_is_of_a_place_that_is_checked() -> None:
    assert {row.where for row in ROWS} == {"stack", "compose", "systemd"}


def test_every_test_that_a_row_names_is_there() -> None:
    missing = {name for row in ROWS for name in row.tested_by if not (REPOSITORY / name).is_file()}

    assert missing == set()


# A stack.


async def _deploy(addresses: StackAddresses, directory: Path) -> None:
    """Let one replica run, by the command line."""
    file = directory / "web.json"
    command = [sys.executable, "-m", "http.server", "{port}", "--bind", "{host}"]
    revision = {"provisioner": "local", "command": command, "health_check": {"path": "/"}}
    file.write_text(json.dumps({"deployment": "web", "replicas": 1, "revision": revision}))
    options = ("--data-dir", str(addresses.data_dir), "--wait", "--timeout", "2m")
    deploying = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "celadon", "deploy", "-f", str(file), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
    )
    told, _ = await deploying.communicate()
    assert deploying.returncode == 0, told.decode()


def _found(addresses: StackAddresses) -> Iterator[tuple[str, str, str]]:
    """Yield the part, its number as a suffix, and each socket that one of its processes listens on."""
    for socket in sockets_of(addresses.pid):
        yield "stack", "", socket
    for child, pid in addresses.children.items():
        part, dash, number = child.partition("-")
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            is_replica = part == "worker" and process.pid != pid
            for socket in sockets_of(process.pid):
                yield ("replica" if is_replica else part), dash + number.replace("-", "_"), socket


def _others_can_reach(path: Path) -> bool:
    """Whether the modes of a socket and of the directories above it let other users connect."""
    if not path.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        return False
    return all(one.stat().st_mode & (stat.S_IXOTH | stat.S_IXGRP) for one in path.parents)


@pytest.mark.stack
async def test_a_stack_listens_where_the_table_says_and_nowhere_else(reachable_directory: Path) -> None:
    data_dir = reachable_directory / "addresses"
    rows = rows_of("stack")
    async with stack_process(data_dir, workers=COPIES, gateways=COPIES, routers=COPIES) as process:
        addresses = await process.until_ready()
        await _deploy(addresses, reachable_directory)
        ports: Mapping[str, int] = json.loads((data_dir / "settings.json").read_text())["ports"]
        found = [(part, suffix, socket) for part, suffix, socket in _found(addresses)]
        reachable = [
            socket
            for _, _, socket in found
            if socket.startswith("unix ") and _others_can_reach(Path(socket.removeprefix("unix ")))
        ]

    def named_by(part: str, suffix: str, socket: str) -> list[Row]:
        shown = socket.replace(str(data_dir.resolve()), "DATA_DIR")
        return [row for row in rows if row.part == part and row.names(shown, ports, suffix)]

    assert {part for part, _, _ in found} >= {"postgres", "temporal", "gateway", "worker", "api", "router", "replica"}
    assert [one for one in found if not named_by(*one)] == []
    assert [row for row in rows if not any(row in named_by(*one) for one in found)] == []
    assert [socket for _, _, socket in found if socket.startswith(("tcp", "udp")) and " 127." not in socket] == []
    assert reachable == []


async def test_a_socket_is_found_that_no_row_names(reachable_directory: Path) -> None:
    """The reading of sockets itself: without this, a table that is never contradicted shows nothing."""
    opened = await _open_one_of_each(reachable_directory / "opened.sock")

    assert len(opened) == len({socket.partition(" ")[0] for socket in opened}) == 4
    assert [row for row in ROWS for socket in opened if row.part == "api" and row.names(socket, {})] == []


async def _open_one_of_each(path: Path) -> set[str]:
    """Open a socket of each kind in this process, and return what appears to have been opened."""
    before = sockets_of(os.getpid())
    loop = asyncio.get_running_loop()
    over_tcp = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    over_unix = await asyncio.start_unix_server(lambda _reader, _writer: None, path)
    abstract = await asyncio.start_unix_server(lambda _reader, _writer: None, f"\0celadon-test-{os.getpid()}")
    over_udp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    opened = sockets_of(os.getpid()) - before
    for server in (over_tcp, over_unix, abstract):
        server.close()
        await server.wait_closed()
    over_udp.close()
    return opened


# Containers.


def _address(value: str) -> str:
    return f"unix {value.removeprefix('unix:')}" if value.startswith(("unix:", "/")) else f"tcp {value}"


def _listening_of_options(command: list[str]) -> Iterator[str]:
    """Yield what Temporal's options say."""
    options = dict(one.removeprefix("--").split("=", 1) for one in command if one.startswith("--") and "=" in one)
    for host, port in (("ip", "port"), ("ui-ip", "ui-port")):
        yield f"tcp {options[host]}:{options[port]}"


def _admin_of_envoy(enrolment: str) -> str:
    """Return where the admin interface of a router listens that is enrolled by this command."""
    options = re.findall(r"--admin[= ](\S+)", enrolment)
    [path] = options
    return f"unix {path}"


def _sockets_of_compose() -> set[tuple[str, str]]:
    """Return the part and each address at which its container listens, with where that is published."""
    image, services = read_image(), read_services()
    enrolment = " ".join(services["router-enrolment"].command(image))
    found = {("postgres", "tcp 0.0.0.0:5432"), ("router", _admin_of_envoy(enrolment))}
    found |= {("temporal", socket) for socket in _listening_of_options(services["temporal"].command(image))}
    for part, service in services.items():
        variables = {**(image.environment if service.is_ours else {}), **service.environment}
        for name, value in variables.items():
            if name.startswith("CELADON_") and name.endswith("_ADDRESS") and LISTENS_BY[name] in {part, "router"}:
                found.add((LISTENS_BY[name], _address(value)))
    for name, service in services.items():
        for published in service.content.get("ports", ()):
            outside, _, inside = published.rpartition(":")
            [socket] = [one for part, one in found if part == name and one.endswith(f":{inside}")]
            found.remove((name, socket))
            found.add((name, f"{socket} as {outside}"))
    return found


def test_the_containers_listen_where_the_table_says() -> None:
    assert _sockets_of_compose() == {(row.part, row.listens_on) for row in rows_of("compose")}


def test_containers_publish_nothing_beyond_the_machine() -> None:
    published = [one for service in read_services().values() for one in service.content.get("ports", ())]

    assert published
    assert [one for one in published if not one.startswith("127.0.0.1:")] == []


# Units.


def test_the_units_listen_where_the_table_says() -> None:
    variables = {
        "CELADON_API_ADDRESS": str(ApiSettings.model_fields["api_address"].default),
        **read_environment_file(with_commented=True),
    }
    addresses = {name: value for name, value in variables.items() if name.endswith("_ADDRESS")}
    listening = {
        (LISTENS_BY[name], _address(value)) for name, value in addresses.items() if not name.startswith("TEMPORAL_")
    }

    listening.add(("router", _admin_of_envoy((DEPLOY / "README.md").read_text())))

    assert listening == {(row.part, row.listens_on) for row in rows_of("systemd")}
    units = {path.stem.removeprefix("celadon-") for path in unit_files()}
    assert units == {"worker", "gateway", "api", "router", "db-upgrade"}
