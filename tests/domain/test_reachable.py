"""Which addresses Celadon does not connect to."""

from ipaddress import ip_network

import pytest

from celadon.domain.reachable import parse_networks, refuse_address


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
