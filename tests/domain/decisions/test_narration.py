"""What a rollout says of itself to people."""

from datetime import timedelta

import pytest

from celadon.domain.decisions.gate import PROMOTION_TIMER, PROVISIONING_TIMER
from celadon.domain.decisions.narration import details, holding_reason, next_step, request_details, timer_summary
from celadon.domain.language.approval import Approval, ApprovalRule
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import Hold, HoldKind, PendingAbort
from celadon.domain.language.shown_text import find_control
from celadon.domain.language.states import Channel, RolloutPhase, SetCondition
from tests.domain.rollouts import NOW, abort, green, rollout

AWAITING = RolloutPhase.AWAITING_PROMOTION


@pytest.mark.parametrize("phase", list(RolloutPhase))
def test_every_phase_has_a_next_step_and_details(phase: RolloutPhase) -> None:
    progress = rollout(phase)

    assert next_step(progress, NOW)
    assert details(progress, NOW, (), ()).startswith(f"### chat: {phase.value.replace('_', ' ')}")


@pytest.mark.parametrize(
    ("phase", "live"),
    [
        (RolloutPhase.PROVISIONING, "blue, r1"),
        (RolloutPhase.AWAITING_PROMOTION, "blue, r1"),
        (RolloutPhase.BAKING, "green, r2"),
        (RolloutPhase.DRAINING, "green, r2"),
        (RolloutPhase.ROLLING_BACK, "blue, r1"),
    ],
)
def test_details_say_what_is_live(phase: RolloutPhase, live: str) -> None:
    assert f"- live: **{live}**" in details(rollout(phase), NOW, (), ())


def test_a_first_deployment_has_nothing_live_yet() -> None:
    assert "- live: **nothing**" in details(rollout(from_revision=None, blue_set=None), NOW, (), ())


def test_details_hold_the_exact_commands_to_promote_and_to_abort() -> None:
    told = details(rollout(), NOW, (), ())

    assert 'temporal workflow update execute -w rollout-chat --name promote --input \'{"revision": 2, ' in told
    assert "temporal workflow signal -w rollout-chat --name abort" in told


def test_details_of_a_bake_hold_the_way_back() -> None:
    told = details(rollout(RolloutPhase.BAKING), NOW, (), ())

    assert "temporal workflow update execute -w rollout-chat --name rollback" in told


def test_details_tell_the_timers_that_run() -> None:
    assert "- timer: automatic promotion at 2026-03-01 12:00:00 UTC" in details(
        rollout(), NOW, ((PROMOTION_TIMER, NOW),), ()
    )


def test_details_say_when_only_a_person_decides() -> None:
    assert "- timer: none, a person decides" in details(rollout(), NOW, (), ())


def test_details_tell_greens_last_error() -> None:
    edge = green(SetCondition.RUNNING, last_error="exit code 1")

    assert "0 healthy, 3 required · last error: `exit code 1`" in details(rollout(green=edge), NOW, (), ())


def test_details_name_the_silent_routers() -> None:
    told = details(rollout(RolloutPhase.BAKING), NOW, (), ("edge-1", "edge-2"))

    assert "**routers silent**: `edge-1`, `edge-2`" in told


@pytest.mark.parametrize("phase", list(RolloutPhase))
def test_a_rollout_holds_only_before_the_switch(phase: RolloutPhase) -> None:
    progress = rollout(phase, policy=BlueGreenPolicy(max_regressions=1), regressions=2)

    assert bool(holding_reason(progress, NOW)) is (phase in {RolloutPhase.VERIFYING, AWAITING})


PENDING = PendingAbort(request=abort(by="ann"), since=NOW, why="blue cannot take the traffic for the moment")


@pytest.mark.parametrize("phase", list(RolloutPhase))
def test_a_pending_abort_is_told_while_there_may_be_a_way_back(phase: RolloutPhase) -> None:
    told = holding_reason(rollout(phase, pending=PENDING), NOW)

    assert bool(told) is (phase in {RolloutPhase.BAKING, RolloutPhase.DRAINING})
    assert told.startswith("an abort by ann is pending since 2026-03-01 12:00:00 UTC: blue cannot") or not told


def test_details_tell_of_a_pending_abort_whose_sender_is_code() -> None:
    told = details(rollout(RolloutPhase.BAKING, pending=PENDING), NOW, (), ())

    assert "- **holding**: an abort by `ann` is pending since 2026-03-01 12:00:00 UTC" in told


@pytest.mark.parametrize("kind", list(HoldKind))
def test_a_hold_is_told_with_what_ends_it_and_what_to_do(kind: HoldKind) -> None:
    policy = BlueGreenPolicy(approvals=ApprovalRule(count=2) if kind is HoldKind.APPROVALS else None)
    held = rollout(AWAITING, policy=policy, hold=Hold(kind=kind, since=NOW, why="the reason"))

    told = holding_reason(held, NOW)

    why = "0 of 2 approved; 2 approvals are missing" if kind is HoldKind.APPROVALS else "the reason; "
    assert told.startswith(f"since 2026-03-01 12:00:00 UTC: {why}")
    assert "{" not in told
    assert next_step(held, NOW) != next_step(rollout(AWAITING), NOW)
    assert "a person decides" not in details(held, NOW, (), ())


def test_details_tell_who_has_approved_and_how_to_approve() -> None:
    ann = Approval(by="`ann`", issuer="idp", door=Channel.API, at=NOW)
    waiting = rollout(AWAITING, policy=BlueGreenPolicy(approvals=ApprovalRule(count=2)), approvals=(ann,))

    told = details(waiting, NOW, (), ())

    assert "- approvals: 1 of 2 approved (`` `ann` `` at 2026-03-01 12:00:00 UTC)" in told
    assert "celadon promote chat --revision 2" in told
    assert "--name promote" not in told
    assert next_step(waiting, NOW).startswith("approve: celadon promote chat")


@pytest.mark.parametrize(("timer", "verb"), [(PROMOTION_TIMER, "promotes"), (PROVISIONING_TIMER, "ends")])
def test_a_timers_bar_says_what_it_does_and_when(timer: str, verb: str) -> None:
    assert (
        timer_summary(timer, NOW + timedelta(minutes=5), NOW) == f"{timer}: {verb} in 5m unless a message comes first"
    )


HOSTILE = "![x](http://evil.example/x.png) <img src=x> `y` https://evil.example\n\n# heading\x1b[31m\u202e"


def test_words_of_programs_are_code_in_the_details() -> None:
    edge = green(SetCondition.RUNNING, last_error=HOSTILE)

    told = details(rollout(RolloutPhase.BAKING, green=edge), NOW, (), (HOSTILE,))

    assert told.count("``![x](http://evil.example/x.png) <img src=x> `y` https://evil.example # heading") == 2
    assert not find_control(told, prose=True)
    assert all(not line.startswith("# ") for line in told.splitlines())


def test_words_of_people_are_code_in_the_details_of_a_request() -> None:
    told = request_details(HOSTILE, HOSTILE)

    assert told.startswith("requested by ``![x]")
    assert [line[:5] for line in told.splitlines()] == ["reque", "", "``![x"]
    assert not find_control(told, prose=True)


def test_a_request_without_a_reason_names_who_asks() -> None:
    assert request_details("ann", " ") == "requested by `ann`"
