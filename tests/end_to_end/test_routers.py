"""Several routers and gateways under load: one cut off, forgotten or refusing; gateways killed; no router at all."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.domain.language.commands import AbortCommand, PromoteCommand, PromoteState
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.gateway.addresses import UnixAddress
from celadon.gateway.routing import LIVE, PREVIEW
from celadon.stack.addresses import StackAddresses
from celadon.table.core.engine import Table
from celadon.table.core.epoch import raise_epoch
from celadon.table.read.router_list import list_routers
from celadon.table.records.routers import RouterLine, RouterState
from tests.end_to_end.conftest import LiveDeployment, replica_processes, run_json, until
from tests.end_to_end.ledger_server import ledger_revision
from tests.end_to_end.long_request import running_request
from tests.end_to_end.numbered_load import NumberedLoad, under_numbered_load
from tests.gateway.conftest import free_port, free_socket
from tests.gateway.router import running_router
from tests.gateway.traffic import loopback
from tests.stack.socket_proxy import SocketProxy
from tests.stack.stack_process import stack_process

pytestmark = pytest.mark.stack

EDGE = "edge"
ALL = (EDGE, "local", "local-2")
PER_SECOND = 60.0
ACK_TIMEOUT = "8s"
"""A promotion waits so long for a router that is silent, and longer than the others take on a busy machine."""
DRAIN_SECONDS = 5
DRAIN_TIMEOUT = f"{DRAIN_SECONDS}s"


@dataclass
class Fleet:
    """A stack with two gateways and a router of each, and a third router beyond a network that tests hold up."""

    addresses: StackAddresses
    temporal: Client
    table: Table
    network: SocketProxy
    directory: Path
    live: int = field(default_factory=free_port)
    preview: int = field(default_factory=free_port)
    edge_pid: int = 0
    _edge: AsyncExitStack = field(default_factory=AsyncExitStack)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def deployment(self) -> LiveDeployment:
        """Return a deployment of its own that does not exist yet."""
        return LiveDeployment(f"fleet{next(self._numbers)}", self.addresses, self.temporal, self.table)

    def urls(self, deployment: LiveDeployment) -> list[str]:
        """Return where each router serves a deployment."""
        bases = [*(router.live for router in self.addresses.routers), f"http://127.0.0.1:{self.live}"]
        return [f"{base}/{deployment.name}/work" for base in bases]

    async def start_edge(self) -> None:
        """Enrol and start the third router."""
        command = ("celadon", "router", "enrol", EDGE, "--gateway", f"unix:{self.network.path}", "-o", "json")
        await run_json(self.addresses, *command, "--to", str(self.directory / "enrolled"))
        edge = await self._edge.enter_async_context(
            running_router(
                self.directory,
                UnixAddress(path=self.network.path),
                self.live,
                self.preview,
                EDGE,
                {LIVE: loopback(self.live), PREVIEW: loopback(self.preview)},
            ),
        )
        self.edge_pid = edge.process.pid
        await until(lambda: self.has(EDGE, RouterState.LIVE, RouterState.NEW), "the third router is there")

    async def end_edge(self) -> None:
        """Kill the third router."""
        await self._edge.aclose()

    async def lines(self) -> dict[str, RouterLine]:
        """Return the routers by name."""
        async with self.table.transaction() as tx:
            return {line.router: line for line in (await list_routers(tx)).routers}

    async def has(self, node: str, *states: RouterState) -> bool:
        """Whether a router is in one of some states."""
        line = (await self.lines()).get(node)
        return line is not None and line.state in states


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(reachable_directory: Path) -> AsyncIterator[Fleet]:
    """Run the fleet for all tests of this module; whoever breaks the network mends it."""
    data_dir = reachable_directory / "fleet"
    data_dir.mkdir(mode=0o711)
    async with stack_process(data_dir, gateways=2, routers=2) as process:
        addresses = await process.until_ready()
        temporal = await Client.connect(addresses.temporal_address, data_converter=pydantic_data_converter)
        async with (
            Table(addresses.database_url, "celadon-tests", pool_size=2) as table,
            SocketProxy(free_socket().path, socket_of(addresses.gateways[1])) as network,
        ):
            made = Fleet(addresses, temporal, table, network, reachable_directory)
            try:
                await made.start_edge()
                yield made
            finally:
                network.flow()
                await made.end_edge()
        assert await process.stop() == 0, await process.errors()


@asynccontextmanager
async def switched_with_edge_cut_off(
    fleet: Fleet,
    directory: Path,
    **policy: object,
) -> AsyncIterator[tuple[LiveDeployment, NumberedLoad]]:
    """Switch a deployment under load through every router while the third one hears of nothing."""
    deployment = fleet.deployment()
    await deployment.serve("r1", revision=ledger_revision(directory, "r1"))
    await until(lambda: serves_all(fleet, deployment), "all routers serve blue")
    async with under_numbered_load(fleet.urls(deployment), per_second=PER_SECOND) as load:
        fleet.network.hold()
        try:
            green = ledger_revision(directory, "r2")
            await deployment.wait_for_promotion("r2", revision=green, router_ack_timeout=ACK_TIMEOUT, **policy)
            answer = await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
            assert (answer.state, answer.acknowledged_by, answer.silent) == (
                PromoteState.SWITCHED,
                ("local", "local-2"),
                (EDGE,),
            )
            yield deployment, load
        finally:
            fleet.network.flow()
    assert load.failed == []


def socket_of(gateway: str) -> Path:
    """Return the socket of a gateway, by its address or by its name in the table."""
    return Path(gateway.rpartition("unix:")[2])


async def serves_all(fleet: Fleet, deployment: LiveDeployment) -> bool:
    """Whether every router that counts serves the present epoch of a deployment."""
    lines = (await fleet.lines()).values()
    return not any(behind.deployment == deployment.name for line in lines for behind in line.behind)


async def blue_is_whole(deployment: LiveDeployment, blue: set[str]) -> bool:
    """Whether all replicas of blue run."""
    unfinished = await deployment.unfinished_routes()
    return blue <= unfinished.keys() and all(replica_processes(route) for route in blue)


async def colours(load: NumberedLoad, fleet: Fleet) -> tuple[set[str], set[str]]:
    """Return which revisions answer from now on: through the third router, and through the others."""
    began = time.monotonic()

    async def enough() -> bool:
        return sum(one.at >= began for one in load.sent) >= 60

    # What was sent before may be answered late.
    await until(enough, "some more requests are answered")
    newest = [one for one in load.sent if one.at >= began]
    edge = f":{fleet.live}/"
    through_edge = {one.answer for one in newest if edge in one.url}
    return through_edge, {one.answer for one in newest if edge not in one.url}


async def sent(load: NumberedLoad, number: int) -> bool:
    """Whether so many requests have been sent and answered."""
    return len(load.sent) >= number


async def test_every_router_of_both_gateways_acknowledges(fleet: Fleet, tmp_path: Path) -> None:
    deployment = fleet.deployment()
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))

    async with under_numbered_load(fleet.urls(deployment), per_second=PER_SECOND) as load:
        await deployment.wait_for_promotion("r2", revision=ledger_revision(tmp_path, "r2"), bake="0s")
        answer = await deployment.rollouts.promote(deployment.name, PromoteCommand())
        ended = await deployment.ended()
        assert await colours(load, fleet) == ({"r2"}, {"r2"})

    assert (answer.acknowledged_by, answer.silent) == (ALL, ())
    assert {name: socket_of(line.gateway) for name, line in (await fleet.lines()).items()} == {
        "local": socket_of(fleet.addresses.gateways[0]),
        "local-2": socket_of(fleet.addresses.gateways[1]),
        EDGE: socket_of(fleet.addresses.gateways[1]),
    }
    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.PROMOTED, 0)
    assert load.failed == []


async def test_blue_is_kept_for_a_router_that_is_cut_off_until_it_returns(fleet: Fleet, tmp_path: Path) -> None:
    async with switched_with_edge_cut_off(fleet, tmp_path, bake="0s", drain_timeout=DRAIN_TIMEOUT) as (
        deployment,
        load,
    ):
        blue = await blue_routes(deployment)
        await until(lambda: holds(deployment), "the rollout waits for the silent router")

        assert await colours(load, fleet) == ({"r1"}, {"r2"})
        assert len(blue) == 2
        longer_than_a_drain = len(load.sent) + round(2 * DRAIN_SECONDS * PER_SECOND)
        await until(lambda: sent(load, longer_than_a_drain), "blue outlives what a drain may last")
        assert await blue_is_whole(deployment, blue)
        status = await deployment.rollouts.status(deployment.name)
        assert (status.phase, status.silent_routers) == (RolloutPhase.BAKING, (EDGE,))

        fleet.network.flow()
        ended = await deployment.ended()
        assert await colours(load, fleet) == ({"r2"}, {"r2"})

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.PROMOTED, 0)
    await deployment.until_only_live_is_left()


async def test_an_abort_goes_back_although_a_router_is_cut_off(fleet: Fleet, tmp_path: Path) -> None:
    async with switched_with_edge_cut_off(fleet, tmp_path, bake="0s", drain_timeout=DRAIN_TIMEOUT) as (
        deployment,
        load,
    ):
        await until(lambda: holds(deployment), "the rollout waits for the silent router")

        answer = await deployment.rollouts.abort(deployment.name, AbortCommand(by="ann", reason="wrong answers"))
        assert (answer.outcome, answer.silent) == (RolloutOutcome.ROLLED_BACK, (EDGE,))
        assert await colours(load, fleet) == ({"r1"}, {"r1"})
        assert (await deployment.rollouts.status(deployment.name)).phase is RolloutPhase.ROLLING_BACK

        fleet.network.flow()
        ended = await deployment.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ROLLED_BACK
    await deployment.until_only_live_is_left()


async def test_a_rollout_goes_on_when_a_router_that_was_scaled_in_is_forgotten(fleet: Fleet, tmp_path: Path) -> None:
    deployment = fleet.deployment()
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    await until(lambda: serves_all(fleet, deployment), "all routers serve blue")
    others = fleet.urls(deployment)[:2]
    async with under_numbered_load(others, per_second=PER_SECOND) as load:
        await fleet.end_edge()
        await until(lambda: fleet.has(EDGE, RouterState.CUT_OFF), "the end of the stream is written down")
        green = ledger_revision(tmp_path, "r2")
        await deployment.wait_for_promotion("r2", revision=green, router_ack_timeout=ACK_TIMEOUT, bake="0s")
        answer = await deployment.rollouts.promote(deployment.name, PromoteCommand())
        assert answer.silent == (EDGE,)
        await until(lambda: holds(deployment), "the rollout waits for the router that has ended")

        command = ("celadon", "router", "forget", EDGE, "--by", "ann", "--reason", "scaled in", "-o", "json")
        forgotten = await run_json(fleet.addresses, *command)
        ended = await deployment.ended()

    assert (forgotten["router"], forgotten["was"]) == (EDGE, "cut_off")
    assert deployment.name in forgotten["deployments"]
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert load.failed == []
    await fleet.start_edge()
    await until(lambda: serves_all(fleet, deployment), "the router that came back serves green")
    await until(lambda: fleet.has(EDGE, RouterState.LIVE), "the router that came back counts")


async def test_routers_that_refuse_what_they_are_told_count_as_silent(fleet: Fleet, tmp_path: Path) -> None:
    deployment = fleet.deployment()
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    async with under_numbered_load(fleet.urls(deployment), per_second=PER_SECOND) as load:
        green = ledger_revision(tmp_path, "r2")
        await deployment.wait_for_promotion("r2", revision=green, router_ack_timeout="1s", bake="0s")
        await move_green(deployment, "not-an-ip-address")
        await until(lambda: refusing(fleet, *ALL), "the routers have refused it")
        answer = await deployment.rollouts.promote(deployment.name, PromoteCommand())
        assert (answer.state, answer.acknowledged_by, answer.silent) == (PromoteState.SWITCHED, (), ALL)
        await until(lambda: holds(deployment), "the rollout waits for the routers that refuse")
        assert await colours(load, fleet) == ({"r1"}, {"r1"})
        listed = await run_json(fleet.addresses, "celadon", "router", "list", "-o", "json")
        assert all("not-an-ip-address" in one["nack"] for one in listed["routers"])

        await move_green(deployment, "127.0.0.1")
        ended = await deployment.ended()
        assert await colours(load, fleet) == ({"r2"}, {"r2"})

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert load.failed == []
    assert not any(line.nack for line in (await fleet.lines()).values())


async def test_blue_drains_by_what_runs_on_every_router_and_what_outlasts_the_deadline_is_counted_as_cut(
    fleet: Fleet,
    tmp_path: Path,
) -> None:
    deployment = fleet.deployment()
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    await until(lambda: serves_all(fleet, deployment), "all routers serve blue")
    async with AsyncExitStack() as requests:
        for url in fleet.urls(deployment):
            await requests.enter_async_context(running_request(url, tmp_path))
        green = ledger_revision(tmp_path, "r2")
        await deployment.wait_for_promotion("r2", revision=green, bake="0s", drain_timeout="15s")
        await deployment.rollouts.promote(deployment.name, PromoteCommand())

        async def all_counted() -> bool:
            status = await run_json(fleet.addresses, "celadon", "rollout", "status", deployment.name, "-o", "json")
            draining = [one for one in status["deployment"]["sets"] if one["state"] == "draining"]
            return [{one["router"]: one["running"] for one in found["load"]} for found in draining] == [
                dict.fromkeys(ALL, 1),
            ]

        await until(all_counted, "each router has told of its request")
        ended = await deployment.ended()

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.PROMOTED, len(ALL))


async def test_gateways_that_are_killed_under_load_lose_no_request_and_no_epoch(fleet: Fleet, tmp_path: Path) -> None:
    deployment = fleet.deployment()
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    epochs: list[dict[str, int]] = []

    async def watch_epochs() -> None:
        while True:
            async with fleet.table.transaction() as tx:
                rows = await tx.execute(
                    text("select router, epoch from router_acks where deployment = :name"),
                    {"name": deployment.name},
                )
                epochs.append({row.router: row.epoch for row in rows})
            await asyncio.sleep(0.02)

    async with under_numbered_load(fleet.urls(deployment), per_second=PER_SECOND) as load:
        watching = asyncio.create_task(watch_epochs())
        await deployment.wait_for_promotion("r2", revision=ledger_revision(tmp_path, "r2"))
        for name in ("gateway", "gateway-2"):
            pid = StackAddresses.of_running(fleet.addresses.data_dir).children[name]
            os.kill(pid, signal.SIGKILL)
        answer = await deployment.rollouts.promote(deployment.name, PromoteCommand())
        assert await colours(load, fleet) == ({"r2"}, {"r2"})
        back = await deployment.rollouts.rollback(deployment.name, AbortCommand())
        assert await colours(load, fleet) == ({"r1"}, {"r1"})
        watching.cancel()
        await deployment.ended()

    assert (answer.acknowledged_by, answer.silent) == (ALL, ())
    assert (back.acknowledged_by, back.silent) == (ALL, ())
    assert load.failed == []
    assert all(
        later.get(router, 0) >= epoch
        for earlier, later in itertools.pairwise(epochs)
        for router, epoch in earlier.items()
    )


async def test_without_a_router_a_promotion_answers_and_blue_is_kept_for_its_time(reachable_directory: Path) -> None:
    data_dir = reachable_directory / "no-router"
    data_dir.mkdir(mode=0o711)
    async with stack_process(data_dir, routers=0) as process:
        addresses = await process.until_ready()
        temporal = await Client.connect(addresses.temporal_address, data_converter=pydantic_data_converter)
        async with Table(addresses.database_url, "celadon-tests", pool_size=2) as table:
            deployment = LiveDeployment("unreached", addresses, temporal, table)
            await deployment.serve("r1", replicas=1)
            await deployment.wait_for_promotion(
                "r2", replicas=1, bake="0s", drain_timeout="1s", router_ack_timeout="2s"
            )
            answer = await deployment.rollouts.promote(deployment.name, PromoteCommand())
            ended = await deployment.ended()
            async with table.transaction() as tx:
                kept = await tx.scalar(
                    text(
                        "select extract(epoch from min(routes.ended_at) - min(route_sets.drain_since)) "
                        "from routes join route_sets on route_sets.id = routes.set_id where route_sets.state = 'gone'",
                    ),
                )

        assert (answer.state, answer.acknowledged_by, answer.silent) == (PromoteState.SWITCHED, (), ())
        assert ended.result is not None
        assert ended.result.outcome is RolloutOutcome.PROMOTED
        assert kept is not None
        assert kept >= 3


async def blue_routes(deployment: LiveDeployment) -> set[str]:
    """Return the unfinished replicas of the set that is not live."""
    async with deployment.table.transaction() as tx:
        rows = await tx.scalars(
            text(
                "select routes.id from routes join route_sets on route_sets.id = routes.set_id "
                "join deployments on deployments.name = route_sets.deployment "
                "where deployments.name = :name and route_sets.id <> deployments.live_set and routes.ended_at is null",
            ),
            {"name": deployment.name},
        )
        return {str(route) for route in rows}


async def holds(deployment: LiveDeployment) -> bool:
    """Whether a rollout waits until silent routers have caught up."""
    async with deployment.table.transaction() as tx:
        query = "select awaits_epoch from rollouts where deployment = :name and outcome is null"
        return await tx.scalar(text(query), {"name": deployment.name}) is not None


async def move_green(deployment: LiveDeployment, host: str) -> None:
    """Write another host for a deployment's newest set, which its routers refuse when it is no address."""
    async with deployment.table.transaction() as tx:
        await tx.execute(
            text(
                "update routes set host = :host "
                "where set_id = (select max(id) from route_sets where deployment = :name) and ended_at is null",
            ),
            {"host": host, "name": deployment.name},
        )
        await raise_epoch(tx, deployment.name)


async def refusing(fleet: Fleet, *nodes: str) -> bool:
    """Whether routers refuse what they were told."""
    lines = await fleet.lines()
    return all(lines[node].nack for node in nodes)
