"""Signatures of webhooks in the manner of Standard Webhooks: HMAC-SHA256 over id, moment and body.

A receiver recomputes it with the secret that both know. During a rotation there are two secrets and a signature for
each, so that a receiver may know either.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how secrets of Standard Webhooks begin
MAX_KEYS: Final = 2

_SHORTEST_KEY: Final = 24
_LONGEST_KEY: Final = 64


def parse_signing_key(secret: str) -> bytes:
    """Return the key of a secret.

    ``whsec_`` and base64 stand for 24 to 64 bytes, as the standard writes it.

    Raises:
        ValueError: it is no such secret; the text says how to make one, and never shows it.

    """
    how = "make one with: python3 -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a signing secret begins with {SECRET_PREFIX}; {how}")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a signing secret is base64 after {SECRET_PREFIX}; {how}") from error
    if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise ValueError(f"a signing secret has {_SHORTEST_KEY} to {_LONGEST_KEY} bytes, not {len(key)}; {how}")
    return key


def signature_headers(identity: str, at: datetime, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers that sign a body: its id, the moment of the attempt, and a signature for each key."""
    seconds = str(int(at.timestamp()))
    signed = f"{identity}.{seconds}.".encode() + body
    headers = {"webhook-id": identity, "webhook-timestamp": seconds}
    if keys:
        headers["webhook-signature"] = " ".join(f"v1,{_sign(key, signed)}" for key in keys)
    return headers


def _sign(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
