"""What routers must be told, as the table holds it."""

import uuid

import pytest

from celadon.domain.decisions.publication import DeploymentTraffic, Publication, SetRole, publish
from celadon.domain.language.names import RouteId
from celadon.domain.language.ports import STREAMS
from celadon.domain.language.states import RolloutOutcome, RouteHealthStatus
from celadon.table.replicas.routes import add_route, route_running
from celadon.table.routers.traffic import read_all_traffic, read_epochs, read_traffic
from tests.table.rows import HEALTHY, Rows


async def traffic(rows: Rows) -> DeploymentTraffic:
    async with rows.table.transaction() as tx:
        found = await read_traffic(tx, "chat")
    assert found is not None
    return found


async def roles(rows: Rows) -> dict[int, SetRole]:
    return {one.route_set: one.role for one in (await traffic(rows)).sets}


async def test_a_deployment_that_is_not_there_has_no_traffic(rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        assert await read_traffic(tx, "chat") is None
        assert await read_all_traffic(tx) == []


async def test_a_deployment_without_sets_is_known(rows: Rows) -> None:
    await rows.begin()

    assert await traffic(rows) == DeploymentTraffic(deployment="chat", epoch=0, sets=())


async def test_a_set_has_its_role_in_every_step_of_a_rollout(rows: Rows) -> None:
    first = await rows.ready()
    assert await roles(rows) == {first.green: SetRole.GREEN}

    await rows.switch(first)
    assert await roles(rows) == {first.green: SetRole.LIVE}

    await rows.finish(first)
    second = await rows.ready("run-2")
    assert await roles(rows) == {first.green: SetRole.LIVE, second.green: SetRole.GREEN}

    await rows.switch(second)
    assert await roles(rows) == {first.green: SetRole.WARM, second.green: SetRole.LIVE}

    await rows.close(second, first.green)
    assert await roles(rows) == {first.green: SetRole.DRAINING, second.green: SetRole.LIVE}

    await rows.switch_back(second)
    assert await roles(rows) == {first.green: SetRole.LIVE, second.green: SetRole.DRAINING}

    await rows.close(second, second.green)
    await rows.finish(second, RolloutOutcome.ROLLED_BACK)
    assert await roles(rows) == {first.green: SetRole.LIVE, second.green: SetRole.DRAINING}

    await rows.sql("update route_sets set state = 'gone' where id = :id", id=second.green)
    assert await roles(rows) == {first.green: SetRole.LIVE}


@pytest.mark.parametrize("policy", [{"failover": False}, None])
async def test_a_blue_that_is_no_net_is_told_of_as_draining_from_the_switch_on(
    rows: Rows, policy: dict[str, object] | None
) -> None:
    """Also where the rollout began before there was such a policy: then it says nothing of it."""
    blue = await rows.live()
    opened = await rows.switched("run-2", policy=policy or {})
    if policy is None:
        await rows.sql("update rollouts set policy = policy - 'failover' where id = :id", id=opened.begun.rollout)

    assert (await roles(rows))[blue.green] is SetRole.DRAINING


async def test_an_aborted_green_drains(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2")

    await rows.finish(second, RolloutOutcome.ABORTED)

    assert (await roles(rows))[second.green] is SetRole.DRAINING


async def test_replicas_that_start_or_have_ended_are_no_members(rows: Rows) -> None:
    opened = await rows.open(replicas=4)
    running = await rows.add(opened, HEALTHY)
    await rows.add(opened)
    ended = await rows.add(opened, HEALTHY)
    await rows.end(opened, ended)
    stopping = await rows.add(opened, HEALTHY)
    await rows.sql("update routes set status = 'terminating' where id = cast(:id as uuid)", id=stopping)

    [found] = (await traffic(rows)).sets

    assert {(member.route, member.terminating) for member in found.members} == {(running, False), (stopping, True)}
    assert found.wanted == 4


async def test_members_have_the_address_and_health_of_their_replicas(rows: Rows) -> None:
    opened = await rows.ready()
    await rows.set_health(opened, opened.routes[0], RouteHealthStatus.UNHEALTHY)

    [found] = (await traffic(rows)).sets

    [member] = found.members
    assert (member.host, member.http, member.health) == ("127.0.0.1", 8000, RouteHealthStatus.UNHEALTHY)


async def test_all_deployments_are_read_as_each_alone(rows: Rows) -> None:
    await rows.live(replicas=2)
    await rows.ready("run-2", replicas=2)
    await rows.live("run-3", deployment="other")
    await rows.begin("run-4", deployment="empty")

    async with rows.table.transaction() as tx:
        together = await read_all_traffic(tx)
        alone = [await read_traffic(tx, name) for name in ("chat", "empty", "other")]

    assert together == alone


async def test_a_destroyed_deployment_is_not_published(rows: Rows) -> None:
    await rows.live()
    await rows.sql("update deployments set lifecycle = 'destroyed'")

    async with rows.table.transaction() as tx:
        assert await read_all_traffic(tx) == []
        assert await read_epochs(tx) == {}


async def test_epochs_are_read_to_find_what_was_missed(rows: Rows) -> None:
    await rows.live()
    await rows.begin("run-2", deployment="other")

    async with rows.table.transaction() as tx:
        epochs = await read_epochs(tx)

    assert epochs == {"chat": (await traffic(rows)).epoch, "other": 0}


async def test_every_change_of_traffic_has_an_epoch_of_its_own(rows: Rows) -> None:
    """A router that serves an epoch serves everything that was committed before it."""
    seen: dict[int, Publication] = {}

    async def look() -> None:
        now = publish(await traffic(rows))
        assert seen.setdefault(now.epoch, now) == now

    first = await rows.ready()
    await look()
    await rows.switch(first)
    await look()
    await rows.finish(first)
    await look()
    second = await rows.open("run-2")
    route = await rows.add(second)
    await look()
    await rows.end(second, route)
    await look()
    route = await rows.add(second, HEALTHY)
    await look()
    await rows.set_health(second, route, RouteHealthStatus.UNHEALTHY)
    await look()
    await rows.set_health(second, route, HEALTHY)
    await rows.switch(second)
    await look()
    await rows.close(second, first.green)
    await look()
    await rows.switch_back(second)
    await look()

    assert len(seen) > 7


async def test_the_ports_of_a_member_are_those_of_its_revision(rows: Rows) -> None:
    revision = {
        "command": ["serve"],
        "ports": {"http": "http1", "grpc": "h2c", "admin": "none"},
        "health_check": {"tcp": True},
    }
    opened = await rows.open("run-1", revision=revision)
    async with rows.table.transaction() as tx:
        kept = await rows.kept(opened)
        route = RouteId(str(uuid.uuid4()))
        others = {"grpc": 8001, "admin": 8002}
        assert await add_route(tx, rows.fence, opened.green, route, host="127.0.0.1", port=8000, other_ports=others)
        await route_running(tx, rows.fence, kept, route)

    [found] = (await traffic(rows)).sets

    [member] = found.members
    assert (member.http, member.grpc, found.grpc_streams) == (8000, 8001, STREAMS)
    assert (await rows.kept(opened)).routes[0].other_ports == others
