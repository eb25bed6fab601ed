"""The addresses of a node's pods."""

import ipaddress

import pytest

from tests.cluster.kubelet.addresses import Addresses, NoAddressLeftError


def test_no_two_pods_have_one_address() -> None:
    addresses = Addresses("127.20", 600)

    taken = [addresses.take() for _ in range(600)]

    assert len(set(taken)) == len(taken)
    assert {str(ipaddress.IPv4Address(address)).rpartition(".")[2] for address in taken}.isdisjoint({"0", "255"})


def test_an_address_is_given_again_after_all_others() -> None:
    addresses = Addresses("127.20", 3)
    first = addresses.take()
    addresses.give_back(first)

    assert [addresses.take(), addresses.take(), addresses.take()] == ["127.20.1.2", "127.20.1.3", first]


def test_more_pods_than_addresses_are_refused() -> None:
    addresses = Addresses("127.20", 1)
    addresses.take()

    with pytest.raises(NoAddressLeftError):
        addresses.take()
