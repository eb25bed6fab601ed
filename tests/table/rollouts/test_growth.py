"""A green that is opened as a preview: who decides is kept, it grows, and no switch is made before it has."""

from typing import Any

import pytest

from celadon.domain.language.contracts import WITHDRAW
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.growth import Growth
from celadon.domain.language.names import RouteId
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, RouteHealthStatus
from celadon.domain.language.steps import PhaseStep, Step, SwitchAnswer
from celadon.table.rollouts.freezes import FreezeOrder, freeze
from celadon.table.rollouts.route_sets import ask_for_edge, enter_phase
from tests.table.rollouts.test_approvals import approve, signed, withdraw
from tests.table.rows import HEALTHY, NOW, Opened, Rows

PREVIEW = {"preview_replicas": 1}


async def preview(rows: Rows, run: str = "run-2", **policy: Any) -> Opened:
    """Return a rollout of three whose green, of one, is healthy."""
    await rows.live(replicas=3)
    opened = await rows.open(run, policy={**PREVIEW, **policy})
    return Opened(opened.begun, opened.green, (await rows.add(opened, HEALTHY),))


async def fill(rows: Rows, opened: Opened, more: int) -> tuple[RouteId, ...]:
    return tuple([await rows.add(opened, HEALTHY) for _ in range(more)])


async def grown(rows: Rows, opened: Opened, decision: str = "run/2") -> SwitchAnswer:
    """Ask for the switch that was decided before green grew."""
    return await rows.switch(opened, message=None, grown=True, decision=decision)


async def green(rows: Rows, opened: Opened) -> tuple[int, bool]:
    [row] = await rows.rows("select wanted, preview from route_sets where id = :id", id=opened.green)
    return row["wanted"], row["preview"]


async def is_live(rows: Rows, opened: Opened) -> bool:
    return bool(await rows.value("select live_set = :id from deployments", id=opened.green))


# Preview 1 of 3, then full, then switch.


async def test_green_opens_with_so_many_and_grows_once_its_switch_is_decided(rows: Rows) -> None:
    opened = await preview(rows)
    assert await green(rows, opened) == (1, True)

    answer = await rows.switch(opened, decision="run/1")

    assert (answer.refusal, answer.epoch, answer.recorded) == (None, None, False)
    assert answer.growth is not None
    assert (answer.growth.by, answer.growth.door, answer.growth.wanted, answer.growth.no_room) == (
        "ann",
        Channel.UPDATE,
        3,
        "",
    )
    assert await green(rows, opened) == (3, False)
    assert not await is_live(rows, opened)
    [event] = await rows.rows("select actor, evidence from rollout_events where kind = 'growing'")
    assert (event["actor"], event["evidence"]) == ("ann", {"from": "1", "to": "3"})
    edge = (await rows.rows("select payload from outbox where signal = 'green_changed' order by id"))[-1]["payload"]
    assert (edge["seq"], edge["wanted"], edge["required"], edge["scaled"]) == (answer.growth.seq, 3, 3, True)


async def test_a_green_that_has_grown_switches_by_the_decision_that_was_kept(rows: Rows) -> None:
    opened = await preview(rows)
    await rows.switch(opened, decision="run/1")
    await fill(rows, opened, 2)

    answer = await grown(rows, opened)

    assert (answer.refusal, answer.healthy_green, answer.required) == (None, 3, 3)
    assert await is_live(rows, opened)
    assert await rows.value("select replicas from deployments") == 3
    event = (await rows.rows("select actor, reason from rollout_events where kind = 'switched' order by id"))[-1]
    assert (event["actor"], event["reason"]) == ("ann", "reviewed")
    assert await rows.value("select growth is null from rollouts where outcome is null")


async def test_no_switch_is_made_at_the_size_of_a_preview(rows: Rows) -> None:
    opened = await preview(rows)
    await rows.switch(opened, decision="run/1")

    answer = await grown(rows, opened)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NO_HEALTHY_GREEN
    assert (answer.healthy_green, answer.required) == (1, 3)
    assert not await is_live(rows, opened)


async def test_min_healthy_of_the_switch_is_that_of_the_full_size(rows: Rows) -> None:
    opened = await preview(rows, min_healthy="50%")
    await rows.switch(opened, decision="run/1")
    assert (await grown(rows, opened, "run/2")).refusal is not None

    await rows.switch(opened, decision="run/3")
    await fill(rows, opened, 1)

    again = await rows.switch(opened, decision="run/4")
    assert (again.refusal, again.required) == (None, 2)


async def test_a_second_attempt_of_the_decision_gets_the_same_answer_and_grows_once(rows: Rows) -> None:
    opened = await preview(rows)

    first = await rows.switch(opened, decision="run/1")
    second = await rows.switch(opened, decision="run/1")

    assert first == second
    assert await rows.value("select count(*) from rollout_events where kind = 'growing'") == 1


async def test_a_late_attempt_of_the_decision_does_not_switch_a_green_that_has_grown(rows: Rows) -> None:
    opened = await preview(rows)
    first = await rows.switch(opened, decision="run/1")
    await fill(rows, opened, 2)

    assert await rows.switch(opened, decision="run/1") == first
    assert not await is_live(rows, opened)


async def test_a_switch_that_was_decided_by_nobody_is_refused(rows: Rows) -> None:
    opened = await preview(rows)

    answer = await grown(rows, opened)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NOT_AWAITING_PROMOTION
    assert await green(rows, opened) == (1, True)


async def test_a_timer_lets_green_grow_too(rows: Rows) -> None:
    opened = await preview(rows, auto_promote=True)
    answer = await rows.switch(opened, message=None, door=Channel.TIMER, by="policy", decision="run/1")
    assert answer.growth is not None
    assert answer.growth.door is Channel.TIMER
    await fill(rows, opened, 2)

    assert (await grown(rows, opened)).epoch is not None


async def test_a_first_deployment_without_a_gate_opens_all_of_green(rows: Rows) -> None:
    opened = await rows.open(replicas=3, policy=PREVIEW)

    assert await green(rows, opened) == (3, False)


async def test_a_preview_as_large_as_all_of_green_switches_at_once(rows: Rows) -> None:
    await rows.live(replicas=2)
    opened = await rows.ready("run-2", policy={"preview_replicas": 5})

    assert (await rows.switch(opened)).epoch is not None


async def test_an_unhealthy_preview_does_not_grow(rows: Rows) -> None:
    opened = await preview(rows)
    await rows.set_health(opened, opened.routes[0], RouteHealthStatus.UNHEALTHY)

    answer = await rows.switch(opened, decision="run/1")

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NO_HEALTHY_GREEN
    assert await green(rows, opened) == (1, True)


# While it grows.


async def test_a_freeze_while_green_grows_refuses_the_switch_and_spends_no_approval(rows: Rows) -> None:
    opened = await preview(rows)
    await rows.switch(opened, decision="run/1")
    await fill(rows, opened, 2)
    async with rows.table.transaction() as tx:
        await freeze(tx, FreezeOrder(deployment="chat", by="ben", door=Channel.CLI, reason="fair"))

    answer = await grown(rows, opened)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.FROZEN
    assert await rows.value("select growth is null from rollouts where outcome is null")
    await rows.sql("delete from freezes")
    assert (await grown(rows, opened, "run/3")).refusal is not None
    assert (await rows.switch(opened, decision="run/4")).epoch is not None


async def test_the_moment_of_the_decision_counts_for_windows(rows: Rows) -> None:
    opened = await preview(rows)
    await rows.switch(opened, decision="run/1")
    await fill(rows, opened, 2)
    await rows.sql(
        """
        update rollouts set policy = policy || jsonb_build_object('windows', jsonb_build_array(jsonb_build_object(
            'days', jsonb_build_array(lower(to_char(now() at time zone 'UTC' + interval '2 days', 'dy'))),
            'from', '00:00', 'to', '00:01', 'zone', 'UTC', 'applies_to', 'everyone'))) where outcome is null
        """
    )

    refused = await rows.switch(opened, decision="run/2")
    assert refused.refusal is not None
    assert refused.refusal.code is RefusalCode.WINDOW_CLOSED
    assert (await grown(rows, opened, "run/3")).epoch is not None


async def test_a_scaling_while_it_is_a_preview_changes_what_it_grows_to(rows: Rows) -> None:
    opened = await preview(rows)

    await rows.scale(4)
    assert await green(rows, opened) == (1, True)
    assert not (await rows.scale(4)).changed
    answer = await rows.switch(opened, decision="run/1")

    assert answer.growth is not None
    assert answer.growth.wanted == 4


async def test_a_scaling_in_the_middle_of_growing_reaches_green(rows: Rows) -> None:
    opened = await preview(rows)
    await rows.switch(opened, decision="run/1")

    await rows.scale(2)
    assert await green(rows, opened) == (2, False)
    await fill(rows, opened, 1)

    assert (await grown(rows, opened)).epoch is not None


async def test_a_scaling_to_no_more_than_the_preview_needs_no_growth(rows: Rows) -> None:
    opened = await preview(rows)

    await rows.scale(1)

    assert (await rows.switch(opened)).epoch is not None


async def test_an_abort_while_it_grows_closes_green_and_forgets_the_decision(rows: Rows) -> None:
    opened = await preview(rows)
    await rows.switch(opened, decision="run/1")

    await rows.close(opened, opened.green, phase=RolloutPhase.ROLLING_BACK)
    await rows.finish(opened, RolloutOutcome.ABORTED)

    assert await rows.value("select growth is null from rollouts order by id desc limit 1")
    answer = await grown(rows, opened)
    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NOT_OWNER


async def test_a_run_that_was_reset_is_told_of_the_decision(rows: Rows) -> None:
    opened = await preview(rows)
    answer = await rows.switch(opened, decision="run/1")

    async with rows.table.transaction() as tx:
        told = await ask_for_edge(tx, Step(deployment="chat", rollout=opened.begun.rollout))

    assert isinstance(told.growth, Growth)
    assert told.growth == answer.growth


# Room for the growth.


async def in_bound(rows: Rows, **policy: Any) -> tuple[Opened, Opened]:
    """Return a rollout of three with a preview of one, and one replica of an earlier set that drains, of six in all."""
    first = await rows.live(replicas=3, policy={"max_total_replicas": 6})
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    await rows.end(first, first.routes[0], failed=False, error="")
    await rows.end(first, first.routes[1], failed=False, error="")
    await rows.finish(second)
    opened = await rows.open("run-3", policy={**PREVIEW, **policy})
    await rows.add(opened, HEALTHY)
    return Opened(first.begun, first.green, first.routes[2:]), opened


async def test_without_room_the_decision_is_refused_with_the_figures_and_green_stays_a_preview(rows: Rows) -> None:
    _, opened = await in_bound(rows)

    answer = await rows.switch(opened, decision="run/1")

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NO_ROOM
    assert "no room for 2 more replicas of chat: its sets have 5, and max_total_replicas is 6" in str(answer.refusal)
    assert await green(rows, opened) == (1, True)
    assert await rows.value("select awaits_signal from rollouts where outcome is null") == "room_changed"


async def test_a_refused_decision_is_told_of_room_and_may_be_taken_again(rows: Rows) -> None:
    old, opened = await in_bound(rows)
    await rows.switch(opened, decision="run/1")

    await rows.end(old, old.routes[0], failed=False, error="")

    assert await rows.value("select count(*) from outbox where signal = 'room_changed'") == 1
    assert (await rows.switch(opened, decision="run/2")).growth is not None


async def test_with_wait_the_decision_counts_and_green_grows_as_soon_as_there_is_room(rows: Rows) -> None:
    old, opened = await in_bound(rows, on_no_room="wait")

    waiting = await rows.switch(opened, decision="run/1")
    assert waiting.growth is not None
    assert "its sets have 5" in waiting.growth.no_room
    assert await green(rows, opened) == (1, True)
    still = await grown(rows, opened, "run/2")
    assert still.growth is not None
    assert still.growth.at == waiting.growth.at

    await rows.end(old, old.routes[0], failed=False, error="")
    assert await rows.value("select count(*) from outbox where signal = 'room_changed'") == 1
    grows = await grown(rows, opened, "run/3")

    assert grows.growth is not None
    assert (grows.growth.no_room, grows.growth.at) == ("", waiting.growth.at)
    assert await green(rows, opened) == (3, False)


async def test_a_scaling_after_which_a_preview_could_never_grow_is_refused(rows: Rows) -> None:
    await rows.live(replicas=2, policy={"max_total_replicas": 6, **PREVIEW})
    await rows.open("run-2")

    with pytest.raises(Exception, match="no room for 8 more replicas"):
        await rows.scale(4)
    assert (await rows.scale(3)).changed


# Approvals.


async def enter(rows: Rows, opened: Opened, phase: RolloutPhase) -> None:
    async with rows.table.transaction() as tx:
        step = PhaseStep(deployment="chat", rollout=opened.begun.rollout, phase=phase, at=NOW)
        await enter_phase(tx, step)


async def approving(rows: Rows) -> Opened:
    """Return a rollout whose green grows by two approvals."""
    opened = await preview(rows, approvals={"count": 2})
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION)
    assert (await approve(rows, opened, "ann")).recorded
    answer = await approve(rows, opened, "ben")
    assert answer.growth is not None
    assert (answer.growth.by, len(answer.approvals)) == ("ben", 2)
    await enter(rows, opened, RolloutPhase.VERIFYING)
    return opened


async def spent(rows: Rows) -> int:
    number: int = await rows.value("select spent_decisions from rollouts where outcome is null")
    return number


async def test_what_was_approved_before_the_growth_counts_for_the_switch(rows: Rows) -> None:
    opened = await approving(rows)
    await fill(rows, opened, 2)

    assert (await grown(rows, opened)).epoch is not None


async def test_a_decision_whose_growth_failed_spends_its_approvals(rows: Rows) -> None:
    opened = await approving(rows)
    await fill(rows, opened, 2)
    await rows.set_health(opened, opened.routes[0], RouteHealthStatus.UNHEALTHY)

    answer = await grown(rows, opened)

    assert answer.refusal is not None
    assert (answer.refusal.code, answer.approvals) == (RefusalCode.NO_HEALTHY_GREEN, ())
    assert await spent(rows) == 1


async def test_a_freeze_while_green_grows_keeps_the_approvals(rows: Rows) -> None:
    opened = await approving(rows)
    await fill(rows, opened, 2)
    async with rows.table.transaction() as tx:
        await freeze(tx, FreezeOrder(deployment="chat", by="ben", door=Channel.CLI, reason="fair"))

    answer = await grown(rows, opened)

    assert answer.refusal is not None
    assert (answer.refusal.code, len(answer.approvals)) == (RefusalCode.FROZEN, 2)
    assert await spent(rows) == 0


async def test_an_approval_that_is_withdrawn_while_green_grows_is_missing_at_the_switch(rows: Rows) -> None:
    opened = await approving(rows)
    await fill(rows, opened, 2)
    assert await withdraw(rows, opened, signed(WITHDRAW, "ben", "id-withdraw")) is None

    answer = await grown(rows, opened)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.APPROVALS_MISSING


async def test_a_green_that_is_closed_before_it_has_grown_spends_the_approvals(rows: Rows) -> None:
    opened = await approving(rows)

    await rows.close(opened, opened.green, phase=RolloutPhase.ROLLING_BACK)

    assert await spent(rows) == 1
    [line] = await rows.rows("select reason from rollout_events where kind = 'approvals_spent'")
    assert line["reason"] == "green did not grow to its full size"


async def test_no_approval_is_recorded_by_a_promotion_that_is_refused_for_room(rows: Rows) -> None:
    _, opened = await in_bound(rows, approvals={"count": 1})
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION)

    answer = await approve(rows, opened, "ann")

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NO_ROOM
    assert await rows.value("select count(*) from approvals") == 0
