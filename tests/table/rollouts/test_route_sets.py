"""Closing sets, phases, and asking for an edge."""

from datetime import timedelta

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import Epoch, RouteSetId
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.domain.language.steps import DrainEnd, Note, PhaseStep, Step
from celadon.table.rollouts.route_sets import ask_for_edge, enter_phase, read_drain
from tests.table.rows import HEALTHY, NOW, Opened, Rows


async def drain_of(rows: Rows, opened: Opened, route_set: RouteSetId) -> DrainEnd | None:
    async with rows.table.transaction() as tx:
        return await read_drain(tx, opened.close_step(route_set))


async def state_of(rows: Rows, route_set: RouteSetId) -> str:
    state: str = await rows.value("select state from route_sets where id = :id", id=route_set)
    return state


# Closing.


async def test_a_closed_blue_drains_until_its_deadline(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    epoch = await rows.value("select epoch from deployments")

    assert await rows.close(second, first.green, timeout_seconds=60) is None

    [blue] = await rows.rows(
        "select *, drain_deadline - drain_since as within from route_sets where id = :id",
        id=first.green,
    )
    assert (blue["state"], blue["within"].total_seconds(), blue["drain_epoch"]) == ("draining", 60, epoch + 1)
    assert await rows.value("select epoch from deployments") == epoch + 1
    assert await rows.value("select phase from rollouts where outcome is null") == "draining"


async def test_routers_are_waited_for_as_the_rollout_says_that_drains_and_not_as_the_one_that_opened(
    rows: Rows,
) -> None:
    first = await rows.live(policy={"router_ack_timeout": "60s"})
    second = await rows.switched("run-2", policy={"router_ack_timeout": "2s"})

    await rows.close(second, first.green)

    assert (await rows.kept(second, first.green)).router_ack_timeout == timedelta(seconds=2)


async def test_a_close_is_written_into_the_audit_log(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")

    await rows.close(second, first.green)

    [event] = await rows.rows("select * from rollout_events where kind = 'draining'")
    assert event["evidence"] == {"route_set": str(first.green)}


async def test_a_second_close_changes_nothing(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    before = await rows.dump()

    assert await rows.close(second, first.green, timeout_seconds=3600) is None
    assert await rows.dump() == before


async def test_a_green_that_was_never_live_is_closed_without_any_router(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2")
    await rows.router("edge-1", 0)

    assert await rows.close(second, second.green, phase=RolloutPhase.ROLLING_BACK) is None
    assert await state_of(rows, second.green) == "draining"
    assert await rows.value("select phase from rollouts where outcome is null") == "rolling_back"


async def test_a_set_is_not_closed_while_a_live_router_is_silent(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    epoch = await rows.value("select epoch from deployments")
    await rows.router("edge-1", epoch)
    await rows.router("edge-2", epoch - 1)

    end = await rows.close(second, first.green, needs_acknowledgement=Epoch(epoch))

    assert end is not None
    assert end.silent == ("edge-2",)
    assert end.refusal is not None
    assert end.refusal.code is RefusalCode.ROUTERS_SILENT
    assert "edge-2" in end.refusal.message
    assert await state_of(rows, first.green) == "open"
    assert await rows.value("select awaits_epoch from rollouts where outcome is null") == epoch


async def test_a_set_is_closed_when_all_live_routers_have_acknowledged(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    epoch = await rows.value("select epoch from deployments")
    await rows.router("edge-1", epoch)
    await rows.router("edge-2", epoch + 5)

    assert await rows.close(second, first.green, needs_acknowledgement=Epoch(epoch)) is None
    assert await state_of(rows, first.green) == "draining"


@pytest.mark.parametrize(
    "statement",
    [
        "update routers set gone_at = now()",
        "update routers set seen_at = now() - interval '10 minutes 1 second'",
        "update routers set acknowledged_at = null",
        "delete from routers",
    ],
)
async def test_a_router_that_is_not_live_keeps_no_set_open(rows: Rows, statement: str) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.router("edge-1", 0)
    await rows.sql(statement)

    assert await rows.close(second, first.green, needs_acknowledgement=Epoch(10)) is None


async def test_a_set_that_is_live_again_is_not_closed(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.switch_back(second)
    before = await rows.dump()

    assert await rows.close(second, first.green) == DrainEnd(reopened=True)
    assert await rows.dump() == before


async def test_a_set_of_another_rollout_is_not_closed(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.live("run-2")
    third = await rows.ready("run-3")
    before = await rows.dump()

    assert second.green == third.blue
    with pytest.raises(RefusedError) as refused:
        await rows.close(third, first.green)

    assert refused.value.refusal.code is RefusalCode.NOT_OWNER
    assert await rows.dump() == before


async def test_a_rollout_that_ended_closes_nothing(rows: Rows) -> None:
    first = await rows.live()
    before = await rows.dump()

    with pytest.raises(RefusedError) as refused:
        await rows.close(first, first.green)

    assert refused.value.refusal.code is RefusalCode.NOT_OWNER
    assert await rows.dump() == before


# How a drain ends.


async def test_a_drain_lasts_while_the_set_drains(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)

    assert await drain_of(rows, second, first.green) is None


async def test_a_drain_ends_with_what_was_cut(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.sql("update route_sets set state = 'gone', requests_cut = 3 where id = :id", id=first.green)

    assert await drain_of(rows, second, first.green) == DrainEnd(requests_cut=3)


async def test_a_drain_ends_when_the_set_is_live_again(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    await rows.switch_back(second)

    assert await drain_of(rows, second, first.green) == DrainEnd(reopened=True)


# Phases.


async def test_a_phase_is_written_down_with_its_notes(rows: Rows) -> None:
    opened = await rows.open()
    step = PhaseStep(
        deployment="chat",
        rollout=opened.begun.rollout,
        phase=RolloutPhase.VERIFYING,
        at=NOW,
        notes=(Note(seq=1, at=NOW, kind="verifying", reason="all replicas of green run"),),
    )

    for _ in range(2):
        async with rows.table.transaction() as tx:
            await enter_phase(tx, step)

    [rollout] = await rows.rows("select phase, phase_since from rollouts")
    assert (rollout["phase"], rollout["phase_since"]) == ("verifying", NOW)
    [event] = await rows.rows("select at, reason from rollout_events where kind = 'verifying'")
    assert (event["at"], event["reason"]) == (NOW, "all replicas of green run")


async def test_a_rollout_that_ended_enters_no_phase(rows: Rows) -> None:
    opened = await rows.live()
    before = await rows.dump()

    with pytest.raises(RefusedError):
        async with rows.table.transaction() as tx:
            await enter_phase(
                tx,
                PhaseStep(deployment="chat", rollout=opened.begun.rollout, phase=RolloutPhase.VERIFYING, at=NOW),
            )

    assert await rows.dump() == before


# Asking for an edge.


async def ask(rows: Rows, opened: Opened) -> None:
    async with rows.table.transaction() as tx:
        await ask_for_edge(tx, Step(deployment="chat", rollout=opened.begun.rollout))


async def test_a_ready_green_is_told_anew_when_its_rollout_asks(rows: Rows) -> None:
    opened = await rows.ready()
    seq = await rows.value("select seq from route_sets")
    await rows.sql("delete from outbox")

    await ask(rows, opened)
    await rows.set_health(opened, opened.routes[0], HEALTHY)

    [told] = await rows.rows("select payload from outbox")
    assert (told["payload"]["condition"], told["payload"]["seq"]) == ("ready", seq + 1)


@pytest.mark.parametrize("condition", ["starting", "running", "failed"])
async def test_a_condition_that_is_no_claim_of_health_is_left_alone(rows: Rows, condition: str) -> None:
    opened = await rows.open()
    await rows.sql("update route_sets set condition = :condition", condition=condition)

    await ask(rows, opened)

    assert await rows.value("select condition from route_sets") == condition


async def test_a_rollout_that_ended_asks_for_nothing(rows: Rows) -> None:
    opened = await rows.ready()
    await rows.finish(opened, RolloutOutcome.ABORTED)
    before = await rows.dump()

    with pytest.raises(RefusedError):
        await ask(rows, opened)

    assert await rows.dump() == before
