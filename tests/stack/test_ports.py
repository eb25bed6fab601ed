"""Ports of a stack."""

import socket
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from celadon.provisioners.ports import FIRST_PORT
from celadon.stack.ports import choose_ports, is_free


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_port_that_somebody_shares_out_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as server:
        assert not is_free(server.getsockname()[1])


def test_a_remembered_port_is_kept_while_it_is_free() -> None:
    first = choose_ports(["router", "gateway"], {})
    assert choose_ports(["router", "gateway"], first) == first


def test_a_remembered_port_that_somebody_took_is_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert choose_ports(["router"], {"router": taken})["router"] != taken


@settings(max_examples=20)
@given(st.sets(st.text(min_size=1), min_size=1, max_size=20))
def test_every_name_has_a_port_of_its_own(names: set[str]) -> None:
    assert len(set(choose_ports(names, {}).values())) == len(names)


def test_two_names_that_remember_the_same_port_do_not_share_it() -> None:
    port = choose_ports(["router"], {})["router"]
    chosen = choose_ports(["router", "gateway"], {"router": port, "gateway": port})
    assert chosen["router"] == port
    assert chosen["gateway"] != port


def test_what_one_process_has_chosen_no_other_chooses() -> None:
    mine = choose_ports(["router"], {})
    code = f"from celadon.stack.ports import choose_ports; print(choose_ports(['router'], {mine})['router'])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) != mine["router"]


def test_a_process_that_ended_holds_no_port() -> None:
    code = "from celadon.stack.ports import choose_ports; print(choose_ports(['router'], {})['router'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    remembered = {"router": int(ended.stdout)}
    assert choose_ports(["router"], remembered) == remembered


def test_ports_of_a_stack_are_never_those_of_replicas() -> None:
    names = [str(number) for number in range(200)]
    assert max(choose_ports(names, {}).values()) < FIRST_PORT
