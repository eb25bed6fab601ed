"""What a rollout does next once green is live."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.after_switch import (
    BAKE_TIMER,
    Awaited,
    Circumstances,
    Decision,
    Drain,
    DrainResult,
    Examine,
    Examined,
    Finish,
    SwitchBack,
    Wait,
    decide,
)
from celadon.domain.decisions.lost_green import ROLLBACK_TIMER, way_back_after
from celadon.domain.language.names import Epoch, RevisionNumber
from celadon.domain.language.next_rollout import Successor
from celadon.domain.language.pause import Pause
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import PendingAbort
from celadon.domain.language.rollout_state import RolloutState, Stage
from celadon.domain.language.states import Channel, Colour, RolloutOutcome, RolloutPhase
from tests.domain.rollouts import NOW, abort, before, rollout

ABORT = abort()
PENDING = PendingAbort(request=abort(by="cas"), since=before(minutes=2), why="no healthy replica of blue")
BACK = SwitchBack(request=ABORT)
JUDGE = (Examine, Examined.MESSAGES)
LOST = rollout(RolloutPhase.BAKING, green_lost_since=before(seconds=10))
WAY_BACK = way_back_after(timedelta(seconds=10), NOW)
PENDING_BY_POLICY = PendingAbort(request=WAY_BACK, since=before(minutes=2), why="no healthy blue")
BY_PEOPLE = BlueGreenPolicy(bake=timedelta(hours=1), failover_rollback=None)
WAITS = Successor(id=8, revision=RevisionNumber(3), by="ann", replaces=True)
FINISHED, REOPENED = DrainResult.EMPTY, DrainResult.REOPENED
PHASES = {
    Stage.GATE: RolloutPhase.ROLLING_BACK,
    Stage.BAKING: RolloutPhase.BAKING,
    Stage.DRAINING_BLUE: RolloutPhase.BAKING,
    Stage.DRAINING_GREEN: RolloutPhase.ROLLING_BACK,
}


def state(stage: Stage, *, awaits_routers: bool = False, **progress: Any) -> RolloutState:
    """Return a rollout that came to ``stage`` a minute ago, and bakes for an hour."""
    fields: dict[str, Any] = {
        "policy": BlueGreenPolicy(bake=timedelta(hours=1)),
        "bake_is_over": stage is Stage.DRAINING_BLUE,
    }
    return RolloutState(
        progress=rollout(PHASES[stage], **fields | progress),
        stage=stage,
        awaits_routers=awaits_routers,
        started_at=before(hours=2),
        epoch=Epoch(5),
        decision="promotion by ann (update)",
        back_reason="slow answers",
    )


def kind(decision: Decision) -> object:
    """Return what is decided, without its words."""
    match decision:
        case SwitchBack():
            return decision
        case Drain():
            return Drain, decision.colour
        case Examine():
            return Examine, decision.what
        case Wait():
            return Wait, decision.awaits
        case Finish():
            return Finish, decision.outcome


IN_BAKE = [
    ({}, {}, (Wait, Awaited.BAKE)),
    ({"since": before(hours=1)}, {}, (Drain, Colour.BLUE)),
    ({"bake_is_over": True}, {}, (Drain, Colour.BLUE)),
    ({"abort": ABORT}, {}, BACK),
    ({"abort": ABORT, "since": before(hours=1)}, {}, BACK),
    ({"abort": ABORT}, {"cancelled": True}, BACK),
    ({"abort": ABORT}, {"messages_wait": True}, BACK),
    ({"abort": ABORT, "pending": PENDING}, {}, BACK),
    ({"abort": ABORT, "pending": PENDING}, {"messages_wait": True}, JUDGE),
    ({"pending": PENDING}, {}, (Wait, Awaited.CURE)),
    ({"pending": PENDING, "since": before(hours=1)}, {}, (Wait, Awaited.CURE)),
    ({"pending": PENDING, "bake_is_over": True}, {}, (Wait, Awaited.CURE)),
    ({"pending": PENDING}, {"messages_wait": True}, JUDGE),
    ({"pending": PENDING}, {"cancelled": True}, (Wait, Awaited.CURE)),
    ({}, {"messages_wait": True}, JUDGE),
    ({"since": before(hours=1)}, {"messages_wait": True}, JUDGE),
    ({}, {"cancelled": True}, (Drain, Colour.BLUE)),
    ({}, {"edges_missed": True}, (Examine, Examined.EDGES)),
    ({}, {"edges_missed": True, "messages_wait": True}, JUDGE),
    ({"blue_set": None}, {}, (Finish, RolloutOutcome.PROMOTED)),
    ({"green_lost_since": before(seconds=9)}, {}, (Wait, Awaited.BAKE)),
    ({"green_lost_since": before(seconds=9), "since": before(hours=1)}, {}, (Wait, Awaited.BAKE)),
    ({"green_lost_since": before(seconds=9), "bake_is_over": True}, {}, (Drain, Colour.BLUE)),
    ({"green_lost_since": before(seconds=9), "bake_is_over": True, "successor": WAITS}, {}, (Wait, Awaited.BAKE)),
    ({"green_lost_since": before(seconds=9), "abort": ABORT}, {}, BACK),
    ({"green_lost_since": before(seconds=9)}, {"messages_wait": True}, JUDGE),
    ({"green_lost_since": before(hours=9), "policy": BY_PEOPLE}, {}, (Wait, Awaited.BAKE)),
    ({"green_lost_since": before(seconds=9), "pending": PENDING_BY_POLICY}, {}, (Wait, Awaited.CURE)),
    ({"pending": PENDING_BY_POLICY}, {}, JUDGE),
    ({"pending": PENDING_BY_POLICY, "abort": PENDING_BY_POLICY.request}, {}, JUDGE),
]


@pytest.mark.parametrize(("progress", "circumstances", "decided"), IN_BAKE)
def test_while_blue_is_warm(progress: dict[str, Any], circumstances: dict[str, Any], decided: object) -> None:
    assert kind(decide(state(Stage.BAKING, **progress), Circumstances(**circumstances), NOW)) == decided


BLUE_DRAINS = [
    ({}, {}, (Drain, Colour.BLUE)),
    ({}, {"cancelled": True}, (Drain, Colour.BLUE)),
    ({}, {"messages_wait": True}, (Drain, Colour.BLUE)),
    ({}, {"blue_drains": True}, (Wait, Awaited.DRAIN)),
    ({"abort": ABORT}, {"blue_drains": True}, BACK),
    ({"abort": ABORT}, {"blue_drains": True, "messages_wait": True}, JUDGE),
    ({"pending": PENDING}, {"blue_drains": True}, (Wait, Awaited.DRAIN)),
    ({}, {"drained": FINISHED}, (Finish, RolloutOutcome.PROMOTED)),
    ({"abort": ABORT}, {"drained": FINISHED}, (Finish, RolloutOutcome.PROMOTED)),
    ({"abort": ABORT}, {"drained": REOPENED}, BACK),
    ({}, {"drained": REOPENED}, (Finish, RolloutOutcome.PROMOTED)),
    ({"awaits_routers": True}, {}, (Wait, Awaited.ROUTERS)),
    ({"awaits_routers": True, "abort": ABORT}, {}, (Wait, Awaited.ROUTERS)),
    ({"abort": ABORT}, {}, BACK),
    ({"pending": PENDING}, {}, (Wait, Awaited.CURE)),
    ({"pending": PENDING}, {"messages_wait": True}, JUDGE),
]


@pytest.mark.parametrize(("fields", "circumstances", "decided"), BLUE_DRAINS)
def test_once_the_bake_is_over(fields: dict[str, Any], circumstances: dict[str, Any], decided: object) -> None:
    assert kind(decide(state(Stage.DRAINING_BLUE, **fields), Circumstances(**circumstances), NOW)) == decided


GREEN_DRAINS = [
    ({}, {}, (Drain, Colour.GREEN)),
    ({"awaits_routers": True}, {}, (Wait, Awaited.ROUTERS)),
    ({}, {"drained": FINISHED}, (Finish, RolloutOutcome.ROLLED_BACK)),
    ({}, {"cancelled": True, "messages_wait": True, "edges_missed": True}, (Drain, Colour.GREEN)),
]


@pytest.mark.parametrize(("fields", "circumstances", "decided"), GREEN_DRAINS)
def test_once_blue_is_live_again(fields: dict[str, Any], circumstances: dict[str, Any], decided: object) -> None:
    assert kind(decide(state(Stage.DRAINING_GREEN, **fields), Circumstances(**circumstances), NOW)) == decided


GREEN_WAS_LIVE = [
    ({"abort": ABORT}, {}, BACK),
    ({"pending": PENDING}, {}, (Wait, Awaited.CURE)),
    ({"pending": PENDING}, {"messages_wait": True}, JUDGE),
    ({}, {}, (Finish, RolloutOutcome.PROMOTED)),
]


@pytest.mark.parametrize(("progress", "circumstances", "decided"), GREEN_WAS_LIVE)
def test_a_run_that_was_reset_to_before_its_switch_goes_back_or_ends_promoted(
    progress: dict[str, Any],
    circumstances: dict[str, Any],
    decided: object,
) -> None:
    assert kind(decide(state(Stage.GATE, **progress), Circumstances(**circumstances), NOW)) == decided


def test_a_rollout_goes_back_by_itself_once_green_has_been_lost_for_long_enough() -> None:
    decided = decide(state(Stage.BAKING, green_lost_since=before(seconds=10)), Circumstances(), NOW)

    assert isinstance(decided, SwitchBack)
    assert (decided.request.command.by, decided.request.door) == ("policy", Channel.POLICY)
    assert decided.request.command.reason == "green has had no healthy replica for 10s"


@pytest.mark.parametrize("paused", [None, Pause(by="ann", door=Channel.CLI, reason="", since=before(minutes=1))])
def test_a_lost_green_is_awaited_by_the_timer_of_the_rollback_alone(paused: Pause | None) -> None:
    decided = decide(state(Stage.BAKING, green_lost_since=before(seconds=4), paused=paused), Circumstances(), NOW)

    assert isinstance(decided, Wait)
    assert decided.timer == (ROLLBACK_TIMER, NOW + timedelta(seconds=6))


def test_the_bake_is_awaited_by_its_timer() -> None:
    decided = decide(state(Stage.BAKING), Circumstances(), NOW)

    assert isinstance(decided, Wait)
    assert decided.timer == (BAKE_TIMER, NOW + timedelta(minutes=59))


@pytest.mark.parametrize("stage", [Stage.BAKING, Stage.DRAINING_BLUE])
def test_a_pending_abort_waits_without_a_timer_and_says_why(stage: Stage) -> None:
    assert decide(state(stage, pending=PENDING), Circumstances(), NOW) == Wait(awaits=Awaited.CURE, why=PENDING.why)


@pytest.mark.parametrize(
    ("stage", "circumstances", "reason"),
    [
        (Stage.DRAINING_BLUE, Circumstances(drained=FINISHED), "promotion by ann (update)"),
        (Stage.DRAINING_GREEN, Circumstances(drained=FINISHED), "slow answers"),
        (Stage.GATE, Circumstances(closed_because="aborted by bob"), "aborted by bob; blue could not take over"),
    ],
)
def test_the_end_says_what_was_decided_last(stage: Stage, circumstances: Circumstances, reason: str) -> None:
    decided = decide(state(stage), circumstances, NOW)

    assert isinstance(decided, Finish)
    assert decided.reason == reason


# For any rollout.

_circumstances = st.builds(
    Circumstances,
    messages_wait=st.booleans(),
    edges_missed=st.booleans(),
    cancelled=st.booleans(),
    blue_drains=st.booleans(),
    drained=st.none() | st.sampled_from(DrainResult),
)
_states = st.builds(
    state,
    st.sampled_from(Stage),
    awaits_routers=st.booleans(),
    abort=st.none() | st.just(ABORT),
    pending=st.none() | st.just(PENDING) | st.just(PENDING_BY_POLICY),
    green_lost_since=st.none() | st.sampled_from([before(seconds=4), before(hours=2)]),
    bake_is_over=st.booleans(),
    since=st.sampled_from([before(minutes=1), before(hours=1), before(hours=2)]),
)


@given(_states, _circumstances)
def test_every_rollout_after_the_switch_has_a_next_step(after: RolloutState, circumstances: Circumstances) -> None:
    assert isinstance(decide(after, circumstances, NOW), SwitchBack | Drain | Examine | Wait | Finish)


@given(_states, _circumstances)
def test_blue_does_not_begin_to_drain_while_an_abort_is_wanted(
    after: RolloutState,
    circumstances: Circumstances,
) -> None:
    decided = decide(after, circumstances, NOW)

    if isinstance(decided, Drain) and decided.colour is Colour.BLUE:
        assert after.progress.abort is None
        assert after.progress.pending is None


@given(_states, _circumstances)
def test_only_an_abort_or_a_lost_green_switches_back(after: RolloutState, circumstances: Circumstances) -> None:
    decided = decide(after, circumstances, NOW)

    if isinstance(decided, SwitchBack) and decided.request != after.progress.abort:
        assert decided.request.lost_green
        assert after.progress.green_lost_since is not None
        assert after.progress.green_lost_since <= before(seconds=10)


@given(_states, _circumstances)
def test_a_rollout_that_went_back_never_ends_promoted(after: RolloutState, circumstances: Circumstances) -> None:
    decided = decide(after, circumstances, NOW)

    if isinstance(decided, Finish):
        went_back = after.stage is Stage.DRAINING_GREEN
        assert (decided.outcome is RolloutOutcome.ROLLED_BACK) is went_back
