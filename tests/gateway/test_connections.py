"""Closing the connection of a peer by the name that gRPC has for it."""

import socket
from contextlib import closing

import pytest

from celadon.gateway.connections import close_connection


@pytest.mark.parametrize(
    ("family", "host", "name"),
    [
        (socket.AF_INET, "127.0.0.1", "ipv4:127.0.0.1:{}"),
        (socket.AF_INET6, "::1", "ipv6:%5B::1%5D:{}"),
        (socket.AF_INET6, "::1", "ipv6:[::1]:{}"),
        (socket.AF_INET6, "::ffff:127.0.0.1", "ipv4:127.0.0.1:{}"),
    ],
)
def test_only_the_connection_with_that_peer_is_closed(family: socket.AddressFamily, host: str, name: str) -> None:
    with closing(socket.socket(family)) as server:
        server.bind((host, 0))
        server.listen()
        clients = [socket.create_connection(server.getsockname()[:2]) for _ in range(2)]
        accepted = [server.accept()[0] for _ in clients]
        try:
            first, second = clients
            assert close_connection(name.format(first.getsockname()[1]))

            assert first.recv(1) == b""
            accepted[1].send(b"x")
            assert second.recv(1) == b"x"
        finally:
            for one in (*clients, *accepted):
                one.close()


@pytest.mark.parametrize("peer", ["unix:", "unix:/run/a.sock", "", "ipv4:127.0.0.1:1"])
def test_what_names_no_connection_closes_none(peer: str) -> None:
    assert not close_connection(peer)
