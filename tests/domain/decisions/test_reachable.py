"""Which addresses Celadon does not connect to."""

from ipaddress import ip_network

import pytest

from celadon.domain.decisions.reachable import Network, Reach, own_ports, parse_networks, parse_ports


def refuse_address(address: str, allowed: tuple[Network, ...] = ()) -> str:
    return Reach(allowed_metadata=allowed).refuse(address, 80)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:c1::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:00a9:fe00::",
        "::169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_metadata_addresses_are_refused_in_every_spelling(address: str) -> None:
    assert "CELADON_ALLOWED_METADATA_NETWORKS" in refuse_address(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "8.8.8.8", "2001:db8::1"]
)
def test_other_addresses_may_be_reached(address: str) -> None:
    assert refuse_address(address) == ""


def test_an_operator_may_allow_one_network() -> None:
    allowed = (ip_network("169.254.7.0/24"),)
    assert refuse_address("169.254.7.9", allowed) == ""
    assert refuse_address("::ffff:169.254.7.9", allowed) == ""
    assert refuse_address("169.254.169.254", allowed) != ""


@pytest.mark.parametrize("name", ["metadata.google.internal", "", "2852039166", "0xa9fea9fe"])
def test_what_is_no_address_is_never_judged_harmless(name: str) -> None:
    assert "no IP address" in refuse_address(name)


def test_networks_are_written_with_commas() -> None:
    assert parse_networks("169.254.7.0/24, fe80::/10,") == (ip_network("169.254.7.0/24"), ip_network("fe80::/10"))
    with pytest.raises(ValueError, match="host bits"):
        parse_networks("169.254.7.9/24")


OWN = Reach(own_ports=frozenset({7233, 9901}))

LOOPBACK = ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::")


@pytest.mark.parametrize("address", LOOPBACK)
def test_a_loopback_port_of_celadons_own_is_refused_in_every_spelling(address: str) -> None:
    assert "one of Celadon's own" in OWN.refuse(address, 9901)
    assert "one of Celadon's own" in OWN.refuse_endpoint(address, 7233)
    assert OWN.refuse_endpoint(address, 8000) == ""


def test_the_same_port_of_another_machine_is_not_celadons_own() -> None:
    assert OWN.refuse_endpoint("10.0.0.1", 9901) == ""


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "::", "::ffff:0.0.0.0", "64:ff9b::", "224.0.0.1", "ff02::1", "255.255.255.255"],  # noqa: S104
)
def test_what_is_no_address_of_one_machine_is_refused(address: str) -> None:
    assert "no address of one machine" in OWN.refuse(address, 8000)


def test_endpoints_are_within_the_networks_that_an_operator_names() -> None:
    named = Reach(allowed_endpoints=(ip_network("10.1.0.0/16"), ip_network("fd12::/16")))
    assert named.refuse_endpoint("10.1.2.3", 8000) == ""
    assert named.refuse_endpoint("::ffff:10.1.2.3", 8000) == ""
    assert named.refuse_endpoint("fd12::1", 8000) == ""
    for address in ("10.2.0.1", "127.0.0.1", "::1", "8.8.8.8"):
        assert "CELADON_ALLOWED_ENDPOINTS" in named.refuse_endpoint(address, 8000)
        assert named.refuse(address, 8000) == "", "the networks of endpoints say nothing of other connections"


def test_networks_of_endpoints_open_neither_metadata_nor_own_ports() -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    reach = OWN.model_copy(update={"allowed_endpoints": everything})
    assert "metadata" in reach.refuse_endpoint("169.254.169.254", 80)
    assert "one of Celadon's own" in reach.refuse_endpoint("127.0.0.1", 7233)


def test_no_network_at_all_allows_no_endpoint() -> None:
    assert "CELADON_ALLOWED_ENDPOINTS" in Reach(allowed_endpoints=()).refuse_endpoint("10.0.0.1", 8000)


def test_own_ports_are_those_of_this_machines_addresses() -> None:
    addresses = ("127.0.0.1:1", "0.0.0.0:2", "[::]:3", "localhost:4", "[::1]:5", ":6", "10.0.0.1:7", "temporal:8", "x")
    assert own_ports(addresses) == {1, 2, 3, 4, 5, 6}


def test_ports_are_written_with_commas() -> None:
    assert parse_ports("7233, 9901,") == {7233, 9901}
