"""Certificates are replaced under load: of a router and of its gateway, on the real Envoy, without losing a request."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from celadon.domain.decisions.enrolment import CertifiedPeer, gateway_identity
from celadon.domain.language.names import RouterNode
from celadon.gateway.authority import CertificateAuthority
from celadon.gateway.certificates import KEY, write_version
from celadon.gateway.enrolling import RouterFiles
from celadon.gateway.peers import ServerCertificate, Speaker
from celadon.gateway.routing import Routing
from tests.gateway.conftest import Gateway, free_port, free_socket, serving
from tests.gateway.load import under_load
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_envoy, until
from tests.gateway.traffic import after_switch, before_switch, loopback

pytestmark = pytest.mark.parts

NODE = RouterNode("router")
READS = "cluster.celadon-gateway.client_ssl_socket_factory.ssl_context_update_by_sds"
"""How often Envoy has taken new files for its connections to gateways."""


@dataclass
class Noting:
    """Lets everybody in, and notes by which certificate."""

    serials: list[str] = field(default_factory=list)
    refused: str | None = None

    async def refusal(self, speaker: Speaker) -> str | None:
        """Note the certificate."""
        assert isinstance(speaker.peer, CertifiedPeer)
        self.serials.append(speaker.peer.serial)
        return None

    def refusal_now(self, speaker: Speaker) -> str | None:
        """Refuse what a test has named."""
        assert isinstance(speaker.peer, CertifiedPeer)
        return "its certificate was replaced" if speaker.peer.serial == self.refused else None


@dataclass
class Site:
    """A router and its gateway, with the CA that they share."""

    authority: CertificateAuthority
    admission: Noting
    certificate: ServerCertificate
    gateway_directory: Path
    gateway: Gateway
    files: RouterFiles
    router: Router

    def rotate_router(self) -> str:
        """Give the router a new certificate, as ``celadon router enrol --rotate`` does; return its serial."""
        issued = self.authority.issue_router(NODE)
        write_version(self.files.directory, issued.serial, issued.files)
        return issued.serial

    def rotate_gateway(self) -> datetime:
        """Give the gateway a new certificate."""
        issued = self.authority.issue_gateway()
        write_version(self.gateway_directory, issued.serial, issued.files)
        return issued.expires_at


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path, ports: Routing, blue: Replica, green: Replica) -> AsyncIterator[Site]:
    """Run a router that serves epoch 1, over mutual TLS."""
    authority, admission = CertificateAuthority.of_directory(tmp_path / "authority"), Noting()
    issued = authority.issue_gateway()
    write_version(tmp_path / "gateway", issued.serial, issued.files)
    certificate = ServerCertificate(tmp_path / "gateway")
    address = loopback(free_port())
    files = RouterFiles(
        NODE,
        tmp_path / "router",
        [address],
        free_socket().path,
        gateway_identities=(gateway_identity(authority.trust_domain),),
    )
    files.write(authority.issue_router(NODE))
    loaded = [before_switch(1, [blue.port], [green.port])]
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(serving(loaded, ports, address, certificate.credentials, admission))
        process = await stack.enter_async_context(running_envoy(files.bootstrap, tmp_path / "envoy.log"))
        client = await stack.enter_async_context(ClientSession())
        router = Router(NODE, ports.live.port, 0, files.admin, client, process)
        await until(lambda: gateway.heard.epoch() == 1)
        await until(router.listens)
        yield Site(authority, admission, certificate, tmp_path / "gateway", gateway, files, router)


async def test_a_router_takes_its_new_certificate_without_losing_a_request_or_its_stream(
    site: Site,
    blue: Replica,
    green: Replica,
) -> None:
    async with under_load(site.router) as load:
        await load.more(20)
        before = site.admission.serials[-1]
        reads = await site.router.counter(READS)
        after = site.rotate_router()
        await until(lambda: _has_read_again(site.router, reads))
        await site.gateway.tell(after_switch(2, [blue.port], [green.port]))
        await load.more(20)
        assert site.gateway.heard.gone == []
        assert set(site.admission.serials) == {before}

        site.admission.refused = before
        site.gateway.server.end_refused_streams()
        await until(lambda: site.admission.serials[-1] == after)
        await site.gateway.tell(before_switch(3, [blue.port], [green.port]))
        await load.more(20)
    assert load.failed == 0


async def _has_read_again(router: Router, reads: int) -> bool:
    return await router.counter(READS) > reads


async def test_a_gateway_shows_its_new_certificate_to_the_next_connection(
    site: Site,
    blue: Replica,
    green: Replica,
) -> None:
    async with under_load(site.router) as load:
        site.rotate_gateway()
        newest = (site.gateway_directory / KEY).resolve()
        await site.gateway.server.stop()
        loaded = [after_switch(2, [blue.port], [green.port])]
        async with serving(
            loaded,
            site.gateway.routing,
            site.gateway.address,
            site.certificate.credentials,
            site.admission,
        ) as restarted:
            await until(lambda: restarted.heard.epoch() == 2)
            await load.more(20)
    assert load.failed == 0
    assert newest.exists()
