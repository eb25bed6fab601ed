"""Deleting a deployment."""

import asyncio
from collections.abc import Awaitable

import pytest
from sqlalchemy import text

from celadon.domain.decisions.publication import EndpointState, publish
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.states import DeploymentLifecycle, RolloutOutcome, RouteStatus
from celadon.table.read.history import list_rollouts, read_events
from celadon.table.records.changes import Deleted
from celadon.table.replicas.routes import route_ended, set_gone
from celadon.table.routers.traffic import read_traffic
from tests.table.locks import until_somebody_waits
from tests.table.rows import Opened, Rows


async def refusal(deleting: Awaitable[object]) -> RefusalCode:
    with pytest.raises(RefusedError) as refused:
        await deleting
    return refused.value.refusal.code


async def end_all(rows: Rows, opened: Opened) -> None:
    """Let the keeper end a set's replicas and call the set gone."""
    kept = await rows.kept(opened)
    for route in kept.routes:
        async with rows.table.transaction() as tx:
            await route_ended(tx, rows.fence, kept, route.route, status=RouteStatus.TERMINATED, failed=False)
    async with rows.table.transaction() as tx:
        assert await set_gone(tx, rows.fence, kept)


async def test_the_route_goes_and_the_replicas_drain(rows: Rows) -> None:
    live = await rows.live(replicas=2, policy={"drain_timeout": "7m"})
    epoch = await rows.value("select epoch from deployments")

    answer = await rows.delete(reason="nobody asks it any more")

    assert answer == Deleted(deployment="chat", lifecycle=DeploymentLifecycle.DESTROYING, epoch=epoch + 1, changed=True)
    [row] = await rows.rows("select * from route_sets")
    assert (row["id"], row["state"], row["drain_epoch"]) == (live.green, "draining", epoch + 1)
    assert (row["drain_deadline"] - row["drain_since"]).total_seconds() == 420
    assert await rows.value("select live_set from deployments") is None
    [event] = await rows.rows("select * from rollout_events where kind = 'deleted'")
    assert (event["actor"], event["door"], event["reason"]) == ("ann", "cli", "nobody asks it any more")
    async with rows.table.transaction() as tx:
        traffic = await read_traffic(tx, "chat")
    assert traffic is not None
    published = publish(traffic)
    assert not published.routed
    assert [one.state for one in published.endpoints] == [EndpointState.DRAINING] * 2


async def test_it_is_destroyed_when_its_last_set_is_gone(rows: Rows) -> None:
    live = await rows.live()
    deleted = await rows.delete()

    await end_all(rows, live)

    [row] = await rows.rows("select * from deployments")
    assert row["lifecycle"] == "destroyed"
    assert row["epoch"] > deleted.epoch
    async with rows.table.transaction() as tx:
        assert await read_traffic(tx, "chat") is None
        assert [one.outcome for one in await list_rollouts(tx, "chat", limit=9)] == [RolloutOutcome.PROMOTED]
        assert [event.kind for event in await read_events(tx, "chat", limit=99)][:2] == ["destroyed", "deleted"]
    assert await rows.value("select count(*) from revisions") == 1


async def test_a_second_delete_writes_nothing(rows: Rows) -> None:
    live = await rows.live()
    await rows.delete()
    before = await rows.dump()
    assert (await rows.delete()).lifecycle is DeploymentLifecycle.DESTROYING
    assert await rows.dump() == before

    await end_all(rows, live)
    before = await rows.dump()
    answer = await rows.delete()
    assert (answer.lifecycle, answer.changed) == (DeploymentLifecycle.DESTROYED, False)
    assert await rows.dump() == before


async def test_a_deployment_that_never_was_live_and_has_nothing_left_is_destroyed_at_once(rows: Rows) -> None:
    opened = await rows.open()
    await rows.close(opened, opened.green)
    await end_all(rows, opened)
    await rows.finish(opened, RolloutOutcome.ABORTED)

    assert (await rows.delete()).lifecycle is DeploymentLifecycle.DESTROYED


async def test_a_set_that_drains_already_keeps_its_deadline(rows: Rows) -> None:
    await rows.live()
    second = await rows.switched("run-2")
    await rows.finish(second)
    before = await rows.rows("select id, drain_deadline from route_sets where state = 'draining'")

    await rows.delete()

    after = await rows.rows("select id, drain_deadline from route_sets where state = 'draining' order by id")
    assert after[0] == before[0]
    assert [row["id"] for row in after] == [second.blue, second.green]


async def test_an_unknown_deployment_cannot_be_deleted(rows: Rows) -> None:
    assert await refusal(rows.delete()) is RefusalCode.NO_SUCH_DEPLOYMENT


@pytest.mark.parametrize("moment", ["begun", "open", "switched"])
async def test_it_is_refused_while_a_rollout_is_unfinished(rows: Rows, moment: str) -> None:
    await rows.live()
    match moment:
        case "begun":
            await rows.begin("run-2")
        case "open":
            await rows.open("run-2")
        case _:
            await rows.switched("run-2")
    before = await rows.dump()

    assert await refusal(rows.delete()) is RefusalCode.ROLLOUT_RUNNING
    assert await rows.dump() == before


@pytest.mark.parametrize("first", ["begin", "delete"])
async def test_the_second_of_a_begin_and_a_delete_is_refused(rows: Rows, first: str) -> None:
    await rows.live()
    async with rows.table.transaction() as tx:
        await tx.execute(text("select 1 from deployments for no key update"))
        ones: list[asyncio.Task[object]] = []
        for name in (first, "delete" if first == "begin" else "begin"):
            ones.append(asyncio.create_task(rows.begin("run-2") if name == "begin" else rows.delete()))
            await until_somebody_waits(rows.table, len(ones))
    answers = await asyncio.gather(*ones, return_exceptions=True)

    [error] = [one for one in answers if isinstance(one, BaseException)]
    assert isinstance(error, RefusedError)
    assert error.refusal.code in {RefusalCode.ROLLOUT_RUNNING, RefusalCode.DEPLOYMENT_DELETED}
    unfinished = await rows.value("select count(*) from rollouts where outcome is null")
    lifecycle = await rows.value("select lifecycle from deployments")
    assert (unfinished, lifecycle) in {(1, "deploying"), (0, "destroying")}


async def test_what_was_destroyed_starts_anew(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await rows.delete()
    await end_all(rows, live)

    again = await rows.live("run-2")

    assert again.begun.to_revision == 2
    assert again.begun.blue_set is None
    [row] = await rows.rows("select * from deployments")
    assert (row["lifecycle"], row["replicas"], row["live_set"]) == ("ready", 1, again.green)
