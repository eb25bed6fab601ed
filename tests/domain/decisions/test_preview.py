"""A preview: how many replicas it has, and what a rollout does while it grows."""

from datetime import timedelta
from typing import Any

import pytest

from celadon.domain.decisions.gate import GateDecision, GoAhead, GoBack, OpenGreen, Wait, decide
from celadon.domain.decisions.narration import details, growth_told, holding_reason, next_step
from celadon.domain.decisions.pause import resumed
from celadon.domain.decisions.preview import growing_since, opens_as_preview, size_of_green
from celadon.domain.decisions.promotion import refuse_promotion
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.contracts import ROOM_CHANGED
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.growth import Growth
from celadon.domain.language.pause import Pause
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import Hold, HoldKind, Progress
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from tests.domain.rollouts import NOW, abort, before, green, promotion, rollout

WHY = "no room for 2 more replicas of chat: its sets have 5, and max_total_replicas is 6"
ANNS = Growth(by="ann", door=Channel.CLI, reason="reviewed", at=NOW, wanted=3, seq=1)
TIMERS = ANNS.model_copy(update={"door": Channel.TIMER, "by": "policy"})
WAITS = ANNS.model_copy(update={"no_room": WHY})
NO_ROOM = Hold(kind=HoldKind.NO_ROOM, since=before(minutes=1), why=WHY, ended_by=ROOM_CHANGED)
PAUSED = Pause(by="ben", door=Channel.CLI, reason="", since=before(minutes=1))


@pytest.mark.parametrize(
    ("preview", "replicas", "is_preview", "size"),
    [(None, 3, True, 3), (1, 3, True, 1), (1, 3, False, 3), (5, 3, True, 3), (1, 0, True, 0)],
)
def test_how_many_replicas_green_wants(preview: int | None, replicas: int, size: int, *, is_preview: bool) -> None:
    policy = BlueGreenPolicy(preview_replicas=preview)

    assert size_of_green(policy, replicas, is_preview=is_preview) == size


def test_only_a_green_that_waits_for_a_promotion_is_opened_as_a_preview() -> None:
    assert opens_as_preview(BlueGreenPolicy(preview_replicas=1), gated=True)
    assert not opens_as_preview(BlueGreenPolicy(preview_replicas=1), gated=False)
    assert not opens_as_preview(BlueGreenPolicy(), gated=True)


# Before green is opened.


def unopened(**fields: Any) -> Progress:
    given = {"green_set": None, "green": None, "verified_since": None, "waited_since": None}
    return rollout(RolloutPhase.PROVISIONING, **given | fields)


def test_green_is_opened_when_nothing_says_that_there_is_no_room() -> None:
    assert decide(unopened(), NOW) == OpenGreen()


def test_a_green_without_room_is_waited_for_without_a_timer() -> None:
    held = unopened(hold=NO_ROOM)

    assert decide(held, NOW) == Wait(timers=())
    assert decide(held, NOW + timedelta(days=30)) == Wait(timers=())
    assert f"{WHY}; green is opened as soon as there is room; " in holding_reason(held, NOW)


def test_an_abort_beats_the_wait_for_room() -> None:
    decision = decide(unopened(hold=NO_ROOM, abort=abort()), NOW)

    assert isinstance(decision, GoBack)


# While green grows.


def growing(growth: Growth = ANNS, **fields: Any) -> Progress:
    return rollout(RolloutPhase.VERIFYING, growth=growth, unverified_since=before(minutes=1), **fields)


@pytest.mark.parametrize(
    ("progress", "decision"),
    [
        (growing(), GoAhead(by="ann", door=Channel.CLI, reason="reviewed", grown=True)),
        (growing(green=None), Wait),
        (growing(green=green(SetCondition.RUNNING, ready=1)), Wait),
        (growing(green=green(SetCondition.RUNNING, ready=1), regressions=99), Wait),
        (growing(paused=PAUSED), GoAhead(by="ann", door=Channel.CLI, reason="reviewed", grown=True)),
        (growing(TIMERS, paused=PAUSED), Wait),
        (growing(TIMERS), GoAhead(by="policy", door=Channel.TIMER, reason="reviewed", grown=True)),
        (growing(WAITS, hold=NO_ROOM), Wait),
        (growing(WAITS), GoAhead(by="ann", door=Channel.CLI, reason="reviewed", grown=True)),
        (growing(abort=abort()), GoBack),
        (growing(green=green(SetCondition.FAILED)), GoBack),
        (growing(green=None, promotion=promotion(force=True, reason="now")), Wait),
    ],
)
def test_what_a_rollout_does_while_green_grows(progress: Progress, decision: GateDecision | type) -> None:
    decided = decide(progress, NOW)

    assert isinstance(decided, decision) if isinstance(decision, type) else decided == decision


@pytest.mark.parametrize(
    ("growth", "fields", "why"),
    [
        (ANNS, {"green": green(SetCondition.RUNNING, ready=1)}, "(3 of 3 ran, 1 of 3 were healthy)"),
        (ANNS, {"green": None}, "within 10m"),
        (WAITS, {"hold": NO_ROOM}, f"({WHY})"),
    ],
)
def test_growth_that_takes_too_long_aborts_with_that_reason(growth: Growth, fields: dict[str, Any], why: str) -> None:
    progress = growing(growth, **fields)
    assert isinstance(decide(progress, NOW + timedelta(minutes=8)), Wait)

    decision = decide(progress, NOW + timedelta(minutes=9))

    assert isinstance(decision, GoBack)
    assert decision.outcome is RolloutOutcome.ABORTED
    assert decision.reason.startswith("green did not grow to 3 healthy replicas within 10m")
    assert decision.reason.endswith(why)


def test_a_pause_holds_up_the_time_that_growth_may_take() -> None:
    progress = growing(green=None, paused=PAUSED)
    assert decide(progress, NOW + timedelta(days=1)) == Wait(timers=())

    later = resumed(progress, NOW + timedelta(hours=1))

    assert isinstance(decide(later, NOW + timedelta(hours=1, minutes=8)), Wait)
    assert isinstance(decide(later, NOW + timedelta(hours=1, minutes=10)), GoBack)


@pytest.mark.parametrize("command", [{}, {"force": True, "reason": "now"}])
def test_a_promotion_while_green_grows_is_refused_with_who_has_decided(command: dict[str, Any]) -> None:
    refusal = refuse_promotion(growing(), PromoteCommand(by="ben", **command))

    assert refusal is not None
    assert refusal.code is RefusalCode.ALREADY_DECIDED
    assert "already decided by ann" in refusal.message


def test_people_are_told_what_green_grows_to_and_who_has_decided() -> None:
    progress = growing()

    assert growth_told(ANNS).startswith("green grows to 3, is verified again, then traffic switches: decided by ann")
    assert "green grows to 3, is verified again" in details(progress, NOW, (), ())
    assert "until green has grown to 3" in next_step(progress, NOW)


def test_people_are_told_of_the_room_that_growth_waits_for() -> None:
    progress = growing(WAITS, hold=NO_ROOM)

    assert f"{WHY}; green grows to 3 as soon as there is room; " in holding_reason(progress, NOW)
    assert "make some: celadon deployment scale chat N" in next_step(progress, NOW)


def test_what_the_keeper_told_before_green_grew_says_nothing_of_it() -> None:
    later = ANNS.model_copy(update={"seq": 2})

    assert growing_since(rollout(), later, NOW).green is None
    assert growing_since(rollout(), ANNS, NOW).green == rollout().green
    failed = rollout(green=green(SetCondition.FAILED))
    assert growing_since(failed, later, NOW).green_failed


def test_growth_that_finds_room_has_its_time_anew_and_one_that_waits_on_has_not() -> None:
    waiting = growing_since(rollout(), WAITS, NOW)
    later = NOW + timedelta(minutes=5)

    assert waiting.unverified_since == NOW
    assert growing_since(waiting, WAITS, later).unverified_since == NOW
    assert growing_since(waiting, ANNS, later).unverified_since == later
