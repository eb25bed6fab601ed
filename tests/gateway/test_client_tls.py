"""Listeners that speak TLS with clients, on the real Envoy; the key is on the router's machine alone."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector
from cryptography import x509

from celadon.domain.language.names import RouterNode
from celadon.gateway.authority import GATEWAY_NAME, CertificateAuthority, Issued
from celadon.gateway.certificates import KEY, write_version
from celadon.gateway.enrolling import RouterFiles
from celadon.gateway.routing import Routing
from tests.gateway.conftest import free_socket, serving
from tests.gateway.replica import Replica
from tests.gateway.router import running_envoy, until
from tests.gateway.traffic import LOOPBACK, before_switch

pytestmark = pytest.mark.parts

HOST = GATEWAY_NAME
"""The host name of the certificate, which is not that of a deployment: requests are addressed by path."""
SENDERS = 4
ROTATIONS = 4


@dataclass
class TlsRouter:
    """A router whose listeners speak TLS, and what its clients need."""

    live: int
    preview: int
    certificates: Path
    authority: CertificateAuthority

    def rotate(self, **other_files: bytes) -> Issued:
        """Replace the certificate, as whoever renews it does."""
        issued = self.authority.issue_gateway()
        write_version(self.certificates, issued.serial, issued.files | other_files)
        return issued

    def context(self, *protocols: str) -> ssl.SSLContext:
        """Return what a client trusts, and the protocols that it offers."""
        made = ssl.create_default_context(cadata=self.authority.issue_gateway().ca.decode())
        made.set_alpn_protocols([*protocols] or ["http/1.1"])
        return made

    async def shaken_hands(self, *protocols: str, port: int | None = None) -> tuple[str | None, str]:
        """Return the protocol that the router chose, and the serial number of its certificate."""
        context = self.context(*protocols)
        _, writer = await asyncio.open_connection(LOOPBACK, port or self.live, ssl=context, server_hostname=HOST)
        try:
            connection = writer.get_extra_info("ssl_object")
            certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))
            return connection.selected_alpn_protocol(), f"{certificate.serial_number:x}"
        finally:
            writer.close()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ClientSession]:
        """Run a client that opens a connection for each request."""
        async with ClientSession(connector=TCPConnector(ssl=self.context(), force_close=True)) as session:
            yield session

    async def get(self, client: ClientSession) -> dict[str, str]:
        """Send a request; return the headers that reached the replica."""
        url = f"https://{LOOPBACK}:{self.live}/chat/v1/models"
        async with client.get(url, headers={"host": HOST}, server_hostname=HOST) as response:
            assert response.status == 200
            told: dict[str, str] = (await response.json())["headers"]
            return told


@pytest_asyncio.fixture(loop_scope="session")
async def router(ports: Routing, tmp_path: Path, blue: Replica) -> AsyncIterator[TlsRouter]:
    """Run a router that was enrolled with a certificate for clients."""
    assert ports.preview is not None
    made = TlsRouter(
        ports.live.port,
        ports.preview.port,
        tmp_path / "clients",
        CertificateAuthority.of_directory(tmp_path / "authority"),
    )
    made.certificates.mkdir(mode=0o700)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(serving([before_switch(1, [blue.port], [])], ports))
        files = RouterFiles(
            RouterNode("router"),
            tmp_path / "router",
            [gateway.address],
            free_socket().path,
            clients_certificates=made.certificates,
        )
        files.write(None)
        await stack.enter_async_context(running_envoy(files.bootstrap, tmp_path / "envoy.log"))
        await until(lambda: gateway.heard.epoch() == 1)
        # It came up without a certificate, as where the first one is still being issued.
        assert not await _answers(made)
        made.rotate()
        await until(lambda: _answers(made))
        yield made


async def _answers(router: TlsRouter) -> bool:
    try:
        await router.shaken_hands("http/1.1")
    except OSError:
        return False
    return True


async def test_clients_choose_between_http_1_and_http_2_on_both_listeners(router: TlsRouter) -> None:
    chosen = [
        (await router.shaken_hands(*offered, port=port))[0]
        for port in (router.live, router.preview)
        for offered in (["h2", "http/1.1"], ["http/1.1"])
    ]

    assert chosen == ["h2", "http/1.1"] * 2


async def test_a_replica_is_told_that_its_client_spoke_tls(router: TlsRouter) -> None:
    async with router.client() as client:
        assert (await router.get(client))["x-forwarded-proto"] == "https"


async def test_a_grpc_client_is_answered_in_its_own_words(router: TlsRouter) -> None:
    credentials = grpc.ssl_channel_credentials(router.authority.issue_gateway().ca)
    options = [("grpc.ssl_target_name_override", HOST)]
    async with grpc.aio.secure_channel(f"{LOOPBACK}:{router.live}", credentials, options) as channel:
        infer: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/no.Such/Deployment")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await infer(b"")

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_who_speaks_no_tls_is_not_answered(router: TlsRouter) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, router.live)
    writer.write(b"GET /chat/v1/models HTTP/1.1\r\nhost: chat\r\n\r\n")

    assert b"HTTP" not in await reader.read()
    writer.close()


async def test_new_certificates_are_taken_under_load_and_no_request_is_lost(router: TlsRouter) -> None:
    answered: Counter[int] = Counter()

    async def send(number: int) -> None:
        async with router.client() as client:
            while True:
                await router.get(client)
                answered[number] += 1

    async with asyncio.TaskGroup() as group:
        senders = [group.create_task(send(number)) for number in range(SENDERS)]
        for _ in range(ROTATIONS):
            await _takes(router, router.rotate())
            await _answer_more(answered)
        for sender in senders:
            sender.cancel()


async def test_a_key_that_is_not_the_certificates_leaves_the_one_before_in_use(router: TlsRouter) -> None:
    _, serial = await router.shaken_hands()

    router.rotate(**{KEY: router.authority.issue_gateway().key})
    next_one = router.rotate()
    await _takes(router, next_one)
    router.rotate(**{KEY: router.authority.issue_gateway().key})

    assert serial != next_one.serial
    for _ in range(SENDERS):
        assert await router.shaken_hands() == ("http/1.1", next_one.serial)


async def _takes(router: TlsRouter, issued: Issued) -> None:
    """Wait until the router shows a certificate."""

    async def shows() -> bool:
        return (await router.shaken_hands())[1] == issued.serial

    await until(shows)


async def _answer_more(answered: Counter[int]) -> None:
    """Wait until the router has answered some more requests."""
    before = answered.total()
    await until(lambda: answered.total() > before + SENDERS)
