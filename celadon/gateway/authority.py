"""The installation's own certificate authority: one key in a directory, which signs for routers and gateways."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic_settings import BaseSettings, SettingsConfigDict

from celadon.domain.decisions.enrolment import check_trust_domain, gateway_identity, router_identity
from celadon.gateway.certificates import (
    CA,
    CERTIFICATE,
    KEY,
    CertificateError,
    make_private_directory,
    read_owned,
    write_new,
)

CA_KEY: Final = "ca.key"
DEFAULT_TRUST_DOMAIN: Final = "celadon"
GATEWAY_NAME: Final = "celadon-gateway"
"""In every gateway's certificate beside its identity, for tools that insist on the name of a host."""
CA_VALIDITY: Final = timedelta(days=3650)
DEFAULT_VALIDITY: Final = timedelta(days=365)
LONGEST_VALIDITY: Final = timedelta(days=825)
BACKDATED: Final = timedelta(minutes=5)
"""Clocks of two machines differ: a certificate is valid a little before it was made."""


class CertificateAuthoritySettings(BaseSettings):
    """Where the commands that issue certificates find the CA: ``CELADON_AUTHORITY_DIR``, ``CELADON_TRUST_DOMAIN``."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    authority_dir: Path | None = None
    """Holds the CA's key and certificate; made at the first use, for its owner alone."""
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    """The first part of the identities in certificates; taken when the CA is made."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate with its key, in PEM."""

    identity: str
    serial: str
    """In hexadecimal, as gateways read it from the certificate."""
    expires_at: datetime
    certificate: bytes
    key: bytes
    ca: bytes

    @property
    def files(self) -> dict[str, bytes]:
        """What stands in the directory of whoever uses it."""
        return {CERTIFICATE: self.certificate, KEY: self.key, CA: self.ca}


class CertificateAuthority:
    """Issues certificates; open it with :meth:`of_directory`."""

    def __init__(self, key: EllipticCurvePrivateKey, certificate: x509.Certificate, trust_domain: str) -> None:
        """Sign with ``key``."""
        self._key = key
        self._certificate = certificate
        self.trust_domain = trust_domain

    @classmethod
    def of_directory(cls, directory: Path, trust_domain: str = DEFAULT_TRUST_DOMAIN) -> Self:
        """Open the CA of a directory; make one when there is none.

        Raises:
            CertificateError: the directory or a file in it is not safe, or holds something else.
            OSError: a file cannot be read or written.

        """
        make_private_directory(directory)
        with _locked(directory):
            if not os.path.lexists(directory / CA_KEY):
                _make(directory, trust_domain)
        try:
            key = load_pem_private_key(read_owned(directory / CA_KEY, secret=True), password=None)
            certificate = x509.load_pem_x509_certificate(read_owned(directory / CA, secret=False))
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            [identity] = names.get_values_for_type(x509.UniformResourceIdentifier)
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
            raise CertificateError(f"{directory} does not hold the CA that Celadon made: {error}") from error
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CertificateError(f"{directory / CA_KEY} is not the key of {directory / CA}; restore both from a copy")
        return cls(key, certificate, identity.removeprefix("spiffe://"))

    def issue_router(self, node: str, valid_for: timedelta = DEFAULT_VALIDITY) -> Issued:
        """Issue the certificate by which a router shows a gateway who it is."""
        return self._issue(router_identity(self.trust_domain, node), (), ExtendedKeyUsageOID.CLIENT_AUTH, valid_for)

    def issue_gateway(self, valid_for: timedelta = DEFAULT_VALIDITY) -> Issued:
        """Issue the certificate by which routers know a gateway, whatever its host is called."""
        identity = gateway_identity(self.trust_domain)
        return self._issue(identity, (GATEWAY_NAME,), ExtendedKeyUsageOID.SERVER_AUTH, valid_for)

    def _issue(
        self,
        identity: str,
        host_names: tuple[str, ...],
        usage: x509.ObjectIdentifier,
        valid_for: timedelta,
    ) -> Issued:
        names = [x509.UniformResourceIdentifier(identity), *(x509.DNSName(name) for name in host_names)]
        now = datetime.now(UTC).replace(microsecond=0)
        key = generate_private_key(SECP256R1())
        expires_at = min(now + valid_for, self._certificate.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name("Celadon"))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - BACKDATED, self._certificate.not_valid_before_utc))
            .not_valid_after(expires_at)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, SHA256())
        )
        return Issued(
            identity=identity,
            serial=f"{certificate.serial_number:x}",
            expires_at=expires_at,
            certificate=certificate.public_bytes(Encoding.PEM),
            key=_pem(key),
            ca=self._certificate.public_bytes(Encoding.PEM),
        )


def _make(directory: Path, trust_domain: str) -> None:
    """Make the key and its certificate; the key comes last, for what has a key is complete."""
    try:
        check_trust_domain(trust_domain)
    except ValueError as error:
        raise CertificateError(f"CELADON_TRUST_DOMAIN: {error}") from error
    now = datetime.now(UTC).replace(microsecond=0)
    key = generate_private_key(SECP256R1())
    name = _name(f"Celadon CA of {trust_domain}")
    identity = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_VALIDITY)
        .add_extension(x509.SubjectAlternativeName([identity]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    (directory / CA).unlink(missing_ok=True)
    write_new(directory / CA, certificate.public_bytes(Encoding.PEM))
    write_new(directory / CA_KEY, _pem(key))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes from making a CA in the same directory at the same time."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
