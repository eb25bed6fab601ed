"""Ports on the loopback interface, kept from one start of a stack to the next."""

import ipaddress
import os
import random
import secrets
import socket
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from celadon.provisioners.ports import FIRST_PORT as FIRST_PORT_OF_REPLICAS
from celadon.stack.errors import StackError

LOOPBACK: Final = "127.0.0.1"

_LOOPBACK_NETWORK: Final = 127 << 24
_LOWEST: Final = 10_000
_HIGHEST: Final = FIRST_PORT_OF_REPLICAS - 1
_TRIES: Final = 1_000

_CLAIMS_HELD: Final = 256
_claims: OrderedDict[int, int] = OrderedDict()
"""The ports that this process chose last, each with the descriptor that claims it until the process ends."""

Name = TypeVar("Name", bound=str)


def choose_ports(names: Iterable[Name], remembered: Mapping[Name, int]) -> dict[Name, int]:
    """Return a free port for each of ``names``: the remembered one where it is still free, else a new one.

    What one process has chosen no other one chooses while it lives: stacks that start at the same moment do not take
    each other's. New ones lie below those of replicas, and so below the range from which the kernel serves outgoing
    connections: one of those could otherwise take the port of a child while the child is being restarted.

    Raises:
        StackError: hardly any port of this machine is free.

    """
    chosen: dict[Name, int] = {}
    for name in names:
        port = remembered.get(name)
        if port is None or port in chosen.values() or not is_free(port) or not _claim(port):
            port = _new_port(avoid={*chosen.values(), *remembered.values()})
        chosen[name] = port
    return chosen


def is_free(port: int) -> bool:
    """Whether nobody listens on ``port`` of the loopback interface, nor holds it in another way."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections that ended a moment ago do not matter to a server, which sets the same option.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def address(port: int, host: str = LOOPBACK) -> str:
    """Return ``host:port`` of a loopback port."""
    return f"{host}:{port}"


def hidden_loopback() -> str:
    """Return an address of this machine alone that no web page can guess: one of the 16 million of ``127.0.0.0/8``.

    A page of any site can make a browser connect to 127.0.0.1, and by a name that changes its address (DNS rebinding)
    even be taken for a page of the server there. It must name the address, though. Where a system has no other loopback
    addresses (macOS), this is 127.0.0.1.
    """
    # Neither 127.0.0.0/16, in which systems have resolvers and host names, nor a first or last address of a network.
    chosen = ipaddress.IPv4Address(
        _LOOPBACK_NETWORK
        | (1 + secrets.randbelow(254)) << 16
        | (1 + secrets.randbelow(254)) << 8
        | (1 + secrets.randbelow(254)),
    )
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((str(chosen), 0))
        except OSError:
            return LOOPBACK
    return str(chosen)


def _new_port(avoid: set[int]) -> int:
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)
        if port not in avoid and port not in _claims and is_free(port) and _claim(port):
            return port
    raise StackError(f"none of {_TRIES} ports tried between {_LOWEST} and {_HIGHEST} is free: see who listens on them")


def _claim(port: int) -> bool:
    """Claim ``port`` for this process on the whole machine; whether it is this one's now."""
    if port in _claims:
        return True
    # A name in the kernel's abstract space: one holder on the machine, whoever its user is, and no file to be left.
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0celadon-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims[port] = claim.detach()
    if len(_claims) > _CLAIMS_HELD:
        os.close(_claims.popitem(last=False)[1])
    return True
