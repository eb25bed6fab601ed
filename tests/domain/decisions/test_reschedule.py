"""Other timers for one rollout: what may change when, what lapses with what, and what the timers do then."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from celadon.domain.decisions.gate import DEADLINE_TIMER, PROMOTION_TIMER, GoAhead, GoBack, Wait, decide
from celadon.domain.decisions.narration import details, timers_told
from celadon.domain.decisions.pause import paused, resumed
from celadon.domain.decisions.reschedule import changed_timers, refuse_reschedule, rescheduled, rescheduled_policy
from celadon.domain.language.commands import PauseCommand, RescheduleCommand
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, OnDeadline, resolve_policy
from celadon.domain.language.progress import Hold, HoldKind, Progress
from celadon.domain.language.states import Channel, RolloutPhase
from tests.domain.rollouts import NOW, before, green, rollout

HOUR = timedelta(hours=1)
PERSON = resolve_policy()
TIMED = resolve_policy(BlueGreenPolicy(auto_promote=True, promote_after=HOUR))
BOUNDED = resolve_policy(BlueGreenPolicy(promotion_deadline=3 * HOUR, on_deadline=OnDeadline.PROMOTE))
MOMENT = datetime(2026, 12, 1, 6, tzinfo=UTC)
BEFORE = (RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION)


def command(**said: Any) -> RescheduleCommand:
    return parse_payload(RescheduleCommand, {"by": "ann", "reason": "ben looks", **said})


def waiting(policy: BlueGreenPolicy = TIMED, **fields: Any) -> Progress:
    """Return a rollout whose green was verified half an hour ago."""
    known = {"rollout": 7, "green": green(), "verified_since": before(minutes=30), "waited_since": before(minutes=30)}
    return rollout(RolloutPhase.AWAITING_PROMOTION, policy=policy, **(known | fields))


def changed(progress: Progress, **said: Any) -> Progress:
    asked = command(**said)
    return rescheduled(progress, rescheduled_policy(progress.policy, asked), asked, NOW)


@pytest.mark.parametrize("phase", RolloutPhase)
def test_timers_change_before_the_switch_and_not_after_it(phase: RolloutPhase) -> None:
    refusal = refuse_reschedule(rollout(phase), command(auto_promote=True))

    assert (refusal is None) is (phase in BEFORE)
    assert refusal is None or refusal.code is RefusalCode.NOTHING_TO_RESCHEDULE


def test_a_first_deployment_has_no_timer_to_be_changed() -> None:
    refusal = refuse_reschedule(waiting(gated=False), command(auto_promote=False))

    assert refusal is not None
    assert refusal.code is RefusalCode.NOTHING_TO_RESCHEDULE
    assert "as soon as it is healthy" in refusal.message


@pytest.mark.parametrize(
    ("policy", "said", "code"),
    [
        (TIMED, {}, RefusalCode.INVALID_PAYLOAD),
        (TIMED, {"rollout": 8, "auto_promote": True}, RefusalCode.WRONG_ROLLOUT),
        (PERSON, {"promote_after": "1h"}, RefusalCode.POLICY_CONFLICT),
        (PERSON, {"promote_at": "2026-12-01T06:00:00Z"}, RefusalCode.POLICY_CONFLICT),
        (TIMED, {"auto_promote": False, "promote_after": "1h"}, RefusalCode.POLICY_CONFLICT),
    ],
)
def test_what_has_no_effect_is_refused(policy: BlueGreenPolicy, said: dict[str, Any], code: RefusalCode) -> None:
    refusal = refuse_reschedule(waiting(policy), command(**said))

    assert refusal is not None
    assert refusal.code is code


@pytest.mark.parametrize(
    "said",
    [
        {"promote_after": "-1s"},
        {"promote_at": "2026-12-01T06:00:00"},
        {"promotion_deadline": "20000d"},
        {"without": ["auto_promote"]},
        {"without": ["promote_at"] * 3},
        {"bake": "1h"},
        {"auto_promote": "yes"},
        {"reason": "x" * 2_001},
    ],
)
def test_what_is_no_timer_does_not_parse(said: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, Exception), match=r".+") as refused:
        command(**said)
    assert getattr(refused.value, "refusal", None) is not None


@pytest.mark.parametrize(
    ("policy", "said", "changes"),
    [
        (TIMED, {"promote_after": "2h"}, {"promote_after": "1h → 2h"}),
        (TIMED, {"promote_after": 0}, {"promote_after": "1h → 0s"}),
        (TIMED, {"auto_promote": False}, {"auto_promote": "true → false", "promote_after": "1h → 0s"}),
        (TIMED, {"promote_at": "2026-12-01T07:00:00+01:00"}, {"promote_at": "none → 2026-12-01 06:00:00 UTC"}),
        (TIMED, {"promotion_deadline": "1d"}, {"promotion_deadline": "none → 1d"}),
        (BOUNDED, {"without": ["promotion_deadline"]}, {"promotion_deadline": "3h → none"}),
        (PERSON, {"auto_promote": True}, {"auto_promote": "false → true"}),
        (TIMED, {"auto_promote": True}, {}),
        (TIMED, {"without": ["promote_at"]}, {}),
    ],
)
def test_what_is_not_given_stays(policy: BlueGreenPolicy, said: dict[str, Any], changes: dict[str, str]) -> None:
    after = rescheduled_policy(policy, command(**said))

    assert changed_timers(policy, after) == changes
    assert after.model_fields_set == policy.model_fields_set


def test_reschedule_while_waiting_moves_the_timer_that_counts_from_verified() -> None:
    later = changed(waiting(), promote_after="2h")

    assert decide(later, NOW) == Wait(timers=((PROMOTION_TIMER, before(minutes=30) + 2 * HOUR),))
    assert isinstance(decide(later, before(minutes=30) + 2 * HOUR), GoAhead)


def test_a_delay_that_is_over_with_the_new_timers_promotes_at_once() -> None:
    assert isinstance(decide(changed(waiting(), promote_after="10m"), NOW), GoAhead)


def test_a_timer_that_is_switched_off_leaves_the_switch_to_a_person() -> None:
    assert decide(changed(waiting(), auto_promote=False), NOW + 10 * HOUR) == Wait(timers=())


def test_a_deadline_counts_from_the_first_moment_that_green_waited() -> None:
    bounded = changed(waiting(PERSON), promotion_deadline="1h")

    assert decide(bounded, NOW) == Wait(timers=((DEADLINE_TIMER, before(minutes=30) + HOUR),))
    assert isinstance(decide(bounded, before(minutes=30) + HOUR), GoBack)


def test_reschedule_while_paused_keeps_the_timers_still_and_counts_once_they_run_on() -> None:
    stopped = paused(waiting(), PauseCommand(), Channel.API, NOW)
    later = changed(stopped, promote_after="2h")

    assert decide(later, NOW + 10 * HOUR) == Wait(timers=())
    going = resumed(later, NOW + 10 * HOUR)
    assert decide(going, NOW + 10 * HOUR) == Wait(timers=((PROMOTION_TIMER, NOW + 11.5 * HOUR),))


def test_new_timers_end_the_hold_of_a_policy_that_left_the_switch_to_a_person() -> None:
    left = Hold(kind=HoldKind.NOT_BY_ITSELF, since=NOW, why="a person decides")
    frozen = Hold(kind=HoldKind.FROZEN, since=NOW, why="frozen", ended_by="gate_changed")

    assert changed(waiting(hold=left), promote_after="10m").hold is None
    assert changed(waiting(hold=frozen), promote_after="10m").hold == frozen


def test_people_are_told_who_set_the_timers() -> None:
    progress = changed(waiting(), promote_after="2h")

    assert timers_told(progress) == f"timers set by ann at {NOW:%Y-%m-%d %H:%M:%S} UTC (ben looks)"
    assert "timers set by `ann`" in details(progress, NOW, (), ())
    assert timers_told(progress.with_changes(phase=RolloutPhase.BAKING)) == ""
    assert timers_told(waiting()) == ""
