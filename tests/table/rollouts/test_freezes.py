"""Freezes: who is held by them, from when until when, and what is told when they begin and end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.freeze import FreezesRead
from celadon.domain.language.states import Channel, RolloutPhase
from celadon.domain.language.steps import FreezesStep, PhaseStep, SwitchAnswer
from celadon.table.read.overview import list_deployments, view_deployment
from celadon.table.records.changes import Frozen, Unfrozen
from celadon.table.rollouts.freezes import MOST_FREEZES, FreezeOrder, UnfreezeOrder, freeze, unfreeze
from celadon.table.rollouts.route_sets import enter_phase, read_own_freezes
from celadon.table.rollouts.switch import switch
from tests.table.rows import NOW, TRUSTING, Opened, Rows

ANN = {"by": "ann", "door": Channel.CLI, "reason": "black friday", "verified": True, "issuer": "token"}


async def frozen(rows: Rows, deployment: str | None = "chat", **said: Any) -> Frozen:
    async with rows.table.transaction() as tx:
        return await freeze(tx, FreezeOrder(deployment=deployment, **ANN, **said))


async def thawed(rows: Rows, deployment: str | None = "chat") -> Unfrozen:
    async with rows.table.transaction() as tx:
        return await unfreeze(tx, UnfreezeOrder(deployment=deployment, **ANN | {"by": "ben"}))


def code(answer: SwitchAnswer) -> RefusalCode | None:
    return None if answer.refusal is None else answer.refusal.code


def hence(**span: float) -> datetime:
    return datetime.now(UTC) + timedelta(**span)


async def awaiting(rows: Rows) -> Opened:
    """Return a rollout with a blue that can be switched."""
    await rows.live()
    return await rows.ready("run-2")


async def own_freezes(rows: Rows, opened: Opened, since: datetime | None = None) -> FreezesRead:
    async with rows.table.transaction() as tx:
        step = FreezesStep(deployment="chat", rollout=opened.begun.rollout, since=since)
        return await read_own_freezes(tx, step)


async def news(rows: Rows) -> list[dict[str, Any]]:
    found = await rows.rows("select payload from outbox where signal = 'gate_changed' order by id")
    return [one["payload"] for one in found]


@pytest.mark.parametrize("deployment", ["chat", None])
async def test_nothing_is_switched_while_a_freeze_holds_and_the_refusal_says_whose_it_is(
    rows: Rows, deployment: str | None
) -> None:
    opened = await awaiting(rows)
    await frozen(rows, deployment)

    answer = await rows.switch(opened)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.FROZEN
    assert "by ann (black friday): nothing is switched until somebody ends it" in answer.refusal.message
    await thawed(rows, deployment)
    assert code(await rows.switch(opened)) is None


async def test_a_freeze_that_says_so_holds_rollbacks_too(rows: Rows) -> None:
    await rows.live()
    await rows.finish(await rows.switched("run-2"))
    back = await rows.ready("run-3", revision=1, rollback=True)
    await frozen(rows)
    await frozen(rows, None, rollbacks=False)
    step = {"message": None, "door": Channel.POLICY}

    assert code(await rows.switch(back, decision="a", **step)) is RefusalCode.FROZEN
    await thawed(rows, None)
    assert code(await rows.switch(back, decision="b", **step)) is None


async def test_a_freeze_of_another_deployment_holds_nothing(rows: Rows) -> None:
    opened = await awaiting(rows)
    await rows.begin("run-other", deployment="search")
    await frozen(rows, "search")

    assert code(await rows.switch(opened)) is None


async def test_a_planned_freeze_needs_nobody_who_begins_or_ends_it(rows: Rows) -> None:
    opened = await awaiting(rows)
    await frozen(rows, begins_at=hence(hours=1), ends_at=hence(hours=2))
    await rows.sql("update freezes set begins_at = now() - interval '1 minute'")
    assert code(await rows.switch(opened, decision="a")) is RefusalCode.FROZEN

    await rows.sql("update freezes set ends_at = now()")

    assert code(await rows.switch(opened, decision="b")) is None


async def test_a_freeze_that_is_to_come_holds_nothing_yet(rows: Rows) -> None:
    opened = await awaiting(rows)
    await frozen(rows, begins_at=hence(hours=1))

    assert code(await rows.switch(opened)) is None


async def test_a_moment_that_is_past_begins_now(rows: Rows) -> None:
    await rows.live()
    before = datetime.now(UTC) - timedelta(seconds=1)

    made = await frozen(rows, begins_at=hence(days=-3))

    assert made.begins_at > before


@pytest.mark.parametrize("ends_at", [timedelta(hours=-1), timedelta(hours=1)])
async def test_a_freeze_that_would_hold_nothing_is_refused(rows: Rows, ends_at: timedelta) -> None:
    await rows.live()

    with pytest.raises(RefusedError, match="it would hold nothing"):
        await frozen(rows, begins_at=hence(hours=2), ends_at=datetime.now(UTC) + ends_at)

    assert await rows.rows("select * from freezes") == []


@pytest.mark.parametrize("deployment", ["chat", None])
async def test_only_so_many_freezes_hold_or_are_to_come(rows: Rows, deployment: str | None) -> None:
    await rows.live()
    for _ in range(MOST_FREEZES):
        await frozen(rows, deployment)

    with pytest.raises(RefusedError) as told:
        await frozen(rows, deployment)
    assert told.value.refusal.code is RefusalCode.TOO_MANY_FREEZES

    await thawed(rows, deployment)
    await frozen(rows, deployment)


async def test_the_end_of_a_deployments_freezes_leaves_those_of_all(rows: Rows) -> None:
    opened = await awaiting(rows)
    await frozen(rows, None)
    await frozen(rows)
    await frozen(rows, begins_at=hence(hours=1))

    ended = await thawed(rows)

    assert [len(ended.ended), len(ended.left)] == [2, 1]
    assert code(await rows.switch(opened)) is RefusalCode.FROZEN


async def test_what_is_not_frozen_cannot_be_unfrozen_and_the_refusal_names_what_can(rows: Rows) -> None:
    await rows.live()
    await frozen(rows, None)

    with pytest.raises(RefusedError, match="celadon unfreeze --all") as told:
        await thawed(rows)

    assert told.value.refusal.code is RefusalCode.NOT_FROZEN


async def test_begin_and_end_are_told_to_each_rollout_before_its_switch(rows: Rows) -> None:
    opened = await awaiting(rows)
    other = await rows.begin("run-other", deployment="search")
    await frozen(rows)
    assert await news(rows) == [{"rollout": opened.begun.rollout, "what": "a freeze was ordered"}]

    await thawed(rows)
    await frozen(rows, None)

    told = {"rollout": other.rollout, "what": "a freeze was ordered"}
    assert (await news(rows))[1:] == [
        {"rollout": opened.begun.rollout, "what": "a freeze has ended"},
        {"rollout": opened.begun.rollout, "what": "a freeze was ordered"},
        told,
    ]


async def test_a_rollout_that_has_switched_hears_of_no_freeze(rows: Rows) -> None:
    await rows.live()
    await rows.switched("run-2")

    await frozen(rows)
    await frozen(rows, None)

    assert await news(rows) == []


async def test_the_audit_log_of_each_deployment_tells_who_froze_all(rows: Rows) -> None:
    opened = await awaiting(rows)
    await rows.begin("run-other", deployment="search")

    await frozen(rows, None)

    lines = await rows.rows(
        "select deployment, rollout, actor, door, verified, reason from rollout_events where kind = 'frozen' order by 1"
    )
    assert [(one["deployment"], one["actor"], one["door"], one["reason"]) for one in lines] == [
        ("chat", "ann", "cli", "black friday"),
        ("search", "ann", "cli", "black friday"),
    ]
    assert lines[0]["rollout"] == opened.begun.rollout
    assert lines[0]["verified"]


async def test_a_rollout_that_comes_to_its_promotion_is_told_what_holds_it(rows: Rows) -> None:
    opened = await awaiting(rows)
    step = PhaseStep(deployment="chat", rollout=opened.begun.rollout, phase=RolloutPhase.AWAITING_PROMOTION, at=NOW)
    async with rows.table.transaction() as tx:
        none = await enter_phase(tx, step)
    assert none is not None
    assert none.freezes == ()

    made = await frozen(rows)

    async with rows.table.transaction() as tx:
        told = await enter_phase(tx, step)
    assert told is not None
    assert [one.id for one in told.freezes] == [made.freeze]


async def test_freezes_that_have_ended_since_are_read_with_their_moments(rows: Rows) -> None:
    opened = await awaiting(rows)
    first = await own_freezes(rows, opened)
    await frozen(rows)
    await thawed(rows)

    read = await own_freezes(rows, opened, first.at)

    assert [one.ends_at is not None and one.ends_at <= read.at for one in read.freezes] == [True]
    assert (await own_freezes(rows, opened, read.at)).freezes == ()
    assert (await own_freezes(rows, opened)).freezes == ()


async def test_a_rollout_whose_clock_is_ahead_is_told_of_the_freeze_that_holds_it_and_that_it_has_ended(
    rows: Rows,
) -> None:
    opened = await awaiting(rows)
    step = PhaseStep(
        deployment="chat",
        rollout=opened.begun.rollout,
        phase=RolloutPhase.AWAITING_PROMOTION,
        at=NOW,
        freezes_since=hence(hours=1),
    )
    made = await frozen(rows, ends_at=hence(minutes=1))
    async with rows.table.transaction() as tx:
        told = await enter_phase(tx, step)
    assert told is not None
    assert [one.id for one in told.freezes] == [made.freeze]

    await thawed(rows)

    async with rows.table.transaction() as tx:
        told = await enter_phase(tx, step)
    assert told is not None
    assert told.freezes == ()


async def test_a_planned_freeze_that_was_taken_back_never_held(rows: Rows) -> None:
    opened = await awaiting(rows)
    first = await own_freezes(rows, opened)
    await frozen(rows, begins_at=hence(hours=1))
    await thawed(rows)

    read = await own_freezes(rows, opened, first.at)

    assert read.freezes == ()


async def test_views_and_lists_show_what_is_frozen(rows: Rows) -> None:
    await rows.live()
    await frozen(rows, None)
    await frozen(rows, begins_at=hence(hours=1))

    async with rows.table.transaction() as tx:
        view = await view_deployment(tx, "chat")
        [line] = await list_deployments(tx)

    assert view is not None
    assert [one.everywhere for one in view.freezes] == [False, True]
    assert view.frozen
    assert line.frozen


async def test_no_switch_commits_once_all_are_frozen(rows: Rows) -> None:
    """A switch that began before is waited for, and one that begins later is refused."""
    opened = await awaiting(rows)
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def switch_slowly() -> SwitchAnswer:
        async with rows.table.transaction() as tx:
            answer = await switch(tx, opened.switch_step(), TRUSTING)
            began.set()
            await goes_on.wait()
            return answer

    async with asyncio.TaskGroup() as group:
        switching = group.create_task(switch_slowly())
        await began.wait()
        freezing = group.create_task(frozen(rows, None))
        await _waits_for_a_lock(rows)
        assert not freezing.done()

        goes_on.set()

    assert code(switching.result()) is None
    made = freezing.result()
    switched_at = await rows.value("select switched_at from rollouts order by id desc limit 1")
    assert switched_at < made.begins_at


async def _waits_for_a_lock(rows: Rows) -> None:
    """Wait until somebody waits for an advisory lock."""
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    async with asyncio.timeout(60):
        while not await rows.value(waiting):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("said", [{"ends_at": hence(days=3651)}, {"begins_at": hence(days=3651)}])
async def test_a_freeze_that_no_timer_could_wait_for_is_refused(rows: Rows, said: dict[str, Any]) -> None:
    await rows.live()

    with pytest.raises(RefusedError, match="more than 3650d from now"):
        await frozen(rows, **said)
