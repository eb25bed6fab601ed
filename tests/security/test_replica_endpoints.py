"""A revision names an address that is none of a replica's: nobody connects to it and no router is told of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.domain.decisions.publication import Publication
from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.states import RouteStatus
from celadon.gateway.feed import PublicationFeed
from celadon.gateway.metrics import GatewayMetrics
from celadon.reach_settings import ReachSettings
from celadon.stack.children import gateway_spec, worker_spec
from celadon.stack.layout import DataDirectory
from celadon.stack.settings import StackSettings
from celadon.table.core.engine import Table
from tests.keeper.conftest import chat, state_dir  # noqa: F401 - fixtures
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper


@dataclass
class Server:
    """A server of this machine, and how many have connected to it."""

    port: int
    connections: int = 0


@pytest_asyncio.fixture(loop_scope="session")
async def listening() -> AsyncIterator[Server]:
    """Run a server that stands for one of the stack's own, such as an administrator's interface."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    found = Server(server.sockets[0].getsockname()[1])
    async with server:
        yield found


def static(*endpoints: str) -> dict[str, object]:
    return {"provisioner": "static", "endpoints": list(endpoints), "health_check": {"tcp": True}}


async def published(table: Table, reach: Reach) -> Publication:
    """Return what a gateway that has just started tells routers."""
    feed = PublicationFeed(table, GatewayMetrics(), "gateway", reach)
    [publication] = await feed.load()
    return publication


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "[::ffff:0:0]"])  # noqa: S104
async def test_one_of_celadons_own_ports_becomes_no_replica(
    table: Table,
    state_dir: Path,  # noqa: F811
    chat: Deploying,  # noqa: F811
    listening: Server,
    host: str,
) -> None:
    reach = Reach(own_ports=frozenset({listening.port}))
    async with running_keeper(table, state_dir, Rollouts(), reach=reach):
        await chat.open(static(f"{host}:{listening.port}"), max_replacements=0)
        [ended] = await chat.ended(1)
    assert ended.status is RouteStatus.FAILED_TO_START
    assert "Celadon's own" in ended.last_error or "no address of one machine" in ended.last_error
    assert listening.connections == 0


async def test_an_endpoint_at_another_port_of_this_machine_serves(
    table: Table,
    state_dir: Path,  # noqa: F811
    chat: Deploying,  # noqa: F811
    listening: Server,
) -> None:
    reach = Reach(own_ports=frozenset({listening.port + 1}))
    async with running_keeper(table, state_dir, Rollouts(), reach=reach):
        await chat.open(static(f"127.0.0.1:{listening.port}"))
        await chat.healthy(1)
    assert [one.port for one in (await published(table, reach)).preview] == [listening.port]


async def test_an_endpoint_that_is_forbidden_later_is_taken_out_by_the_next_keeper(
    table: Table,
    state_dir: Path,  # noqa: F811
    chat: Deploying,  # noqa: F811
    listening: Server,
) -> None:
    async with running_keeper(table, state_dir, Rollouts()):
        await chat.open(static(f"127.0.0.1:{listening.port}"), max_replacements=0)
        await chat.healthy(1)
    asked = listening.connections
    only = Reach(allowed_endpoints=(ip_network("10.0.0.0/8"),))
    async with running_keeper(table, state_dir, Rollouts(), reach=only, holder="next"):
        [ended] = await chat.ended(1)
    assert "CELADON_ALLOWED_ENDPOINTS" in ended.last_error
    assert listening.connections == asked


@pytest.mark.parametrize(
    "reach_of",
    [
        lambda port: Reach(own_ports=frozenset({port})),
        lambda _: Reach(allowed_endpoints=(ip_network("10.0.0.0/8"),)),
    ],
    ids=["own port", "other network"],
)
async def test_a_gateway_publishes_no_forbidden_endpoint_although_the_table_says_it_runs(
    table: Table,
    state_dir: Path,  # noqa: F811
    chat: Deploying,  # noqa: F811
    listening: Server,
    reach_of: Callable[[int], Reach],
) -> None:
    async with running_keeper(table, state_dir, Rollouts()):
        await chat.make_live(static(f"127.0.0.1:{listening.port}"))
    assert [one.port for one in (await published(table, Reach())).endpoints] == [listening.port]
    refused = await published(table, reach_of(listening.port))
    assert (refused.endpoints, refused.preview) == ((), ())


def test_worker_and_gateway_of_a_stack_know_all_of_its_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StackSettings.load(tmp_path / "settings.json", workers=2, gateways=2, routers=2)
    directory = DataDirectory(tmp_path)
    for spec in (worker_spec("x", settings, directory, tmp_path, 2), gateway_spec("x", settings, directory, 2)):
        monkeypatch.setenv("CELADON_OWN_PORTS", spec.environment["CELADON_OWN_PORTS"])
        assert ReachSettings().reach.own_ports >= set(settings.ports.values())


def test_addresses_of_the_environment_are_celadons_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:7233")
    monkeypatch.setenv("CELADON_GATEWAY_ADDRESS", "0.0.0.0:18000")
    monkeypatch.setenv("CELADON_API_ADDRESS", "10.0.0.1:18080")
    assert ReachSettings().reach.own_ports == {7233, 18000}


def test_networks_of_endpoints_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ReachSettings().reach.allowed_endpoints is None
    monkeypatch.setenv("CELADON_ALLOWED_ENDPOINTS", "10.0.0.0/8, fd12::/16")
    assert ReachSettings().reach.allowed_endpoints == (ip_network("10.0.0.0/8"), ip_network("fd12::/16"))
