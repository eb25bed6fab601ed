"""Signing what a door has verified, and checking such signatures: Ed25519, keys in PEM files."""

import base64
import binascii
from collections.abc import Sequence
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

from celadon.owned_files import write_file

log = structlog.get_logger()

_PEM_END = b"-----END PUBLIC KEY-----"


class KeyFileError(Exception):
    """A file holds no key of the kind that is needed; the text says which and what to do."""


class KeyringSettings(BaseSettings):
    """Whose signatures the worker believes: ``CELADON_VERIFY_KEYS_FILE``."""

    model_config = SettingsConfigDict(env_prefix="CELADON_", extra="ignore", frozen=True)

    verify_keys_file: Path | None = None
    """Ed25519 public keys in PEM, one after the other; without it every identity is shown as declared."""


class Signer:
    """Signs with a door's private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Sign with ``key``."""
        self._key = key

    @classmethod
    def of_file(cls, file: Path) -> Self:
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
        return cls(key)

    def sign(self, text: str) -> str:
        """Return the signature of ``text``."""
        return base64.b64encode(self._key.sign(text.encode())).decode()


class Keyring:
    """Checks signatures with the public keys of doors; several, while one is replaced by another."""

    def __init__(self, keys: Sequence[Ed25519PublicKey]) -> None:
        """Believe ``keys``."""
        self._keys = tuple(keys)

    @classmethod
    def of_settings(cls, settings: KeyringSettings) -> Self:
        """Read the keys of the file that the settings name; without one nobody is believed.

        Raises:
            KeyFileError: it cannot be read, or holds something else.

        """
        return cls(()) if settings.verify_keys_file is None else cls(_read_public_keys(settings.verify_keys_file))

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
    found = tuple(key for key in keys if isinstance(key, Ed25519PublicKey))
    if not found or len(found) != len(keys):
        raise KeyFileError(f"{file} does not hold Ed25519 public keys alone; {_HOW_TO_MAKE}")
    return found


_HOW_TO_MAKE = (
    "make a pair with 'openssl genpkey -algorithm ed25519 -out key.pem' and "
    "'openssl pkey -in key.pem -pubout -out key.pub'"
)
