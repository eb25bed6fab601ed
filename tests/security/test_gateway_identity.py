"""Nobody speaks for a router who was not enrolled as that router: tried from other processes, with real TLS."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import grpc
import psutil
import pytest
import pytest_asyncio
from aiohttp import ClientConnectionError, ClientSession

from celadon.domain.decisions.enrolment import gateway_identity
from celadon.domain.language.names import RouterNode
from celadon.domain.language.states import Channel
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.authority import CertificateAuthority, Issued
from celadon.gateway.certificates import write_version
from celadon.gateway.enrolling import RouterFiles
from celadon.gateway.process import run_gateway
from celadon.gateway.settings import GatewaySettings
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.routers.router_admin import forget_router
from tests.gateway.conftest import free_port, free_socket
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_envoy, until
from tests.gateway.rows import acknowledged, add_deployment, add_set, enrol, load_row, make_live, router_row
from tests.gateway.traffic import loopback
from tests.security.gateway_clients import (
    DEADLINE_SECONDS,
    DISCOVERY,
    LOAD,
    Attacker,
    discovery_request,
    ending_of,
    rows_of,
    zeros,
)

pytestmark = pytest.mark.parts

EDGE, OTHER = "edge-1", "edge-2"
REPORTS = 50
REFUSED = grpc.StatusCode.PERMISSION_DENIED

each_service = pytest.mark.parametrize("service", [DISCOVERY, LOAD], ids=["discovery", "load"])


@dataclass
class Installation:
    """A gateway's process on a TCP address, with the CA of its installation."""

    settings: GatewaySettings
    authority: CertificateAuthority
    table: Table
    directory: Path
    issued: dict[str, Issued] = field(default_factory=dict)

    @property
    def address(self) -> SocketAddress:
        """Where the gateway listens."""
        assert isinstance(self.settings.gateway_address, SocketAddress)
        return self.settings.gateway_address

    async def enrol(self, node: str) -> Issued:
        """Issue a certificate and enrol its router, or give it a new one."""
        issued = self.issued[node] = self.authority.issue_router(node)
        await enrol(self.table, node, issued.identity, issued.serial)
        return issued

    async def forget(self, node: str) -> None:
        """Forget a router, as an operator does."""
        async with self.table.transaction() as tx:
            await forget_router(tx, node, author=Author(by="ann", door=Channel.CLI, reason="stolen"), force=True)

    def process(self, shows: Issued | None) -> Attacker:
        """Return a process that takes the gateway for what it is, and shows this certificate."""
        return Attacker(str(self.address), shows, self.issued[EDGE].ca)

    def files(self, node: str, admin: Path) -> RouterFiles:
        """Return what a router starts from."""
        identities = (gateway_identity(self.authority.trust_domain),)
        return RouterFiles(
            RouterNode(node), self.directory / node, [self.address], admin, gateway_identities=identities
        )

    @asynccontextmanager
    async def router(self, node: str = EDGE) -> AsyncIterator[Router]:
        """Run the real Envoy of an enrolled router."""
        admin = free_socket().path
        files = self.files(node, admin)
        files.write(self.issued[node])
        log = self.directory / f"{node}.log"
        async with running_envoy(files.bootstrap, log) as process, ClientSession() as client:
            yield Router(RouterNode(node), self.settings.router_address.port, 0, admin, client, process)


@pytest_asyncio.fixture(loop_scope="session")
async def installation(table: Table, tmp_path: Path) -> AsyncIterator[Installation]:
    """Run a gateway with the routers edge-1 and edge-2 enrolled."""
    authority = CertificateAuthority.of_directory(tmp_path / "authority")
    issued = authority.issue_gateway()
    write_version(tmp_path / "gateway", issued.serial, issued.files)
    settings = GatewaySettings(
        database_url=table.database_url,
        gateway_address=loopback(free_port()),
        gateway_tls_dir=tmp_path / "gateway",
        router_address=loopback(free_port()),
    )
    made = Installation(settings, authority, table, tmp_path)
    for node in (EDGE, OTHER):
        await made.enrol(node)
    async with asyncio.TaskGroup() as group:
        gateway = group.create_task(run_gateway(settings))
        await until(lambda: _accepts(made.address))
        yield made
        gateway.cancel()


@pytest_asyncio.fixture(loop_scope="session")
async def blue() -> AsyncIterator[Replica]:
    """Run a blue replica."""
    async with Replica("blue").listening() as replica:
        yield replica


@pytest_asyncio.fixture(loop_scope="session")
async def green() -> AsyncIterator[Replica]:
    """Run a green replica."""
    async with Replica("green").listening() as replica:
        yield replica


async def _accepts(address: SocketAddress) -> bool:
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_an_enrolled_router_is_let_in(installation: Installation) -> None:
    """Without this, what follows would show nothing: the same process with the right certificate gets an answer."""
    async with installation.process(installation.issued[EDGE]).open(DISCOVERY) as call:
        await call.write(discovery_request(EDGE))
        assert await asyncio.wait_for(call.read(), DEADLINE_SECONDS)

    async def is_written() -> bool:
        row = await router_row(installation.table, EDGE)
        return row is not None and row.seen_at is not None

    await until(is_written)


def _none(_: Installation) -> None:
    return None


def _another_ca(installation: Installation) -> Issued:
    return CertificateAuthority.of_directory(installation.directory / "evil").issue_router(EDGE)


def _the_gateways_own(installation: Installation) -> Issued:
    return installation.authority.issue_gateway()


def _expired(installation: Installation) -> Issued:
    return installation.authority.issue_router(EDGE, -timedelta(minutes=1))


@each_service
@pytest.mark.parametrize("shown", [_none, _another_ca, _the_gateways_own, _expired])
async def test_without_a_certificate_of_the_ca_no_process_gets_through_the_handshake(
    installation: Installation,
    service: str,
    shown: Callable[[Installation], Issued | None],
) -> None:
    before = await rows_of(installation.table)

    code, _ = await installation.process(shown(installation)).answer(service, EDGE)

    assert code is grpc.StatusCode.UNAVAILABLE
    assert await rows_of(installation.table) == before


@each_service
async def test_plain_tcp_gets_no_answer(installation: Installation, service: str) -> None:
    before = await rows_of(installation.table)

    code, _ = await Attacker(str(installation.address)).answer(service, EDGE)

    assert code is grpc.StatusCode.UNAVAILABLE
    assert await rows_of(installation.table) == before


@each_service
@pytest.mark.parametrize(
    ("named", "why"),
    [(EDGE, "the certificate does not name router edge-1"), ("edge-3", "no router edge-3 is enrolled")],
)
async def test_a_router_speaks_for_no_other(installation: Installation, service: str, named: str, why: str) -> None:
    before = await rows_of(installation.table)

    code, told = await installation.process(installation.issued[OTHER]).answer(service, named)

    assert (code, why in told) == (REFUSED, True), told
    assert await rows_of(installation.table) == before


@each_service
async def test_a_certificate_that_was_issued_but_never_enrolled_does_not_count(
    installation: Installation,
    service: str,
) -> None:
    before = await rows_of(installation.table)

    for node in (EDGE, "edge-3"):
        code, _ = await installation.process(installation.authority.issue_router(node)).answer(service, node)
        assert code is REFUSED

    assert await rows_of(installation.table) == before


@each_service
async def test_a_certificate_that_was_replaced_twice_does_not_count(installation: Installation, service: str) -> None:
    stolen = installation.issued[EDGE]
    for _ in range(2):
        await installation.enrol(EDGE)

    code, told = await installation.process(stolen).answer(service, EDGE)

    assert (code, "was replaced or revoked" in told) == (REFUSED, True), told


async def test_a_forgotten_router_loses_its_streams_and_gets_no_new_ones(installation: Installation) -> None:
    process = installation.process(installation.issued[EDGE])
    async with process.open(DISCOVERY) as routes, process.open(LOAD) as load:
        await routes.write(discovery_request(EDGE))
        await load.write(zeros(EDGE))
        for call in (routes, load):
            assert await asyncio.wait_for(call.read(), DEADLINE_SECONDS)

        await installation.forget(EDGE)

        for call in (routes, load):
            assert await asyncio.wait_for(call.code(), DEADLINE_SECONDS) is REFUSED
    for service in (DISCOVERY, LOAD):
        assert (await process.answer(service, EDGE))[0] is REFUSED


async def test_a_forgotten_routers_acknowledgements_are_not_believed(
    installation: Installation,
    blue: Replica,
) -> None:
    """Its process runs on and would serve and acknowledge what it is told."""
    await add_deployment(installation.table, "chat", blue.port)
    async with installation.router() as router:
        await until(lambda: _serves(installation, 1))
        await installation.forget(EDGE)
        before = await router_row(installation.table, EDGE)
        assert before is not None
        assert before.gone_at is not None

        await until(lambda: _is_cut_off(router))

        assert await acknowledged(installation.table, "chat", EDGE) == 1
        after = await router_row(installation.table, EDGE)
        assert after is not None
        assert (after.gone_at, after.enrolled_at) == (before.gone_at, None)


async def _serves(installation: Installation, epoch: int) -> bool:
    return await acknowledged(installation.table, "chat", EDGE) >= epoch


async def _is_cut_off(router: Router) -> bool:
    """Whether Envoy has lost its stream, and was refused a new one at least once."""
    return await router.counter("cluster.celadon-gateway.upstream_rq_total") >= 4 and (
        await router.counter("control_plane.connected_state") == 0
    )


async def test_zeros_of_another_process_do_not_stop_blue(
    installation: Installation,
    blue: Replica,
    green: Replica,
) -> None:
    """The attacker has the router's own certificate and key, so only the connection tells the two apart."""
    live = await add_deployment(installation.table, "chat", blue.port)
    async with installation.router() as router:
        await until(lambda: _serves(installation, 1))
        await until(router.listens)
        stream = asyncio.create_task(router.stream())
        await until(lambda: blue.running == 1)
        async with installation.table.transaction() as tx:
            opened = await add_set(tx, "chat", green.port)
        await make_live(installation.table, "chat", opened, drain=live)
        await until(lambda: _reported(installation, live, running=1))

        attacked = asyncio.create_task(_report_zeros(installation))
        seen: set[tuple[int, int]] = set()
        while not attacked.done():
            row = await load_row(installation.table, live, EDGE)
            assert row is not None
            seen.add((row.running, row.zero_reports))
            await asyncio.sleep(0.02)

        assert await attacked == grpc.StatusCode.UNAVAILABLE, "reports of others are sent away"
        assert seen == {(1, 0)}
        blue.finish.set()
        assert (await stream).endswith("[DONE]\n\n")
        await until(lambda: _reported(installation, live, running=0))


async def _reported(installation: Installation, route_set: int, *, running: int) -> bool:
    row = await load_row(installation.table, route_set, EDGE)
    return row is not None and row.running == running and (running > 0 or row.zero_reports >= 2)


async def _report_zeros(installation: Installation) -> grpc.StatusCode:
    """Report zeros with the router's own certificate, more than a drain needs; return how the gateway ends that."""
    async with asyncio.timeout(DEADLINE_SECONDS), installation.process(installation.issued[EDGE]).open(LOAD) as call:
        for _ in range(REPORTS):
            await call.write(zeros(EDGE))
            await asyncio.sleep(0.01)
        return (await ending_of(call))[0]


@pytest.mark.parametrize("whose", ["another router's", "another CA's"])
async def test_a_router_takes_its_routes_from_no_process_that_only_listens_there(
    installation: Installation,
    tmp_path: Path,
    whose: str,
) -> None:
    evil = CertificateAuthority.of_directory(tmp_path / "evil")
    shown = installation.issued[OTHER] if whose == "another router's" else evil.issue_gateway()
    server = grpc.aio.server()
    false_gateway, admin = loopback(free_port()), free_socket().path
    server.add_secure_port(str(false_gateway), grpc.ssl_server_credentials([(shown.key, shown.certificate)]))
    files = RouterFiles(
        RouterNode(EDGE),
        tmp_path / "files",
        [false_gateway],
        admin,
        gateway_identities=(gateway_identity(installation.authority.trust_domain),),
    )
    files.write(installation.authority.issue_router(EDGE))
    await server.start()
    try:
        async with running_envoy(files.bootstrap, tmp_path / "envoy.log") as process, ClientSession() as client:
            router = Router(RouterNode(EDGE), 0, 0, admin, client, process)
            await until(lambda: _has_counted(router, "cluster.celadon-gateway.ssl.(fail_verify_.*|connection_error)"))
            assert await router.counter("cluster.celadon-gateway.ssl.handshake") == 0
    finally:
        await server.stop(None)


async def _has_counted(router: Router, name: str) -> bool:
    try:
        lines = (await router.ask_admin(f"/stats?filter=^{name}$")).splitlines()
    except ClientConnectionError:
        # It has not begun to listen.
        return False
    return any(int(line.rpartition(": ")[2]) for line in lines)


async def test_envoy_listens_on_no_port_but_its_listeners(installation: Installation, blue: Replica) -> None:
    await add_deployment(installation.table, "chat", blue.port)
    async with installation.router() as router:
        await until(lambda: _serves(installation, 1))
        await until(router.listens)
        sockets = psutil.Process(router.process.pid).net_connections()

        assert {one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN} == {router.live}
        assert router.admin.lstat().st_mode & 0o777 == 0o600


async def test_a_gateway_without_certificates_does_not_start_on_tcp(table: Table) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "celadon.cli.main", "gateway"),
        env={
            "PATH": os.defpath,
            "DATABASE_URL": table.database_url,
            "CELADON_GATEWAY_ADDRESS": f"127.0.0.1:{port}",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    _, told = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)

    assert process.returncode == 1
    assert "plain TCP is refused" in " ".join(told.decode().split())
    assert not await _accepts(loopback(port))
