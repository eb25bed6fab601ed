"""Who is at the other end of a stream: what its connection proves, and the server's side of mutual TLS."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from celadon.domain.decisions.enrolment import CERTIFICATE_EXPIRES_SOON, CertifiedPeer, Peer, SocketPeer
from celadon.domain.language.names import RouterNode
from celadon.gateway.certificates import CA, CERTIFICATE, KEY, CertificateError

_PEM: Final = "x509_pem_cert"

log = structlog.get_logger()


class PeerContext(Protocol):
    """What gRPC tells of the connection of a stream."""

    def peer(self) -> str:
        """Return the address of the other end."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what TLS has shown."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A peer that speaks for a router on one connection.

    A router has its streams on one connection, so another connection with the same certificate is somebody else.
    """

    node: RouterNode
    peer: Peer
    connection: str
    """The address of the other end; all connections of a Unix socket have the same."""


def peer_of(context: PeerContext) -> Peer:
    """Return what a stream's connection proves: the certificate of mutual TLS, or else access to the Unix socket.

    The server listens either on a Unix socket or with mutual TLS, which lets nobody in without a certificate.
    """
    shown = list(context.auth_context().get(_PEM, ()))
    if not shown:
        return SocketPeer()
    certificate = x509.load_pem_x509_certificate(shown[0])
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return CertifiedPeer(
        names=frozenset(
            [
                *names.get_values_for_type(x509.UniformResourceIdentifier),
                *names.get_values_for_type(x509.DNSName),
            ],
        ),
        serial=f"{certificate.serial_number:x}",
        expires_at=certificate.not_valid_after_utc,
    )


class ServerCertificate:
    """A gateway's certificate, its key, and the CA that routers' certificates must come from; read again when changed.

    The directory has ``tls.crt``, ``tls.key`` and ``ca.crt``.
    """

    def __init__(self, directory: Path) -> None:
        """Read the files.

        Raises:
            CertificateError: one is missing or holds something else.

        """
        self._directory = directory
        self._lock = threading.Lock()
        self._signature = self._look()
        self._configuration = self._read()

    @property
    def credentials(self) -> grpc.ServerCredentials:
        """What the server listens with: mutual TLS, in which whoever shows no certificate of the CA gets nowhere."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._newest,
            require_client_authentication=True,
        )

    def _newest(self) -> grpc.ServerCertificateConfiguration:
        """Return what the files say now; gRPC asks before each handshake, in threads of its own."""
        with self._lock:
            signature = self._look()
            if signature != self._signature:
                self._signature = signature
                try:
                    self._configuration = self._read()
                except CertificateError as error:
                    log.warning("certificate_not_read", why=str(error), next_step="the one before is used on")
                else:
                    log.info("certificate_read", directory=str(self._directory))
            return self._configuration

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file does."""
        versions = []
        for name in (CERTIFICATE, KEY, CA):
            try:
                status = (self._directory / name).stat()
            except OSError:
                versions.append((0, 0, 0))
            else:
                versions.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(versions)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            certificate, key, authority = ((self._directory / name).read_bytes() for name in (CERTIFICATE, KEY, CA))
            parsed = _check_pair(certificate, key)
            x509.load_pem_x509_certificates(authority)
        except (OSError, ValueError, TypeError) as error:
            raise CertificateError(
                f"the gateway's certificate in {self._directory} cannot be used: {error}; the directory needs "
                f"{CERTIFICATE}, {KEY} and {CA}: 'celadon gateway certificate --to {self._directory}' writes them",
            ) from error
        if parsed.not_valid_after_utc - datetime.now(UTC) < CERTIFICATE_EXPIRES_SOON:
            log.warning(
                "certificate_expires_soon",
                directory=str(self._directory),
                expires_at=parsed.not_valid_after_utc.isoformat(),
                next_step="write a new one: celadon gateway certificate",
            )
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)


def _check_pair(certificate: bytes, key: bytes) -> x509.Certificate:
    """Return the certificate; raises ``ValueError`` or ``TypeError`` when it is none, or the key is another's."""
    parsed = x509.load_pem_x509_certificate(certificate)
    if load_pem_private_key(key, password=None).public_key() != parsed.public_key():
        raise ValueError(f"{KEY} is not the key of {CERTIFICATE}")
    return parsed
