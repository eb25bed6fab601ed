"""Holds are told once each, and a deadline that a hold puts off is near later."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.commands import BakeCommand, PauseCommand
from celadon.domain.language.contracts import PAUSE, RESUME
from celadon.domain.language.states import Channel, RolloutPhase
from celadon.domain.language.steps import JudgeStep, Message
from celadon.table.core.clock import database_now
from celadon.table.rollouts.freezes import FreezeOrder, UnfreezeOrder, freeze, unfreeze
from celadon.table.rollouts.route_sets import judge
from tests.table.notifications.test_notification_outbox import OPS, add, enter, kinds, note, told
from tests.table.rows import NOW, Opened, Rows

HOUR = timedelta(hours=1)
SPAN = timedelta(days=3650)
ANN: dict[str, Any] = {"by": "ann", "door": Channel.CLI, "reason": "holidays"}


async def waiting(rows: Rows, **policy: Any) -> Opened:
    """Let green wait for its promotion, with a target that is told."""
    await add(rows)
    await rows.live()
    opened = await rows.ready("run-2", policy={**OPS, **policy})
    await awaits(rows, opened, 1)
    return opened


async def awaits(rows: Rows, opened: Opened, seq: int) -> None:
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, note(seq, "awaiting_promotion", waits_for="a person"))


async def moment(rows: Rows) -> datetime:
    async with rows.table.transaction() as tx:
        return await database_now(tx)


async def ordered(rows: Rows, deployment: str | None = "chat", **given: Any) -> int:
    async with rows.table.transaction() as tx:
        return (await freeze(tx, FreezeOrder(deployment=deployment, **ANN, **given))).freeze


async def ended(rows: Rows, deployment: str | None = "chat") -> None:
    async with rows.table.transaction() as tx:
        await unfreeze(tx, UnfreezeOrder(deployment=deployment, **ANN))


async def said(rows: Rows, opened: Opened, verb: str, **given: Any) -> None:
    kind = PauseCommand if verb == PAUSE else BakeCommand
    message = Message(
        verb=verb, command=kind(by="ann", reason="lunch", **given), came_by=Channel.UPDATE, request_id=f"{verb}-{given}"
    )
    step = JudgeStep(deployment="chat", rollout=opened.begun.rollout, messages=(message,), at=NOW)
    async with rows.table.transaction() as tx:
        judged = await judge(tx, step, Authority(unsigned=Unsigned.ALL))
    assert judged.refusals == (None,)


async def notices(rows: Rows) -> list[dict[str, Any]]:
    return [
        row["notice"] for row in await rows.rows("select notice from notifications where kind = 'held' order by seq")
    ]


async def near(rows: Rows) -> list[datetime]:
    """Return when it is told that the deadline is near, as far as it is still to be told."""
    found = await rows.rows(
        "select due_at from deliveries join notifications n on n.id = notification "
        "where n.kind = 'deadline_near' and state = 'waiting' order by due_at"
    )
    return [row["due_at"] for row in found]


@pytest.mark.parametrize("deployment", ["chat", None])
async def test_a_freeze_is_told_of_a_rollout_that_waits_with_the_sentence_that_every_door_shows(
    rows: Rows, deployment: str | None
) -> None:
    await waiting(rows)

    await ordered(rows, deployment)

    [told_of] = await notices(rows)
    assert "frozen since" in told_of["reason"]
    assert "by ann (holidays): nothing is switched until somebody ends it: celadon unfreeze" in told_of["reason"]
    assert told_of["commands"]["unfreeze"] == f"celadon unfreeze {deployment or '--all'}"
    assert ("held", "waiting") in await told(rows)


async def test_a_freeze_is_told_once_although_green_waits_anew_under_it(rows: Rows) -> None:
    opened = await waiting(rows)
    await ordered(rows)

    await enter(rows, opened, RolloutPhase.VERIFYING, note(2, "regressed"))
    await awaits(rows, opened, 3)

    assert (await kinds(rows)).count("held") == 1


async def test_a_freeze_from_before_is_told_when_green_begins_to_wait(rows: Rows) -> None:
    await add(rows)
    await rows.live()
    await ordered(rows)
    opened = await rows.ready("run-2", policy=OPS)
    assert "held" not in await kinds(rows)

    await awaits(rows, opened, 1)

    assert (await kinds(rows)).count("held") == 1


async def test_a_planned_freeze_is_told_when_it_begins(rows: Rows) -> None:
    await waiting(rows)
    begins_at = await moment(rows) + HOUR

    await ordered(rows, begins_at=begins_at)

    due = "select due_at from deliveries join notifications n on n.id = notification where n.kind = 'held'"
    assert await rows.value(due) == begins_at


async def test_a_planned_freeze_that_is_ended_before_it_begins_is_not_told(rows: Rows) -> None:
    await waiting(rows)
    await ordered(rows, begins_at=await moment(rows) + HOUR)

    await ended(rows)

    assert [one for one in await told(rows) if one[0] == "held"] == [("held", "cancelled")]


async def test_a_planned_freeze_is_not_told_of_a_rollout_that_has_switched(rows: Rows) -> None:
    opened = await waiting(rows)
    await ordered(rows, begins_at=await moment(rows) + HOUR)

    await rows.switch(opened)

    assert [one for one in await told(rows) if one[0] == "held"] == [("held", "cancelled")]


async def test_a_pause_is_told_once_and_again_when_somebody_pauses_anew(rows: Rows) -> None:
    opened = await waiting(rows)

    await said(rows, opened, PAUSE)
    await said(rows, opened, PAUSE, until=await moment(rows) + HOUR)
    [told_of] = await notices(rows)
    assert "by ann (lunch): all timers stand still until it is resumed: celadon resume chat" in told_of["reason"]
    await said(rows, opened, RESUME)
    await said(rows, opened, PAUSE)

    assert len(await notices(rows)) == 2


async def test_closed_windows_and_a_silent_keeper_are_told_with_what_their_lines_say(rows: Rows) -> None:
    opened = await waiting(rows)
    silent = {"held_by": "keeper_silent", "held_since": NOW.isoformat()}

    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, note(2, "held"))
    for seq in (3, 4):
        await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, note(seq, "promotion_refused", **silent))

    assert (await kinds(rows)).count("held") == 2


async def test_a_freeze_with_an_end_puts_the_near_deadline_off_by_as_long(rows: Rows) -> None:
    await waiting(rows, promotion_deadline="3650d")
    before = await rows.value("select at from rollout_events where kind = 'awaiting_promotion'") + SPAN
    begins_at = await moment(rows) + HOUR

    await ordered(rows, begins_at=begins_at, ends_at=begins_at + 2 * HOUR)

    assert await near(rows) == [before + 2 * HOUR - HOUR]


async def test_a_freeze_without_an_end_lets_no_deadline_be_near_until_it_is_ended(rows: Rows) -> None:
    await waiting(rows, promotion_deadline="3650d")
    before = await rows.value("select at from rollout_events where kind = 'awaiting_promotion'") + SPAN

    await ordered(rows)
    assert await near(rows) == []
    await ended(rows)

    [due] = await near(rows)
    assert due > before - HOUR


async def test_a_pause_puts_the_near_deadline_off_until_somebody_resumes(rows: Rows) -> None:
    opened = await waiting(rows, promotion_deadline="3650d")
    before = await rows.value("select at from rollout_events where kind = 'awaiting_promotion'") + SPAN

    await said(rows, opened, PAUSE)
    assert await near(rows) == []
    await said(rows, opened, RESUME)

    [due] = await near(rows)
    span = await rows.value("select until - since from pauses")
    assert due == before + span - HOUR


async def test_nobody_is_told_of_holds_where_nobody_is_to_be_told(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2", policy={"promotion_deadline": "10h"})
    await awaits(rows, opened, 1)

    await ordered(rows)
    await said(rows, opened, PAUSE)

    assert await rows.value("select count(*) from notifications") == 0
