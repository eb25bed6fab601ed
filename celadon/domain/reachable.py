"""Which addresses Celadon may speak to on somebody's behalf: health checks, static endpoints, webhooks.

Whoever may write a revision or a webhook chooses where Celadon connects to. The metadata services of clouds answer any
process of their machine with its credentials, so their addresses are refused unless the operator allows them. An
address is judged, never a name: resolve first, judge, then connect to the very address that was judged.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator

Network: TypeAlias = IPv4Network | IPv6Network

METADATA_NETWORKS: Final[tuple[Network, ...]] = (
    IPv4Network("169.254.0.0/16"),  # link-local: AWS, Azure, Google Cloud, OpenStack and others at .169.254
    IPv6Network("fe80::/10"),  # link-local
    IPv6Network("fd00:ec2::/32"),  # AWS
    IPv6Network("fd20:ce::/32"),  # Google Cloud
    IPv4Network("100.100.100.200/32"),  # Alibaba Cloud
    IPv4Network("168.63.129.16/32"),  # Azure's own agent
    IPv4Network("192.0.0.192/32"),  # Oracle Cloud
)
"""Where clouds answer with credentials of the machine, and all that is link-local."""

_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as NAT64 writes them (RFC 6052)."""


def refuse_address(address: str, allowed: Sequence[Network] = ()) -> str:
    """Return why Celadon does not connect to ``address``; empty when it may.

    Args:
        address: an IP address, not a name; an IPv6 zone (``%eth0``) is left out of account.
        allowed: networks that the operator allows although they are metadata addresses.

    """
    try:
        found = _as_reached(ip_address(address.partition("%")[0]))
    except ValueError:
        return f"{address} is no IP address: a name must be resolved before it is judged"
    if not any(_holds(network, found) for network in METADATA_NETWORKS):
        return ""
    if any(_holds(network, found) for network in allowed):
        return ""
    return (
        f"{address} is a link-local or cloud metadata address, which Celadon does not connect to; an operator may "
        "allow it with CELADON_ALLOWED_METADATA_NETWORKS"
    )


def _as_reached(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, so that no other spelling gets round the rule."""
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _holds(network: Network, address: IPv4Address | IPv6Address) -> bool:
    return address.version == network.version and address in network


def parse_networks(value: object) -> object:
    """Read networks as settings write them: ``169.254.169.254/32, fe80::/10``; nothing else is touched.

    Raises:
        ValueError: one of them is no network.

    """
    if not isinstance(value, str):
        return value
    return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())


Networks: TypeAlias = Annotated[tuple[Network, ...], BeforeValidator(parse_networks)]
"""A setting that holds networks."""
