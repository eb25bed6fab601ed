"""Connections keep what ``DATABASE_URL`` says of TLS, before a door that wants a certificate of its own CA.

The Postgres of the tests is built without TLS, so pgbouncer is that door, in session mode.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import make_url

from celadon.table.core.engine import Table
from celadon.table.core.listen import ROUTES_CHANNEL, Listener
from celadon.table.core.schema_revision import current_revision
from celadon.table.core.startup import DatabaseRefusedError, until_usable
from celadon.table.core.trouble_log import TroubleLog
from tests.table.listening import heard, notify, until_connected
from tests.table.own_server import OWNER, give_away, running_server
from tests.table.pooler import running_pgbouncer

pytestmark = pytest.mark.parts

PASSWORD = "p@ss/w:rd"  # noqa: S105 - of a server that lives for a test


@dataclass(frozen=True)
class Authority:
    """A CA with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str) -> "Authority":
        """Make one that signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)  # noqa: FBT003
        return cls(certificate.sign(key, hashes.SHA256()), key)

    def issue(self, directory: Path, file: str, name: str) -> None:
        """Write a certificate for a name and this machine's address, with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        certificate = (
            _builder(name, str(issuer), key)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False)  # noqa: FBT003
            .sign(self.key, hashes.SHA256())
        )
        (directory / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (directory / f"{file}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        (directory / f"{file}.key").chmod(0o600)

    def write(self, file: Path) -> None:
        """Write the certificate."""
        file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))


def _builder(name: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


@dataclass(frozen=True)
class Guarded:
    """A database behind a door that lets in who trusts its CA, shows a certificate of it and knows the password."""

    port: int
    directory: Path

    def url(self, **changes: str | None) -> str:
        """Return its address; an option that is ``None`` is left out."""
        options = {
            "sslmode": "verify-full",
            "sslrootcert": str(self.directory / "ca.crt"),
            "sslcert": str(self.directory / "client.crt"),
            "sslkey": str(self.directory / "client.key"),
            **changes,
        }
        query = urlencode({name: value for name, value in options.items() if value is not None})
        return f"postgresql+asyncpg://{OWNER}:p%40ss%2Fw%3Ard@127.0.0.1:{self.port}/postgres?{query}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(reachable_directory: Path) -> AsyncIterator[Guarded]:
    """Run the server."""
    directory = reachable_directory / "tls"
    await asyncio.to_thread(_make_certificates, directory)
    settings = "\n".join(
        (
            "auth_type = scram-sha-256",
            "client_tls_sslmode = verify-full",
            f"client_tls_ca_file = {directory / 'ca.crt'}",
            f"client_tls_cert_file = {directory / 'server.crt'}",
            f"client_tls_key_file = {directory / 'server.key'}",
        ),
    )
    async with running_server(directory / "data") as port:
        plain_url = f"postgresql+asyncpg://{OWNER}@127.0.0.1:{port}/postgres"
        async with running_pgbouncer(plain_url, directory / "door", "session", settings, PASSWORD) as url:
            made = make_url(url).port
            assert made is not None
            yield Guarded(made, directory)


def _make_certificates(directory: Path) -> None:
    directory.mkdir(mode=0o711)
    authority, stranger = Authority.make("ours"), Authority.make("another")
    authority.write(directory / "ca.crt")
    stranger.write(directory / "another-ca.crt")
    authority.issue(directory, "server", "postgres")
    authority.issue(directory, "client", OWNER)
    stranger.issue(directory, "stranger", OWNER)
    give_away(directory / "server.key", directory / "server.crt", directory / "ca.crt")


async def test_the_listener_hears_over_a_connection_that_keeps_every_option(guarded: Guarded) -> None:
    url = guarded.url()
    async with Table(url, "celadon-tls") as table, Listener(url, "celadon-tls-listener") as listener:
        await until_connected(listener)
        async with listener.subscribe(ROUTES_CHANNEL) as subscription:
            await notify(table, ROUTES_CHANNEL, "news")

            assert await heard(subscription, 1) == ["news"]


async def test_migrations_and_the_checks_at_start_keep_every_option(guarded: Guarded) -> None:
    assert await current_revision(guarded.url()) is None
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            # It lets them in, and says that the tables are missing.
            await asyncio.wait_for(until_usable(guarded.url(), TroubleLog("not_usable")), 3)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sslrootcert": "another-ca.crt"}, "certificate verify failed"),
        ({"sslcert": None, "sslkey": None}, ""),
        ({"sslcert": "stranger.crt", "sslkey": "stranger.key"}, ""),
        ({"sslmode": "disable", "sslrootcert": None, "sslcert": None, "sslkey": None}, ""),
    ],
)
async def test_an_option_that_is_wrong_lets_no_listener_in(
    guarded: Guarded,
    options: dict[str, str | None],
    why: str,
) -> None:
    placed = {
        name: value if value is None or name == "sslmode" else str(guarded.directory / value)
        for name, value in options.items()
    }
    url = guarded.url(**placed)

    async with Listener(url, "celadon-tls-refused") as listener:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listener.connected.wait(), 1)
    if why:
        async with asyncio.timeout(60):
            with pytest.raises(DatabaseRefusedError, match=why):
                await until_usable(url, TroubleLog("not_usable"))
