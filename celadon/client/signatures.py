"""Signing what a door has verified, and checking such signatures: Ed25519, keys in PEM files."""

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.contracts import DEFAULT_INSTALLATION
from celadon.domain.language.states import WorkerRisk
from celadon.owned_files import write_file

log = structlog.get_logger()

_KEY_END = "."
_PEM_END = b"-----END PUBLIC KEY-----"


class KeyFileError(Exception):
    """A file holds no key of the kind that is needed; the text says which and what to do."""


class AuthoritySettings(BaseSettings):
    """Whom the worker believes, and what it lets unsigned messages do."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    verify_keys_file: Path | None = None
    """Ed25519 public keys in PEM, one after the other; without it every identity is shown as declared."""
    unsigned: Unsigned = Unsigned.DECISIONS
    """What a start or message that nobody has signed may do: none, decisions or all."""
    installation: str = DEFAULT_INSTALLATION
    """The name of this Celadon; what is signed for another one counts for nothing."""

    def authority(self) -> Authority:
        """Read the keys.

        Raises:
            KeyFileError: they cannot be read.

        """
        keyring = Keyring(()) if self.verify_keys_file is None else Keyring(_read_public_keys(self.verify_keys_file))
        return Authority(unsigned=self.unsigned, installation=self.installation, verifies=keyring.verifies)

    def risks(self) -> tuple[WorkerRisk, ...]:
        """Return what these settings let others do that they need not."""
        risks = [WorkerRisk.UNSIGNED_ALL] if self.unsigned is Unsigned.ALL else []
        if self.verify_keys_file is None:
            risks.append(WorkerRisk.NO_KEYS)
        return tuple(risks)


class SigningSettings(BaseSettings):
    """With what a door signs: ``CELADON_SIGNING_KEY_FILE``, and the installation for which."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    signing_key_file: Path | None = None
    """An Ed25519 private key in PEM; without it the worker shows callers as declared, not as verified."""
    installation: str = DEFAULT_INSTALLATION
    """The name of this Celadon, which is part of what is signed; the workers have the same."""

    def signer(self) -> "Signer | None":
        """Read the key, if there is one.

        Raises:
            KeyFileError: it cannot be read.

        """
        return None if self.signing_key_file is None else Signer.of_file(self.signing_key_file, self.installation)


class Signer:
    """Signs with a door's private key."""

    def __init__(self, key: Ed25519PrivateKey, installation: str = DEFAULT_INSTALLATION) -> None:
        """Sign with ``key``, for one installation."""
        self._key = key
        self.installation = installation

    @classmethod
    def of_file(cls, file: Path, installation: str = DEFAULT_INSTALLATION) -> Self:
        """Read the key of a PEM file.

        Raises:
            KeyFileError: it cannot be read, or holds no Ed25519 private key.

        """
        try:
            key = load_pem_private_key(file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{file} cannot be read as a private key: {error}; {_HOW_TO_MAKE}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{file} holds no Ed25519 key; {_HOW_TO_MAKE}")
        return cls(key, installation)

    def sign(self, text: str) -> str:
        """Return the signature of ``text``."""
        return base64.b64encode(self._key.sign(text.encode())).decode()


class WorkerSigner(Signer):
    """Signs with a key of one process's own, which never leaves it; others believe it by the public half in the table.

    What it signs names the key: ``KEY.SIGNATURE``.
    """

    def __init__(self, installation: str) -> None:
        """Make the key."""
        key = Ed25519PrivateKey.generate()
        super().__init__(key, installation)
        self.identity = secrets.token_hex(8)
        """Names the key in the table."""
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public_key: str = public.decode("ascii")
        """The public half, in PEM."""

    def sign(self, text: str) -> str:
        """Return the signature of ``text``, with the name of the key."""
        return f"{self.identity}{_KEY_END}{super().sign(text)}"


def worker_key_of(signature: str) -> str:
    """Return the name of the worker's key that made a signature; empty when none did."""
    identity, end, _ = signature.partition(_KEY_END)
    return identity if end else ""


def verifies_with(public_keys: Mapping[str, str], text: str, signature: str) -> bool:
    """Whether a worker has signed ``text``.

    Args:
        public_keys: in PEM, by the names of the keys.
        text: what was signed.
        signature: with the name of its key.

    """
    identity, _, signed = signature.partition(_KEY_END)
    pem = public_keys.get(identity)
    if pem is None:
        return False
    key = load_pem_public_key(pem.encode())
    return isinstance(key, Ed25519PublicKey) and Keyring((key,)).verifies(text, signed)


class Keyring:
    """Checks signatures with the public keys of doors; several, while one is replaced by another."""

    def __init__(self, keys: Sequence[Ed25519PublicKey]) -> None:
        """Believe ``keys``."""
        self._keys = tuple(keys)

    def verifies(self, text: str, signature: str) -> bool:
        """Whether one of the keys has signed ``text``; a signature that none has made is logged."""
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        for key in self._keys:
            try:
                key.verify(raw, text.encode())
            except InvalidSignature:
                continue
            return True
        log.warning("signature_not_believed", keys=len(self._keys), next_step="the identity is shown as declared")
        return False


def make_key_pair(private: Path, public: Path) -> None:
    """Write a new pair of keys; the private one is for its owner alone.

    Raises:
        OSError: a file cannot be written.

    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_file(private, pem.decode("ascii"), mode=0o600)
    readable = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_file(public, readable.decode("ascii"), mode=0o644)


def _read_public_keys(file: Path) -> tuple[Ed25519PublicKey, ...]:
    try:
        parts = [part + _PEM_END for part in file.read_bytes().split(_PEM_END)[:-1]]
        keys = [load_pem_public_key(part.strip()) for part in parts]
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{file} cannot be read as public keys: {error}; {_HOW_TO_MAKE}") from error
    public_keys = tuple(key for key in keys if isinstance(key, Ed25519PublicKey))
    if not public_keys or len(public_keys) != len(keys):
        raise KeyFileError(f"{file} does not hold Ed25519 public keys alone; {_HOW_TO_MAKE}")
    return public_keys


_HOW_TO_MAKE = (
    "make a pair with 'openssl genpkey -algorithm ed25519 -out key.pem' and "
    "'openssl pkey -in key.pem -pubout -out key.pub'"
)
