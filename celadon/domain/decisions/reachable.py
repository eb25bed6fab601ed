"""Which addresses Celadon may speak to on somebody's behalf: health checks, static endpoints, webhooks.

Whoever may write a revision or a webhook chooses where Celadon connects to. The metadata services of clouds answer any
process of their machine with its credentials, so their addresses are refused unless the operator allows them; what
Celadon itself listens on on this machine is never anybody's replica. An address is judged, never a name: resolve
first, judge, then connect to the very address that was judged. It is judged where it is used, each time, so that an
address which a setting forbids later is refused too.
"""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator

from celadon.domain.language.base_models import Record

Network: TypeAlias = IPv4Network | IPv6Network

METADATA_NETWORKS: Final[tuple[Network, ...]] = (
    IPv4Network("169.254.0.0/16"),  # link-local: AWS, Azure, Google Cloud, OpenStack and others at .169.254
    IPv6Network("fe80::/10"),  # link-local
    IPv6Network("fd00:ec2::/32"),  # AWS
    IPv6Network("fd20:ce::/32"),  # Google Cloud
    IPv6Network("fd00:c1::/32"),  # Oracle Cloud
    IPv4Network("100.100.100.200/32"),  # Alibaba Cloud
    IPv4Network("168.63.129.16/32"),  # Azure's own agent
    IPv4Network("192.0.0.192/32"),  # Oracle Cloud
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of a network's own (RFC 8215): which IPv4 address it means, nobody can tell
)
"""Where clouds answer with credentials of the machine, all that is link-local, and what may lead there unseen."""

_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as NAT64 writes them (RFC 6052)."""

_COMPATIBLE: Final = IPv6Network("::/96")
"""IPv4 addresses in an IPv6 spelling of old (RFC 4291, 2.5.5.1); ``::`` and ``::1`` are none."""

_FIRST_COMPATIBLE: Final = 0x1_0000


class Reach(Record):
    """What the operator of a Celadon says of addresses, and what Celadon must not be led to."""

    allowed_metadata: tuple[Network, ...] = ()
    """Link-local and metadata networks that may be connected to all the same."""
    allowed_endpoints: tuple[Network, ...] | None = None
    """The networks in which a revision's endpoints must be; any when not given."""
    own_ports: frozenset[int] = frozenset()
    """Ports of this machine on which Celadon's own parts listen."""

    def refuse(self, host: str, port: int | None) -> str:
        """Return why Celadon does not connect to an address; empty when it may.

        Args:
            host: an IP address, not a name; an IPv6 zone (``%eth0``) is left out of account.
            port: the TCP port, ``None`` when it is not known.

        """
        try:
            address = _as_reached(ip_address(host.partition("%")[0]))
        except ValueError:
            return f"{host} is no IP address: a name must be resolved before it is judged"
        if address.is_unspecified or address.is_multicast or address == _BROADCAST:
            return f"{host} is no address of one machine: write the address at which it is reached"
        if _is_within(address, METADATA_NETWORKS) and not _is_within(address, self.allowed_metadata):
            return (
                f"{host} is a link-local or cloud metadata address, which Celadon does not connect to; an operator may "
                "allow it with CELADON_ALLOWED_METADATA_NETWORKS"
            )
        if address.is_loopback and port in self.own_ports:
            return f"port {port} of this machine is one of Celadon's own: name the address of another server"
        return ""

    def refuse_endpoint(self, host: str, port: int) -> str:
        """Return why no replica may have an address that a revision names; empty when one may."""
        refusal = self.refuse(host, port)
        if refusal or self.allowed_endpoints is None:
            return refusal
        if _is_within(_as_reached(ip_address(host.partition("%")[0])), self.allowed_endpoints):
            return ""
        return (
            f"{host} is in none of the networks in which endpoints may be here; an operator may add one to "
            "CELADON_ALLOWED_ENDPOINTS"
        )


_BROADCAST: Final = IPv4Address("255.255.255.255")


def _as_reached(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, so that no other spelling gets round the rule."""
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED or (address in _COMPATIBLE and int(address) >= _FIRST_COMPATIBLE):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


def _is_within(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def parse_networks(value: object) -> object:
    """Read networks as settings write them: ``169.254.169.254/32, fe80::/10``; nothing else is touched.

    Raises:
        ValueError: one of them is no network.

    """
    if not isinstance(value, str):
        return value
    return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())


def parse_ports(value: object) -> object:
    """Read ports as settings write them: ``7233, 8080``; nothing else is touched.

    Raises:
        ValueError: one of them is no number.

    """
    if not isinstance(value, str):
        return value
    return frozenset(int(part) for part in value.split(",") if part.strip())


def own_ports(addresses: Collection[str]) -> frozenset[int]:
    """Return the ports of those ``host:port`` addresses that are of this machine, or of all of its interfaces."""
    ports: set[int] = set()
    for one in addresses:
        host, _, port = one.rpartition(":")
        if port.isascii() and port.isdigit() and _is_of_this_machine(host.strip("[]")):
            ports.add(int(port))
    return frozenset(ports)


def _is_of_this_machine(host: str) -> bool:
    if host in {"", "localhost"}:
        return True
    try:
        address = _as_reached(ip_address(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


Networks: TypeAlias = Annotated[tuple[Network, ...], BeforeValidator(parse_networks)]
"""A setting that holds networks."""

Ports: TypeAlias = Annotated[frozenset[int], BeforeValidator(parse_ports)]
"""A setting that holds TCP ports."""
