"""How rollouts end."""

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.states import RolloutOutcome, RouteHealthStatus
from celadon.table.rollouts.finish import finish
from tests.table.rows import HEALTHY, NOW, Rows


@pytest.mark.parametrize("outcome", list(RolloutOutcome))
async def test_every_outcome_can_be_written(rows: Rows, outcome: RolloutOutcome) -> None:
    opened = await rows.ready()

    await rows.finish(opened, outcome)

    [row] = await rows.rows("select * from rollouts")
    assert (row["outcome"], row["outcome_reason"], row["phase"]) == (outcome.value, "because", "completed")
    assert row["evidence"] == {"decision": "promotion by ann"}
    assert row["completed_at"] > NOW
    [event] = await rows.rows("select * from rollout_events where kind = 'completed'")
    assert (event["reason"], event["evidence"]) == ("because", {"outcome": outcome.value})


async def test_a_finish_twice_gives_the_same_answer(rows: Rows) -> None:
    opened = await rows.switched()
    one = await rows.finish(opened)
    before = await rows.dump()

    assert await rows.finish(opened) == one
    assert await rows.dump() == before


@pytest.mark.parametrize(
    ("goes_back", "happened"),
    [(False, RolloutOutcome.PROMOTED), (True, RolloutOutcome.ROLLED_BACK)],
)
async def test_a_workflow_that_was_reset_ends_with_what_happened(
    rows: Rows,
    happened: RolloutOutcome,
    *,
    goes_back: bool,
) -> None:
    """It was reset to a moment before the switch, and believes that it aborts."""
    await rows.live()
    opened = await rows.switched("run-2")
    if goes_back:
        await rows.switch_back(opened)

    first = await rows.finish(opened, RolloutOutcome.ABORTED)
    second = await rows.finish(opened, RolloutOutcome.ABORTED)

    assert first.outcome is happened
    assert second == first
    assert await rows.value("select outcome from rollouts order by id desc limit 1") == happened.value


async def test_a_rollout_that_ended_otherwise_does_not_end_again(rows: Rows) -> None:
    opened = await rows.ready()
    await rows.finish(opened, RolloutOutcome.ABORTED)
    before = await rows.dump()

    with pytest.raises(RefusedError) as refused:
        await rows.finish(opened, RolloutOutcome.PROMOTED)

    assert refused.value.refusal.code is RefusalCode.NOT_OWNER
    assert await rows.dump() == before


async def test_a_deployment_with_a_live_set_is_ready_again(rows: Rows) -> None:
    await rows.live()
    assert await rows.value("select lifecycle from deployments") == "ready"

    second = await rows.ready("run-2")
    assert await rows.value("select lifecycle from deployments") == "deploying"

    await rows.finish(second, RolloutOutcome.ABORTED)
    assert await rows.value("select lifecycle from deployments") == "ready"


async def test_a_first_deployment_that_failed_is_pending_with_nothing_live(rows: Rows) -> None:
    opened = await rows.open()

    await rows.finish(opened, RolloutOutcome.FAILED)

    [deployment] = await rows.rows("select lifecycle, live_set from deployments")
    assert (deployment["lifecycle"], deployment["live_set"]) == ("pending", None)


async def test_a_rollout_leaves_no_open_set_but_the_live_one(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.ready("run-2")
    epoch = await rows.value("select epoch from deployments")

    finished = await rows.finish(second, RolloutOutcome.ABORTED)

    assert [row["id"] for row in await rows.rows("select id from route_sets where state = 'open'")] == [first.green]
    [green] = await rows.rows("select * from route_sets where id = :id", id=second.green)
    assert (green["state"], green["drain_epoch"]) == ("draining", epoch + 1)
    assert finished.epoch == epoch + 1


async def test_a_rollout_that_leaves_nothing_behind_publishes_nothing_new(rows: Rows) -> None:
    opened = await rows.switched()
    epoch = await rows.value("select epoch from deployments")

    assert (await rows.finish(opened)).epoch == epoch


async def test_the_answer_tells_when_it_switched_and_what_was_cut(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.ready("run-2")
    answer = await rows.switch(second)
    await rows.sql(
        "update route_sets set state = 'gone', requests_cut = 2 where id = :id",
        id=first.green,
    )
    await rows.sql("update route_sets set requests_cut = 1 where id = :id", id=second.green)

    finished = await rows.finish(second)

    assert (finished.switched_at, finished.requests_cut) == (answer.at, 3)
    assert await rows.value("select requests_cut from rollouts where id = :id", id=second.begun.rollout) == 3


async def test_what_earlier_rollouts_cut_is_not_counted_again(rows: Rows) -> None:
    first = await rows.live()
    await rows.live("run-2")
    await rows.sql("update route_sets set requests_cut = 7 where id = :id", id=first.green)

    third = await rows.switched("run-3")

    assert (await rows.finish(third)).requests_cut == 0


async def test_a_finish_stops_waiting_for_routers(rows: Rows) -> None:
    opened = await rows.switched()
    await rows.sql("update rollouts set awaits_epoch = 9")

    await rows.finish(opened)

    assert await rows.value("select awaits_epoch from rollouts") is None


async def test_after_a_finish_the_next_rollout_may_begin(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2")
    await rows.finish(second, RolloutOutcome.ABORTED)

    third = await rows.ready("run-3")

    assert await rows.value("select count(*) from rollouts where outcome is null") == 1
    assert await rows.value("select health from routes where set_id = :id", id=third.green) == HEALTHY.value


async def test_a_failed_rollout_ends_with_the_newest_cause_in_place_of_the_one_that_it_heard_of(rows: Rows) -> None:
    opened = await rows.ready(replicas=2)
    for route in opened.routes:
        await rows.set_health(opened, route, RouteHealthStatus.UNHEALTHY, "answered 503")
    step = opened.finish_step(RolloutOutcome.FAILED)
    heard = {"reason": "not healthy; last error: refused", "evidence": {"last_error": "refused"}}

    async with rows.table.transaction() as tx:
        finished = await finish(tx, step.model_copy(update=heard))

    assert finished.reason == "not healthy; last error: answered 503 (\u00d72)"
    assert finished.last_error == "answered 503 (\u00d72)"
    assert await rows.value("select outcome_reason from rollouts") == finished.reason


@pytest.mark.parametrize("outcome", [RolloutOutcome.ABORTED, RolloutOutcome.EXPIRED, RolloutOutcome.SUPERSEDED])
async def test_the_reason_of_who_has_ended_a_rollout_stays_as_it_was_said(
    rows: Rows,
    outcome: RolloutOutcome,
) -> None:
    opened = await rows.ready()
    await rows.set_health(opened, opened.routes[0], RouteHealthStatus.UNHEALTHY, "answered 503")

    finished = await rows.finish(opened, outcome)

    assert (finished.reason, finished.last_error) == ("because", "answered 503")
