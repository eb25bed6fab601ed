"""Envoy's bootstrap."""

import asyncio
import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from pydantic import TypeAdapter

from celadon.domain.language.names import RouterNode
from celadon.gateway.addresses import GatewayAddress, UnixAddress, parse_gateway_address
from celadon.gateway.authority import CertificateAuthority
from celadon.gateway.bootstrap import bootstrap
from celadon.gateway.discovery import parse_request
from celadon.gateway.enrolling import RouterFiles
from celadon.gateway.own_listeners import OwnListeners
from celadon.gateway.protobuf import message_class, serialise
from celadon.gateway.routing import LIVE, PREVIEW
from celadon.stack.programs import envoy_program
from tests.gateway.router import DEADLINE_SECONDS
from tests.gateway.traffic import loopback, routing

ADMIN = Path("/run/celadon/admin.sock")
ON_SOCKET = [UnixAddress(path=Path("/run/celadon/gateway.sock"))]


@pytest.mark.parametrize("gateway", ["127.0.0.1:18000", "[::1]:18000", "gateway.example:18000", str(ON_SOCKET[0])])
async def test_envoy_accepts_the_bootstrap(tmp_path: Path, gateway: str) -> None:
    issued = (
        None
        if gateway.startswith("unix:")
        else CertificateAuthority.of_directory(tmp_path / "ca").issue_router("router")
    )
    address = TypeAdapter[GatewayAddress](GatewayAddress).validate_python(parse_gateway_address(gateway))
    files = RouterFiles(RouterNode("router"), tmp_path / "files", [address], ADMIN, gateway_identities=("a.example",))
    files.write(issued)
    configuration = files.bootstrap
    process = await asyncio.create_subprocess_exec(
        str(envoy_program()),
        *("--mode", "validate", "-c", str(configuration)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, output.decode()


def test_the_router_listens_only_where_it_is_told() -> None:
    made = json.dumps(bootstrap(RouterNode("router"), ON_SOCKET, ADMIN))
    assert "0.0.0.0" not in made  # noqa: S104 - it must not be there


def test_the_admin_interface_is_a_socket_for_its_user_alone() -> None:
    made = bootstrap(RouterNode("router"), ON_SOCKET, ADMIN)

    assert made["admin"] == {
        "address": {"pipe": {"path": str(ADMIN), "mode": 0o600}},
        "ignore_global_conn_limit": True,
    }


@pytest.mark.parametrize(
    ("gateways", "admin", "why"),
    [
        ([loopback(18000)], ADMIN, "with a certificate alone"),
        ([loopback(18000), *ON_SOCKET], ADMIN, "all on Unix sockets, or all on TCP"),
        (ON_SOCKET, Path("admin.sock"), "from the root on"),
        (ON_SOCKET, Path("/") / ("x" * 120), "has 121 bytes"),
    ],
)
def test_what_could_not_work_or_would_be_open_is_refused(
    gateways: list[GatewayAddress],
    admin: Path,
    why: str,
) -> None:
    with pytest.raises(ValueError, match=why):
        bootstrap(RouterNode("router"), gateways, admin)


def test_a_router_tells_the_gateway_where_it_listens_instead() -> None:
    made = bootstrap(RouterNode("router"), ON_SOCKET, ADMIN, OwnListeners({LIVE: loopback(8003)}))
    node = json_format.Parse(json.dumps(made["node"]), message_class("envoy.config.core.v3.Node")())
    wire = serialise("envoy.service.discovery.v3.DeltaDiscoveryRequest", {"node": node})

    assert parse_request(wire).own == OwnListeners({LIVE: loopback(8003)})


def test_a_router_that_listens_elsewhere_is_told_its_own_address_and_no_other_router_is() -> None:
    everywhere = routing(live=8000, preview=8001)

    own = everywhere.listeners_with(OwnListeners({LIVE: loopback(8003)}))

    assert b"\xc3\x3e" not in everywhere.listeners[LIVE].wire
    assert b"\xc3\x3e" in own[LIVE].wire  # 8003 as a varint
    assert own[PREVIEW] == everywhere.listeners[PREVIEW]
