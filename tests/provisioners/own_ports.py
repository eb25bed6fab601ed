"""Ports of replicas that no other process of the same test run chooses."""

import os

import pytest

from celadon.provisioners import ports


def choose_own_ports(patch: pytest.MonkeyPatch) -> None:
    """Let this process choose among its share of the ports, where tests run in several processes at once.

    A chosen port is free until its replica listens, so that two processes can choose the same; which is rare, and
    nothing that a test of replicas could tell from a fault of the replica.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    share = (ports.LAST_PORT - ports.FIRST_PORT + 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = ports.FIRST_PORT + share * int(worker.removeprefix("gw"))
    patch.setattr(ports, "FIRST_PORT", first)
    patch.setattr(ports, "LAST_PORT", first + share - 1)
