"""Envoy from its package."""

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest

from celadon.stack.errors import ChildFailedError
from celadon.stack.ports import choose_ports
from celadon.stack.router import running_envoy


def administration_on(port: int) -> str:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return json.dumps({"admin": {"address": address}})


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a URL of our own
        return str(answer.read().decode())


async def test_is_ready_when_it_serves(tmp_path: Path) -> None:
    port = choose_ports(["admin"], {})["admin"]
    async with running_envoy(tmp_path, administration_on(port), port) as admin:
        assert "LIVE" in await asyncio.to_thread(read, f"{admin}/ready")


async def test_a_bootstrap_that_it_refuses_is_shown_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match="router ended before it was ready") as failure:
        async with running_envoy(tmp_path, '{"nonsense": 1}', 1):
            pass
    assert any("nonsense" in line for line in failure.value.last_lines)
