"""Whether a token says of itself that it has expired."""

import json
import time
from base64 import urlsafe_b64decode
from typing import Final

_PARTS: Final = 3
"""A JWT is a header, its claims and a signature, with dots between them (RFC 7519)."""


def has_expired(token: str) -> bool:
    """Whether ``token`` is a JWT whose time is over, by this machine's clock; its signature is not checked."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return False
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"]) <= time.time()
    except (ValueError, KeyError, TypeError):
        return False
