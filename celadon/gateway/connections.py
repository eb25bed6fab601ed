"""Closing a connection of a peer that is not believed, which gRPC for Python offers no way to do.

A router that has a new certificate shows it on its next connection. While its old one is up, Envoy opens every new
stream on that, and would be refused for ever.
"""

import os
import re
import socket
import stat
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_PEER: Final = re.compile(r"ipv[46]:\[?(?P<host>[^\]]+?)\]?:(?P<port>\d+)")
_DESCRIPTORS: Final = Path("/proc/self/fd")


def close_connection(peer: str) -> bool:
    """Close this process's connection with a peer, as gRPC names it (``ipv4:10.0.0.1:41000``); whether there was one.

    A connection of a Unix socket cannot be told from others and is left alone.
    """
    match = _PEER.fullmatch(unquote(peer))
    if match is None:
        return False
    wanted = (_plain(match["host"]), int(match["port"]))
    for entry in _DESCRIPTORS.iterdir():
        try:
            # A descriptor of our own, so that what is closed below is what was looked at.
            descriptor = os.dup(int(entry.name))
        except OSError:
            continue
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            continue
        with socket.socket(fileno=descriptor) as connection:
            if _address_of(connection) == wanted:
                connection.shutdown(socket.SHUT_RDWR)
                return True
    return False


def _address_of(connection: socket.socket) -> tuple[str, int] | None:
    """Return the other end of a TCP connection; ``None`` when it has none."""
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    try:
        host, port, *_ = connection.getpeername()
    except OSError:
        return None
    return _plain(host), port


def _plain(host: str) -> str:
    """Return an address in its one spelling; an IPv4 address within IPv6 as the former."""
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
