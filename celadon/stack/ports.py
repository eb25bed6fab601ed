"""Ports on the loopback interface, kept from one start of a stack to the next."""

import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from celadon.stack.errors import StackError

LOOPBACK: Final = "127.0.0.1"

_LOWEST: Final = 15_000
_KERNEL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_KERNEL_STARTS_AT: Final = 32_768
_TRIES: Final = 1_000

Name = TypeVar("Name", bound=str)


def choose_ports(names: Iterable[Name], remembered: Mapping[Name, int]) -> dict[Name, int]:
    """Return a free port for each of ``names``: the remembered one where it is still free, else a new one.

    New ones lie below the range from which the kernel serves outgoing connections: one of those could otherwise take
    the port of a child while the child is being restarted.

    Raises:
        StackError: hardly any port of this machine is free.

    """
    chosen: dict[Name, int] = {}
    for name in names:
        port = remembered.get(name)
        if port is None or port in chosen.values() or not is_free(port):
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


def address(port: int) -> str:
    """Return ``host:port`` of a loopback port."""
    return f"{LOOPBACK}:{port}"


def _new_port(avoid: set[int]) -> int:
    highest = _first_outgoing_port() - 1
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, highest)
        if port not in avoid and is_free(port):
            return port
    raise StackError(f"none of {_TRIES} ports tried between {_LOWEST} and {highest} is free: see who listens on them")


def _first_outgoing_port() -> int:
    try:
        first = int(_KERNEL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _KERNEL_STARTS_AT
    # A kernel that gives out nearly every port leaves no room below; then any free one must do.
    return first if first > _LOWEST + _TRIES else _KERNEL_STARTS_AT
