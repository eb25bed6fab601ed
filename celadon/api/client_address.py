"""From which address a request comes, behind the proxies that an operator trusts."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.requests import HTTPConnection

from celadon.domain.decisions.reachable import Network

_FORWARDED: Final = "x-forwarded-for"
_HOST_BITS: Final = 64
"""Whoever has an IPv6 network has so many addresses that only the network tells one from another."""


def client_address(request: HTTPConnection, trusted: Sequence[Network]) -> str:
    """Return the address of whoever asks; empty when the connection has none.

    What a request says of itself is believed only from a trusted proxy, and then only what that proxy has added: the
    rightmost entry of ``X-Forwarded-For`` that is no trusted proxy itself.
    """
    peer = "" if request.client is None else request.client.host
    address = _parse(peer)
    if address is None:
        return peer
    if trusted and _is_in(address, trusted):
        entries = ",".join(request.headers.getlist(_FORWARDED)).split(",")
        for entry in reversed(entries):
            hop = _parse(entry.strip())
            if hop is None:
                break
            address = hop
            if not _is_in(hop, trusted):
                break
    return str(address)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether ``peer`` is a proxy that an operator trusts."""
    address = _parse(peer)
    return address is not None and _is_in(address, trusted)


def counted_as(address: str) -> str:
    """Return the name under which an address is counted: an IPv6 address by its /64 network."""
    ip = _parse(address)
    if isinstance(ip, IPv6Address):
        return str(IPv6Network((ip, _HOST_BITS), strict=False))
    return address


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address as proxies write it, also with a port; nothing when it is none."""
    text = text.partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
