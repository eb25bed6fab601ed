"""Envoy's bootstrap."""

import asyncio
import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from celadon.domain.names import RouterNode
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.bootstrap import bootstrap
from celadon.gateway.discovery import parse_request
from celadon.gateway.protobuf import message_class, serialise
from celadon.gateway.routing import LIVE, PREVIEW
from celadon.stack.programs import envoy_program
from tests.gateway.router import DEADLINE_SECONDS
from tests.gateway.traffic import loopback, routing


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
    output, _ = await asyncio.wait_for(process.communicate(), timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, output.decode()


def test_the_router_listens_only_where_it_is_told() -> None:
    made = json.dumps(bootstrap(RouterNode("router"), loopback(18000), loopback(9901)))
    assert "0.0.0.0" not in made  # noqa: S104 - it must not be there


def test_a_router_tells_the_gateway_where_it_listens_instead() -> None:
    made = bootstrap(RouterNode("router"), loopback(18000), loopback(9901), {LIVE: loopback(8003)})
    node = json_format.Parse(json.dumps(made["node"]), message_class("envoy.config.core.v3.Node")())
    wire = serialise("envoy.service.discovery.v3.DeltaDiscoveryRequest", {"node": node})

    assert parse_request(wire).listens == {LIVE: loopback(8003)}


def test_a_router_that_listens_elsewhere_is_told_its_own_address_and_no_other_router_is() -> None:
    everywhere = routing(live=8000, preview=8001)

    own = everywhere.listeners_at({LIVE: loopback(8003)})

    assert b"\xc3\x3e" not in everywhere.listeners[LIVE].wire
    assert b"\xc3\x3e" in own[LIVE].wire  # 8003 as a varint
    assert own[PREVIEW] == everywhere.listeners[PREVIEW]
