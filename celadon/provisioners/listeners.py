"""Which sockets listen at a replica's address, and whether the replica's own processes hold every one of them.

Whoever binds a port first gets what is sent there, so that a port answers says nothing of who answers. The kernel tells
each listening socket's inode and user in ``/proc/net/tcp`` and ``tcp6``, and which process holds it in
``/proc/<pid>/fd``. Sockets that share a port (``SO_REUSEPORT``) share its connections, so each of them counts.
"""

import os
import pwd
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from celadon.provisioners.protocol import Address

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENS: Final = "0A"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_WORD_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket that gets connections made to an address."""

    inode: int
    uid: int
    """The user that opened it."""


def listening_sockets(address: Address) -> tuple[ListeningSocket, ...] | None:
    """Return the sockets of this machine that may get a connection to ``address``, those of every interface included.

    ``None`` where the platform does not tell.
    """
    wanted = ip_address(address.host)
    sockets: list[ListeningSocket] = []
    for table in _TABLES:
        try:
            with table.open(encoding="ascii") as lines:
                next(lines)  # The heading.
                sockets += _read_table(lines, wanted, address.port)
        except FileNotFoundError:
            # A kernel without IPv6 has the first table alone.
            if table is _TABLES[0]:
                return None
    return tuple(sockets)


def held_sockets(pids: Collection[int]) -> frozenset[int]:
    """Return the inodes of all sockets that some processes hold, as far as this user may look."""
    held: set[int] = set()
    for pid in pids:
        try:
            with os.scandir(f"/proc/{pid}/fd") as descriptors:
                for descriptor in descriptors:
                    held |= _socket_of(descriptor.path)
        except OSError:
            # It has ended, or is another user's: then what it holds is not known to be the replica's.
            continue
    return frozenset(held)


def describe_user(uid: int) -> str:
    """Return a user as people know it."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return f"user id {uid}"


def _socket_of(descriptor: str) -> set[int]:
    try:
        match = _SOCKET.fullmatch(os.readlink(descriptor))  # noqa: PTH115 - a worker may look at thousands of them
    except OSError:
        # Closed meanwhile.
        return set()
    return set() if match is None else {int(match[1])}


def _read_table(lines: Iterable[str], wanted: IPv4Address | IPv6Address, port: int) -> Iterator[ListeningSocket]:
    """Read a table of the kernel: number, local address, remote address, state, queues, timer, retries, user, ...

    Listening sockets stand before all others (``tcp_seq_next`` in Linux's ``net/ipv4/tcp_ipv4.c``), and only as much is
    read: a machine with many connections has a table of megabytes.
    """
    for line in lines:
        fields = line.split()
        if fields[3] != _LISTENS:
            return
        host, _, found_port = fields[1].rpartition(":")
        if int(found_port, 16) == port and _gets(_address(host), wanted):
            yield ListeningSocket(inode=int(fields[9]), uid=int(fields[7]))


def _address(text: str) -> IPv4Address | IPv6Address:
    """Read an address as the kernel prints it: words of 32 bits, each in the byte order of the machine."""
    words = [int(text[start : start + _WORD_DIGITS], 16) for start in range(0, len(text), _WORD_DIGITS)]
    return ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _gets(bound: IPv4Address | IPv6Address, wanted: IPv4Address | IPv6Address) -> bool:
    """Whether a socket that is bound to one address may get a connection to the other.

    A socket of ``::`` may serve IPv4 too; the table does not say whether it does, so it counts.
    """
    if isinstance(bound, IPv6Address):
        bound = bound.ipv4_mapped or bound
    if isinstance(wanted, IPv6Address):
        wanted = wanted.ipv4_mapped or wanted
    if bound.is_unspecified:
        return bound.version >= wanted.version
    return bound == wanted
