"""Ports of replicas."""

import socket

from celadon.provisioners.ports import FIRST_PORT, LAST_PORT, choose_free, is_free
from celadon.provisioners.protocol import Address


def test_a_chosen_port_is_free_and_below_those_of_outgoing_connections() -> None:
    address = choose_free("127.0.0.1", frozenset())
    assert address is not None
    assert FIRST_PORT <= address.port <= LAST_PORT
    assert is_free(address)


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not is_free(Address("127.0.0.1", listener.getsockname()[1]))


def test_addresses_that_are_given_out_are_not_chosen() -> None:
    everything = frozenset(Address("127.0.0.1", port) for port in range(FIRST_PORT, LAST_PORT + 1))
    assert choose_free("127.0.0.1", everything) is None
