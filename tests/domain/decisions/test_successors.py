"""What waits behind a rollout: whom it ends, when it starts by itself, and in which words people hear of it."""

from datetime import UTC, datetime

import pytest

from celadon.domain.decisions import gate
from celadon.domain.decisions.successors import (
    held_by,
    is_retried,
    is_same_way,
    replaces_now,
    told_of_successor,
    waits_told,
    what_it_waits_for,
)
from celadon.domain.language.commands import AbortCommand
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.next_rollout import Successor
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy, OnNewRevision, resolve_policy
from celadon.domain.language.progress import AbortRequest, Progress
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ALL = frozenset(Verb)
WITHOUT_DELETE = ALL - {Verb.DELETE}
REPLACE, QUEUE = OnNewRevision.REPLACE, OnNewRevision.QUEUE
REPLACES = Successor(id=3, revision=RevisionNumber(5), by="ben", replaces=True)
BEFORE = (RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION)


@pytest.mark.parametrize(
    ("mode", "phase", "rights", "verified", "replaces"),
    [
        *((REPLACE, phase, {Verb.ABORT}, False, True) for phase in (*BEFORE, RolloutPhase.SWITCHING)),
        *((REPLACE, phase, ALL - {Verb.ABORT}, True, False) for phase in BEFORE),
        (REPLACE, RolloutPhase.BAKING, {Verb.PROMOTE}, True, True),
        (REPLACE, RolloutPhase.BAKING, ALL - {Verb.PROMOTE}, True, False),
        (REPLACE, RolloutPhase.BAKING, WITHOUT_DELETE, False, False),
        (REPLACE, RolloutPhase.BAKING, ALL, False, True),
        *(
            (REPLACE, phase, ALL, True, False)
            for phase in (RolloutPhase.DRAINING, RolloutPhase.ROLLING_BACK, RolloutPhase.COMPLETED)
        ),
        *((QUEUE, phase, ALL, True, False) for phase in RolloutPhase),
        *((OnNewRevision.REJECT, phase, ALL, True, False) for phase in RolloutPhase),
    ],
)
def test_what_replaces_ends_a_rollout_by_its_phase_and_by_rights(
    mode: OnNewRevision, phase: RolloutPhase, rights: set[Verb], *, verified: bool, replaces: bool
) -> None:
    assert replaces_now(mode, phase, rights, verified=verified) is replaces


@pytest.mark.parametrize("outcome", RolloutOutcome)
def test_it_starts_by_itself_only_after_a_rollout_that_was_promoted_or_superseded(outcome: RolloutOutcome) -> None:
    starts = outcome in {RolloutOutcome.PROMOTED, RolloutOutcome.SUPERSEDED}

    assert (held_by(RolloutId(7), outcome, "why") == "") is starts
    assert is_retried(outcome) is not starts


def progress(phase: RolloutPhase, successor: Successor | None = None) -> Progress:
    return Progress(deployment="chat", phase=phase, since=NOW, successor=successor)


@pytest.mark.parametrize("phase", BEFORE)
def test_a_rollout_before_its_switch_goes_back_for_what_replaces_it(phase: RolloutPhase) -> None:
    decision = gate.decide(progress(phase, REPLACES), NOW)

    assert isinstance(decision, gate.GoBack)
    assert (decision.outcome, decision.message) == (RolloutOutcome.SUPERSEDED, None)


def test_an_abort_beats_what_replaces_the_rollout() -> None:
    abort = AbortRequest(command=AbortCommand(by="ann"), door=Channel.API, at=NOW)
    asked = progress(RolloutPhase.AWAITING_PROMOTION, REPLACES).with_changes(abort=abort)

    decision = gate.decide(asked, NOW)

    assert isinstance(decision, gate.GoBack)
    assert decision.outcome is RolloutOutcome.ABORTED


@pytest.mark.parametrize(
    ("phase", "replaces", "is_over"),
    [(RolloutPhase.BAKING, True, True), (RolloutPhase.BAKING, False, False), (RolloutPhase.VERIFYING, True, False)],
)
def test_only_a_bake_is_over_for_what_replaces_it(phase: RolloutPhase, *, replaces: bool, is_over: bool) -> None:
    told = told_of_successor(progress(phase), REPLACES.model_copy(update={"replaces": replaces}))

    assert told.bake_is_over is is_over
    assert told.successor is not None


def test_a_bake_that_is_over_stays_so_when_nothing_waits_any_more() -> None:
    over = told_of_successor(progress(RolloutPhase.BAKING), REPLACES)

    assert told_of_successor(over, None).bake_is_over


def test_two_policies_are_the_same_way_whatever_they_do_to_a_rollout_under_way() -> None:
    one, other = (resolve_policy(BlueGreenPolicy(on_new_revision=mode)) for mode in (REPLACE, QUEUE))
    third = resolve_policy(BlueGreenPolicy(max_regressions=3))

    assert is_same_way(one, other)
    assert not is_same_way(one, third)


@pytest.mark.parametrize(
    ("mode", "held", "under_way", "told"),
    [
        (QUEUE, "", RolloutPhase.BAKING, "the end of rollout 7"),
        (REPLACE, "", RolloutPhase.VERIFYING, "the end of rollout 7, which it replaces: green is being closed"),
        (REPLACE, "", RolloutPhase.BAKING, "the end of rollout 7, which it replaces"),
        (REPLACE, "", RolloutPhase.DRAINING, "the end of rollout 7"),
        (QUEUE, "", None, "its start, within moments"),
        (QUEUE, "rollout 7 failed", None, "'celadon retry chat': rollout 7 failed"),
    ],
)
def test_people_hear_what_it_waits_for(
    mode: OnNewRevision, held: str, under_way: RolloutPhase | None, told: str
) -> None:
    assert what_it_waits_for("chat", mode, RolloutId(7), held, under_way=under_way) == told


def test_the_rollout_under_way_says_what_waits() -> None:
    assert waits_told(REPLACES) == "r5 by ben waits and replaces this one"
    assert waits_told(REPLACES.model_copy(update={"replaces": False})) == "r5 by ben waits for the end of this one"
