"""Free ports for replicas on this machine."""

import secrets
import socket
from collections.abc import Set as AbstractSet
from typing import Final

from celadon.provisioners.protocol import Address

FIRST_PORT: Final = 20_000
LAST_PORT: Final = 32_767
"""Below the ports that Linux gives to outgoing connections, which could take a replica's before it listens."""

_TRIES: Final = 1_000


def is_free(address: Address) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return False
    return True


def choose_free(host: str, in_use: AbstractSet[Address]) -> Address | None:
    """Return a free address that is not given out yet, nothing when none was found."""
    for _ in range(_TRIES):
        address = Address(host, FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1))
        if address not in in_use and is_free(address):
            return address
    return None
