"""The Unix sockets of gateway and routers: who may open them, and whom a gateway believes that did."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from celadon.domain.language.names import RouterNode
from celadon.gateway.addresses import UnixAddress
from celadon.gateway.authority import CA_KEY, CertificateAuthority
from celadon.gateway.certificates import CA, CertificateError, make_private_directory, write_version
from celadon.gateway.enrolling import RouterFiles
from celadon.gateway.process import run_gateway
from celadon.gateway.settings import GatewaySettings
from celadon.stack.errors import StackError
from celadon.stack.sockets import SocketDirectory
from celadon.table.core.engine import Table
from tests.gateway.conftest import free_port
from tests.gateway.router import running_envoy, until
from tests.gateway.rows import enrol
from tests.gateway.traffic import loopback
from tests.security.gateway_clients import DEADLINE_SECONDS, DISCOVERY, LOAD, Attacker, discovery_request, rows_of
from tests.security.other_user import OtherUser

CONNECT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
"""


@pytest.fixture
def open_directory(reachable_directory: Path) -> Path:
    """Return a directory that everybody can enter and only we can write to: the sockets' own mode is what counts."""
    directory = reachable_directory / f"sockets-{os.urandom(4).hex()}"
    directory.mkdir(mode=0o755)
    return directory


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(table: Table, open_directory: Path) -> AsyncIterator[UnixAddress]:
    """Run a gateway on a socket, with the router local enrolled."""
    address = UnixAddress(path=open_directory / "gateway.sock")
    settings = GatewaySettings(
        database_url=table.database_url,
        gateway_address=address,
        router_address=loopback(free_port()),
    )
    await enrol(table, "local")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_gateway(settings))
        await until(address.path.exists)
        yield address
        task.cancel()


async def test_a_process_of_the_gateways_user_speaks_for_an_enrolled_router(gateway: UnixAddress) -> None:
    async with Attacker(str(gateway)).open(DISCOVERY) as call:
        await call.write(discovery_request("local"))
        assert await asyncio.wait_for(call.read(), DEADLINE_SECONDS)


@pytest.mark.parametrize("service", [DISCOVERY, LOAD])
async def test_an_unknown_router_is_refused_and_changes_no_row(
    gateway: UnixAddress,
    table: Table,
    service: str,
) -> None:
    before = await rows_of(table)

    code, told = await Attacker(str(gateway)).answer(service, "stranger")

    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert told == "no router stranger is enrolled; an operator enrols it with 'celadon router enrol stranger'"
    assert await rows_of(table) == before


async def test_another_user_cannot_open_the_gateways_socket(gateway: UnixAddress, other_user: OtherUser) -> None:
    tried = await asyncio.to_thread(other_user.run_python, CONNECT, gateway.path)

    assert "PermissionError" in tried.stderr


async def test_another_user_cannot_open_the_admin_interface(
    gateway: UnixAddress,
    open_directory: Path,
    other_user: OtherUser,
) -> None:
    admin = open_directory / "admin.sock"
    files = RouterFiles(RouterNode("local"), open_directory / "router", [gateway], admin)
    files.write(issued=None)
    async with running_envoy(files.bootstrap, open_directory / "envoy.log"):
        await until(admin.exists)
        tried = await asyncio.to_thread(other_user.run_python, CONNECT, admin)
        read = await asyncio.to_thread(other_user.run_python, "import sys; open(sys.argv[1])", files.bootstrap)

    assert "PermissionError" in tried.stderr
    assert "PermissionError" in read.stderr


async def _start(path: Path, table: Table) -> None:
    settings = GatewaySettings(
        database_url=table.database_url,
        gateway_address=UnixAddress(path=path),
        router_address=loopback(free_port()),
    )
    await asyncio.wait_for(run_gateway(settings), DEADLINE_SECONDS)


async def test_a_gateway_does_not_listen_where_others_could_put_a_socket(table: Table, tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    await asyncio.to_thread(open_to_all.chmod, 0o777)

    with pytest.raises(CertificateError, match="others may put files into"):
        await _start(open_to_all / "gateway.sock", table)

    assert list(open_to_all.iterdir()) == []


async def test_a_gateway_removes_no_file_that_is_not_a_socket(table: Table, tmp_path: Path) -> None:
    (tmp_path / "gateway.sock").write_text("precious")

    with pytest.raises(OSError, match="something else than a socket"):
        await _start(tmp_path / "gateway.sock", table)

    assert (tmp_path / "gateway.sock").read_text() == "precious"


def test_sockets_have_a_directory_of_their_own_however_long_the_data_directory_is(tmp_path: Path) -> None:
    short, long = tmp_path, tmp_path / ("x" * 200)
    long.mkdir()

    assert SocketDirectory.of(Path("/data")).path == Path("/data/sockets")
    for data_dir in (short, long):
        sockets = SocketDirectory.of(data_dir)
        sockets.create()
        sockets.create()
        assert sockets.path.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(sockets.admin("router-9"))) <= 107
        assert SocketDirectory.of(data_dir) == sockets
    SocketDirectory.of(long).path.rmdir()


@pytest.mark.parametrize("how", ["a link", "open to others", "of another user"])
def test_a_directory_of_sockets_that_somebody_prepared_is_refused(
    reachable_directory: Path,
    request: pytest.FixtureRequest,
    how: str,
) -> None:
    data_dir = reachable_directory / f"prepared-{os.urandom(4).hex()}"
    (data_dir / "elsewhere").mkdir(parents=True, mode=0o700)
    prepared = SocketDirectory.of(data_dir).path
    match how:
        case "a link":
            prepared.symlink_to(data_dir / "elsewhere")
        case "open to others":
            prepared.mkdir()
            prepared.chmod(0o755)
        case _:
            user: OtherUser = request.getfixturevalue("other_user")
            prepared.mkdir(mode=0o700)
            os.chown(prepared, user.uid, user.gid)

    with pytest.raises(StackError, match="alone can enter"):
        SocketDirectory.of(data_dir).create()


def test_keys_are_for_their_owner_alone_from_the_first_moment_on(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        authority = CertificateAuthority.of_directory(tmp_path / "authority")
        issued = authority.issue_router("edge-1")
        write_version(tmp_path / "edge-1", issued.serial, issued.files)
    finally:
        os.umask(before)

    for directory in (tmp_path / "authority", tmp_path / "edge-1"):
        assert directory.stat().st_mode & 0o777 == 0o700
        for path in directory.rglob("*"):
            wanted = 0o700 if path.is_dir() else 0o600
            assert path.stat().st_mode & 0o777 == wanted, path


def test_a_ca_that_others_may_have_changed_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "authority"
    CertificateAuthority.of_directory(directory)

    (directory / CA_KEY).chmod(0o640)
    with pytest.raises(CertificateError, match="others may read"):
        CertificateAuthority.of_directory(directory)
    (directory / CA_KEY).chmod(0o600)
    directory.chmod(0o770)
    with pytest.raises(CertificateError, match="others may write"):
        CertificateAuthority.of_directory(directory)


def test_no_link_leads_away_from_a_directory_of_keys(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "linked").symlink_to(elsewhere)
    with pytest.raises(CertificateError, match="is not a directory"):
        make_private_directory(tmp_path / "linked")

    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    (own / CA_KEY).symlink_to(elsewhere / "stolen.key")
    with pytest.raises(OSError, match=CA_KEY):
        CertificateAuthority.of_directory(own)
    assert list(elsewhere.iterdir()) == []
    assert not (own / CA).exists()


def test_a_key_of_another_user_is_refused(tmp_path: Path, other_user: OtherUser) -> None:
    directory = tmp_path / "authority"
    CertificateAuthority.of_directory(directory)
    os.chown(directory / CA_KEY, other_user.uid, other_user.gid)

    with pytest.raises(CertificateError, match="is not a file of user id"):
        CertificateAuthority.of_directory(directory)
