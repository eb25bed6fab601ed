"""Envoy's bootstrap."""

import asyncio
import json
from pathlib import Path

import pytest

from celadon.domain.names import RouterNode
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.bootstrap import bootstrap
from celadon.stack.programs import envoy_program
from tests.gateway.traffic import loopback


@pytest.mark.parametrize("gateway", ["127.0.0.1:18000", "[::1]:18000", "gateway.example:18000"])
async def test_envoy_accepts_the_bootstrap(tmp_path: Path, gateway: str) -> None:
    made = bootstrap(RouterNode("router"), SocketAddress.model_validate(gateway), loopback(9901))
    configuration = tmp_path / "envoy.json"
    configuration.write_text(json.dumps(made))
    process = await asyncio.create_subprocess_exec(
        str(envoy_program()),
        *("--mode", "validate", "-c", str(configuration)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=20)
    assert process.returncode == 0, output.decode()


def test_the_router_listens_only_where_it_is_told() -> None:
    made = json.dumps(bootstrap(RouterNode("router"), loopback(18000), loopback(9901)))
    assert "0.0.0.0" not in made  # noqa: S104 - it must not be there
