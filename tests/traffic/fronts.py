"""Proxies before a router, run with the files of ``deploy/fronts``; only addresses and certificates are the test's."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.debian import debian_program
from tests.gateway.conftest import free_port
from tests.gateway.router import until
from tests.gateway.traffic import LOOPBACK

FILES: Final = Path(__file__).parents[2] / "deploy" / "fronts"
DOMAIN: Final = "models.example.com"
ROUTER_ADDRESS: Final = "127.0.0.1:8000"
"""How the files name a router."""

NGINX: Final = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    include {snippet};
}}
"""


@dataclass(frozen=True)
class Front:
    """A running proxy."""

    port: int
    certificate: bytes
    """What its clients trust."""

    @property
    def trust(self) -> ssl.SSLContext:
        """The certificate as a client of Python takes it."""
        return ssl.create_default_context(cadata=self.certificate.decode())


def certificate() -> tuple[bytes, bytes]:
    """Return a certificate for this machine and every name of the domain, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    names = x509.SubjectAlternativeName([x509.DNSName(f"*.{DOMAIN}"), x509.IPAddress(ip_address(LOOPBACK))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem), written


def nginx(directory: Path, port: int, router: int) -> list[str]:
    """Write the configuration of an nginx before a router; return the command."""
    snippet, whole = directory / "celadon.conf", directory / "nginx.conf"
    changes = {"listen 443": f"listen {LOOPBACK}:{port}", "/etc/nginx/tls": str(directory / "tls")}
    snippet.write_text(_changed("nginx.conf", router, changes), encoding="utf-8")
    whole.write_text(NGINX.format(directory=directory, snippet=snippet), encoding="utf-8")
    return [debian_program("nginx", "nginx-light"), "-p", str(directory), "-c", str(whole)]


def haproxy(directory: Path, port: int, router: int) -> list[str]:
    """Write the configuration of an HAProxy before a router; return the command."""
    snippet = directory / "haproxy.cfg"
    changes = {"bind :443": f"bind {LOOPBACK}:{port}", "/etc/haproxy/tls.pem": str(directory / "tls.pem")}
    snippet.write_text(_changed("haproxy.cfg", router, changes), encoding="utf-8")
    return [debian_program("haproxy"), "-db", "-f", str(snippet)]


def _changed(file: str, router: int, changes: dict[str, str]) -> str:
    """Return a file with the test's addresses; raises unless it has all that is changed."""
    text = (FILES / file).read_text(encoding="utf-8")
    for before, after in {ROUTER_ADDRESS: f"{LOOPBACK}:{router}", **changes}.items():
        assert before in text, f"{file} has no {before!r}"
        text = text.replace(before, after)
    return text


FRONTS: Final[dict[str, Callable[[Path, int, int], list[str]]]] = {"nginx": nginx, "HAProxy": haproxy}


@asynccontextmanager
async def running_front(kind: str, directory: Path, router: int) -> AsyncIterator[Front]:
    """Run a proxy that speaks TLS before a router until the block ends."""
    port, (public, key) = free_port(), certificate()
    (directory / "tls.crt").write_bytes(public)
    (directory / "tls.key").write_bytes(key)
    (directory / "tls.pem").write_bytes(public + key)
    log = directory / "log"
    with log.open("wb") as output:
        command = FRONTS[kind](directory, port, router)
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        await until(lambda: _listens(process, port, log))
        yield Front(port, public)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _listens(process: asyncio.subprocess.Process, port: int, log: Path) -> bool:
    assert process.returncode is None, await asyncio.to_thread(log.read_text)
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
