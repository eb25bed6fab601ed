"""What a rollout asks for when a step is refused for the moment, and who owes it."""

import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.commands import BakeCommand
from celadon.domain.language.contracts import WITHDRAW
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.states import Channel, RolloutOutcome, RouteHealthStatus, RouteStatus
from celadon.domain.language.steps import Judged, JudgeStep, Message, PendingAsker, SwitchAnswer
from celadon.table.rollouts.pending_aborts import MOST_ASKERS
from celadon.table.rollouts.route_sets import judge
from celadon.table.rollouts.switch import switch_back
from tests.table.rows import HEALTHY, TRUSTING, Opened, Rows, rollback

UNHEALTHY, DEGRADED = RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED
_decisions = itertools.count(1)


async def owed(rows: Rows) -> list[tuple[str, dict[str, Any]]]:
    """Return the signals that are owed and not green's own edges."""
    found = await rows.rows("select signal, payload from outbox where signal <> 'green_changed' order by id")
    return [(one["signal"], one["payload"]) for one in found]


async def asks(rows: Rows, opened: Opened) -> tuple[str | None, dict[str, Any] | None]:
    """Return what a rollout asks for, and the abort that is pending."""
    [row] = await rows.rows(
        "select awaits_signal, pending_abort from rollouts where id = :id",
        id=opened.begun.rollout,
    )
    return row["awaits_signal"], row["pending_abort"]


def code(answer: SwitchAnswer) -> RefusalCode | None:
    return None if answer.refusal is None else answer.refusal.code


async def go_back(rows: Rows, opened: Opened, authority: Authority = TRUSTING, **changes: Any) -> SwitchAnswer:
    """Ask for the way back as a rollout does that keeps asking."""
    decision = {"decision": f"run-2/{next(_decisions)}", "keeps_asking": True}
    step = opened.switch_back_step(**decision).model_copy(update=changes)
    async with rows.table.transaction() as tx:
        return await switch_back(tx, step, authority)


async def baking(rows: Rows, *, healthy: int = 1, replicas: int = 3, **request: Any) -> tuple[Opened, Opened]:
    """Return blue, of which so many replicas are healthy, and a rollout that bakes beside it."""
    blue = await rows.live(replicas=replicas)
    opened = await rows.switched("run-2", replicas=replicas, **request)
    for route in blue.routes[healthy:]:
        await rows.set_health(blue, route, UNHEALTHY, "status 500")
    return blue, opened


# A way back that blue cannot take for the moment.


async def test_a_way_back_that_blue_cannot_take_for_the_moment_asks_for_blue(rows: Rows) -> None:
    _, opened = await baking(rows)

    answer = await go_back(rows, opened)

    assert answer.refusal is not None
    assert answer.refusal.message == "blue cannot take the traffic for the moment (1 of 3 healthy, 3 required)"
    signal, pending = await asks(rows, opened)
    assert signal == "blue_changed"
    assert pending is not None
    assert (pending["by"], pending["reason"]) == ("ann", "reviewed")
    [event] = await rows.rows("select actor, reason, evidence from rollout_events where kind = 'abort_pending'")
    assert (event["actor"], event["reason"]) == ("ann", "reviewed")
    assert event["evidence"] == {"healthy": "1", "required": "3", "of": "3"}


async def test_the_audit_log_tells_of_a_pending_abort_once(rows: Rows) -> None:
    _, opened = await baking(rows)

    for _ in range(3):
        assert code(await go_back(rows, opened)) is RefusalCode.NO_HEALTHY_BLUE

    assert await rows.value("select count(*) from rollout_events where kind = 'abort_pending'") == 1


async def test_a_rollout_is_told_once_when_blue_can_take_the_traffic(rows: Rows) -> None:
    blue, opened = await baking(rows)
    await go_back(rows, opened)

    await rows.set_health(blue, blue.routes[1], HEALTHY)
    assert await owed(rows) == []
    await rows.set_health(blue, blue.routes[2], HEALTHY)
    await rows.set_health(blue, blue.routes[2], DEGRADED)
    await rows.set_health(blue, blue.routes[2], HEALTHY)

    [(signal, payload)] = await owed(rows)
    assert signal == "blue_changed"
    assert (payload["rollout"], payload["route_set"]) == (opened.begun.rollout, blue.green)
    assert (payload["ready"], payload["required"], payload["wanted"], payload["gone"]) == (3, 3, 3, False)
    assert (await asks(rows, opened))[0] is None
    assert code(await go_back(rows, opened)) is None
    assert await asks(rows, opened) == (None, None)


async def test_each_fruitless_attempt_asks_again_and_is_told_with_a_higher_number(rows: Rows) -> None:
    blue, opened = await baking(rows, healthy=2)
    for _ in range(2):
        await go_back(rows, opened)
        await rows.set_health(blue, blue.routes[2], HEALTHY)
        await rows.set_health(blue, blue.routes[2], UNHEALTHY)

    first, second = [payload["seq"] for _, payload in await owed(rows)]
    assert first < second


async def test_nobody_is_told_of_blue_who_does_not_ask(rows: Rows) -> None:
    blue, _ = await baking(rows)

    for route in blue.routes:
        await rows.set_health(blue, route, HEALTHY)

    assert await owed(rows) == []


async def _green_sickens(rows: Rows, blue: Opened, opened: Opened) -> None:
    del blue
    await rows.set_health(opened, opened.routes[0], UNHEALTHY)


async def _green_dies(rows: Rows, blue: Opened, opened: Opened) -> None:
    del blue
    await rows.end(opened, opened.routes[0])


async def _fewer_are_wanted(rows: Rows, blue: Opened, opened: Opened) -> None:
    del blue, opened
    await rows.scale(1)


@pytest.mark.parametrize("happens", [_green_sickens, _green_dies, _fewer_are_wanted])
async def test_a_rollout_is_told_of_blue_whatever_lets_it_take_the_traffic(
    rows: Rows,
    happens: Callable[[Rows, Opened, Opened], Awaitable[None]],
) -> None:
    blue, opened = await baking(rows)
    await go_back(rows, opened)

    await happens(rows, blue, opened)

    assert [signal for signal, _ in await owed(rows)] == ["blue_changed"]
    assert code(await go_back(rows, opened)) is None


async def test_blue_is_not_closed_while_an_abort_is_pending(rows: Rows) -> None:
    blue, opened = await baking(rows)
    await go_back(rows, opened)

    end = await rows.close(opened, blue.green)

    assert end is not None
    assert end.refusal is not None
    assert end.refusal.code is RefusalCode.ABORT_REQUESTED
    assert await rows.value("select state from route_sets where id = :id", id=blue.green) == "open"


async def test_a_rollout_that_does_not_keep_asking_leaves_blue_to_its_drain(rows: Rows) -> None:
    """One that began before aborts were kept drains blue when its bake is over, whatever it was refused."""
    blue, opened = await baking(rows)
    await go_back(rows, opened, keeps_asking=False)

    assert await rows.close(opened, blue.green) is None


async def test_a_sick_blue_that_drains_may_recover_until_none_of_it_runs(rows: Rows) -> None:
    blue, opened = await baking(rows, healthy=0, replicas=2)
    await rows.close(opened, blue.green)

    assert code(await go_back(rows, opened)) is RefusalCode.NO_HEALTHY_BLUE
    await rows.end(blue, blue.routes[0], status=RouteStatus.TERMINATED)
    assert await owed(rows) == []
    await rows.end(blue, blue.routes[1], status=RouteStatus.TERMINATED)

    [(signal, payload)] = await owed(rows)
    assert (signal, payload["gone"]) == ("blue_changed", True)
    assert code(await go_back(rows, opened)) is RefusalCode.BLUE_DRAINED
    assert await asks(rows, opened) == (None, None)


async def test_one_replica_of_a_blue_that_drains_is_enough_when_it_recovers(rows: Rows) -> None:
    blue, opened = await baking(rows, healthy=0, replicas=2)
    await rows.close(opened, blue.green)
    await go_back(rows, opened)

    await rows.set_health(blue, blue.routes[1], HEALTHY)

    assert [signal for signal, _ in await owed(rows)] == ["blue_changed"]
    assert code(await go_back(rows, opened)) is None


async def test_a_pending_abort_that_was_signed_counts_after_it_has_ceased_to_be_valid(rows: Rows) -> None:
    believing = Authority(unsigned=Unsigned.NONE, verifies=lambda _, signature: signature == "signed")
    blue, opened = await baking(rows)
    soon = datetime.now(UTC) + timedelta(hours=1)
    message = rollback(valid_until=soon.isoformat(), signature="signed", rights=["rollback"], door="api")
    assert code(await go_back(rows, opened, believing, message=message)) is RefusalCode.NO_HEALTHY_BLUE
    distrusting = Authority(unsigned=Unsigned.NONE, verifies=lambda *_: False)
    for route in blue.routes:
        await rows.set_health(blue, route, HEALTHY)

    answer = await go_back(rows, opened, distrusting, message=message)

    assert code(answer) is None
    [event] = await rows.rows("select actor, door, verified from rollout_events where kind = 'switched_back'")
    assert (event["actor"], event["door"], event["verified"]) == ("ann", "api", True)


async def test_another_message_than_the_pending_one_is_judged(rows: Rows) -> None:
    distrusting = Authority(unsigned=Unsigned.NONE)
    _, opened = await baking(rows)
    await go_back(rows, opened)
    before = await asks(rows, opened)

    answer = await go_back(rows, opened, distrusting, message=rollback(by="eve"))

    assert (code(answer), answer.message_refused) == (RefusalCode.UNSIGNED, True)
    assert await asks(rows, opened) == before


async def test_a_pending_cancellation_is_tried_again(rows: Rows) -> None:
    blue, opened = await baking(rows)
    cancel: dict[str, Any] = {"message": None, "door": Channel.CANCEL, "by": "cancellation"}
    await go_back(rows, opened, **cancel)
    for route in blue.routes:
        await rows.set_health(blue, route, HEALTHY)

    assert code(await go_back(rows, opened, **cancel)) is None


# Several who want the way back.


CANCEL: dict[str, Any] = {"message": None, "door": Channel.CANCEL, "by": "cancellation"}


async def withdraw(rows: Rows, opened: Opened, by: str) -> Judged:
    message = Message(verb=WITHDRAW, came_by=Channel.UPDATE, command=BakeCommand(by=by))
    step = JudgeStep(deployment="chat", rollout=opened.begun.rollout, messages=(message,), at=datetime.now(UTC))
    async with rows.table.transaction() as tx:
        return await judge(tx, step, TRUSTING)


async def test_a_withdrawal_leaves_the_aborts_of_others(rows: Rows) -> None:
    blue, opened = await baking(rows)
    await go_back(rows, opened)
    await go_back(rows, opened, message=rollback(by="ben", reason="errors"))

    first = await withdraw(rows, opened, "ann")

    assert first.refusals == (None,)
    assert first.pending == PendingAsker(by="ben", door=Channel.UPDATE, reason="errors")
    end = await rows.close(opened, blue.green)
    assert end is not None
    assert end.refusal is not None
    assert end.refusal.code is RefusalCode.ABORT_REQUESTED
    last = await withdraw(rows, opened, "ben")
    assert (last.refusals, last.pending) == ((None,), None)
    assert await asks(rows, opened) == (None, None)


async def test_who_did_not_ask_takes_nothing_back(rows: Rows) -> None:
    _, opened = await baking(rows)
    await go_back(rows, opened)
    await go_back(rows, opened, message=rollback(by="ben"))
    before = await asks(rows, opened)

    judged = await withdraw(rows, opened, "eve")

    assert judged.refusals[0] is not None
    assert judged.refusals[0].code is RefusalCode.FORBIDDEN
    assert "aborts by ann, ben" in judged.refusals[0].message
    assert await asks(rows, opened) == before


@pytest.mark.parametrize("by", ["ann", "cancellation"])
async def test_a_cancellation_is_taken_back_by_nobody(rows: Rows, by: str) -> None:
    _, opened = await baking(rows)
    await go_back(rows, opened)
    await go_back(rows, opened, **CANCEL)

    await withdraw(rows, opened, by)
    await withdraw(rows, opened, "ann")

    _, pending = await asks(rows, opened)
    assert pending is not None
    assert pending["by"] == "cancellation"


async def test_a_rollout_that_lost_a_message_goes_back_for_whoever_is_left(rows: Rows) -> None:
    blue, opened = await baking(rows)
    await go_back(rows, opened)
    await go_back(rows, opened, message=rollback(by="ben", reason="errors"))
    await withdraw(rows, opened, "ann")
    for route in blue.routes:
        await rows.set_health(blue, route, HEALTHY)

    answer = await go_back(rows, opened, Authority(unsigned=Unsigned.NONE), message=None, door=Channel.POLICY, by="ben")

    assert code(answer) is None
    [event] = await rows.rows("select actor, reason from rollout_events where kind = 'switched_back'")
    assert (event["actor"], event["reason"]) == ("ben", "errors")


async def test_one_person_is_kept_once_and_few_are_kept(rows: Rows) -> None:
    blue, opened = await baking(rows)
    for reason in ("one", "two"):
        await go_back(rows, opened, message=rollback(by="ann", reason=reason))
    for number in range(MOST_ASKERS - 1):
        await go_back(rows, opened, message=rollback(by=f"p{number}"))
    before = await asks(rows, opened)

    answer = await go_back(rows, opened, message=rollback(by="one more"))

    assert (code(answer), answer.message_refused) == (RefusalCode.TOO_MANY_MESSAGES, True)
    assert await asks(rows, opened) == before
    for route in blue.routes:
        await rows.set_health(blue, route, HEALTHY)
    assert code(await go_back(rows, opened, message=rollback(by="one more"))) is None


async def test_what_an_earlier_release_kept_is_read(rows: Rows) -> None:
    _, opened = await baking(rows)
    await go_back(rows, opened)
    async with rows.table.transaction() as tx:
        await tx.execute(text("update rollouts set pending_abort = pending_abort - 'others'"))

    await go_back(rows, opened, message=rollback(by="ben"))

    assert (await withdraw(rows, opened, "ann")).pending is not None


async def test_a_rollout_that_has_ended_asks_for_nothing(rows: Rows) -> None:
    blue, opened = await baking(rows)
    await go_back(rows, opened)

    await rows.finish(opened, RolloutOutcome.PROMOTED)

    assert await asks(rows, opened) == (None, None)
    await rows.set_health(blue, blue.routes[1], HEALTHY)
    await rows.set_health(blue, blue.routes[2], HEALTHY)
    assert await owed(rows) == []
