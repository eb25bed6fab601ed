"""A token goes to nobody whose certificate is not trusted."""

import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from celadon.cli.access.calls import calling
from celadon.cli.faults import CommandError
from celadon.cli.target import ApiTarget
from celadon.service.principal import Principal

WHO = {"name": "ann", "roles": ["admin"], "scope": {}, "issuer": "token", "scheme": "token"}


def _write_certificate(directory: Path) -> tuple[Path, Path]:
    """Write a key, and a certificate for 127.0.0.1 that it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "celadon tests")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = (directory / "key.pem", directory / "certificate.pem")
    files[0].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files[1].write_bytes(certificate.public_bytes(Encoding.PEM))
    return files


@pytest_asyncio.fixture(loop_scope="session")
async def served(tmp_path: Path) -> AsyncIterator[tuple[ApiTarget, list[str]]]:
    """Serve an API with a certificate of its own; return where, and the tokens that it has seen."""
    key, certificate = _write_certificate(tmp_path)
    seen: list[str] = []

    async def who(request: web.Request) -> web.Response:
        seen.append(request.headers["authorization"])
        return web.json_response(WHO)

    app = web.Application()
    app.router.add_get("/v1/whoami", who)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield ApiTarget(url=url, token=SecretStr("celadon_t"), described="a test", when_away="look"), seen
    await runner.cleanup()


async def test_a_certificate_of_nobody_known_is_refused(served: tuple[ApiTarget, list[str]]) -> None:
    target, seen = served
    async with calling(target) as calls:
        with pytest.raises(CommandError, match=r"is not trusted .*CELADON_CA_FILE"):
            await calls.get("/v1/whoami", Principal)

    assert seen == []


async def test_the_authority_that_is_named_is_trusted(served: tuple[ApiTarget, list[str]], tmp_path: Path) -> None:
    target, seen = served
    trusting = target.model_copy(update={"ca_file": str(tmp_path / "certificate.pem")})
    async with calling(trusting) as calls:
        who = await calls.get("/v1/whoami", Principal)

    assert (who.name, seen) == ("ann", ["Bearer celadon_t"])


async def test_an_authority_that_cannot_be_read_is_told(served: tuple[ApiTarget, list[str]], tmp_path: Path) -> None:
    target, _ = served
    with pytest.raises(CommandError, match="cannot be read"):
        async with calling(target.model_copy(update={"ca_file": str(tmp_path / "none.pem")})):
            pass


@pytest.mark.parametrize("token", ["", "a b", "a\nx-evil: 1", "ä"])
async def test_what_is_no_token_is_not_sent(served: tuple[ApiTarget, list[str]], token: str) -> None:
    target, seen = served
    with pytest.raises(CommandError, match="the token of a test is none"):
        async with calling(target.model_copy(update={"token": SecretStr(token)})):
            pass

    assert seen == []
