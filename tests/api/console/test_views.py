"""What can be decided on the pages, before any HTML."""

from collections.abc import Collection

import pytest

from celadon.api.console.views import DeploymentPage, deployment_page, workflow_link
from celadon.domain.language.approval import Approval, ApprovalRule
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.states import Channel, DeploymentLifecycle, RolloutOutcome, RolloutPhase
from celadon.service.rollout_view import RolloutView
from tests.sample_views import NOW
from tests.service.views.records import awaiting, record, view, waiting


def page_of(known: RolloutView, rights: Collection[Verb] = frozenset(Verb)) -> DeploymentPage:
    return deployment_page(known, rights, "", NOW)


@pytest.mark.parametrize(
    ("phase", "verbs"),
    [
        (RolloutPhase.PROVISIONING, ["abort", "pause", "reschedule", "scale", "freeze"]),
        (RolloutPhase.VERIFYING, ["abort", "pause", "reschedule", "scale", "freeze"]),
        (RolloutPhase.AWAITING_PROMOTION, ["promote", "abort", "pause", "reschedule", "scale", "freeze"]),
        (RolloutPhase.SWITCHING, ["scale", "freeze"]),
        (RolloutPhase.BAKING, ["rollback", "finish", "pause", "scale", "freeze"]),
        (RolloutPhase.DRAINING, ["rollback", "scale", "freeze"]),
        (RolloutPhase.ROLLING_BACK, ["scale", "freeze"]),
        (RolloutPhase.COMPLETED, ["rollback", "restart", "scale", "freeze"]),
    ],
)
def test_each_phase_offers_what_can_be_decided_in_it(phase: RolloutPhase, verbs: list[str]) -> None:
    page = page_of(view(record(phase)))

    assert [one.verb for one in page.decisions] == verbs


def test_a_first_rollout_that_bakes_has_nothing_to_go_back_to() -> None:
    page = page_of(view(record(RolloutPhase.BAKING, blue_set=None, from_revision=None)))

    assert [one.verb for one in page.decisions] == ["scale", "freeze"]


def test_an_abort_that_is_pending_can_be_withdrawn() -> None:
    baking = record(RolloutPhase.BAKING)
    status = awaiting().model_copy(update={"phase": RolloutPhase.BAKING, "abort_requested": "ann: p99 doubled"})

    page = page_of(view(baking, status=status))

    assert [one.verb for one in page.decisions] == ["rollback", "finish", "withdraw", "pause", "scale", "freeze"]


def test_an_approval_can_be_withdrawn_while_others_are_missing() -> None:
    ann = Approval(by="ann", issuer="idp", door=Channel.CONSOLE, at=NOW)
    policy = resolve_policy(BlueGreenPolicy(approvals=ApprovalRule(count=2)))
    waiting = view(record(RolloutPhase.AWAITING_PROMOTION, policy=policy), status=awaiting(), approvals=(ann,))

    page = page_of(waiting)

    assert [one.verb for one in page.decisions] == [
        "promote",
        "abort",
        "withdraw",
        "pause",
        "reschedule",
        "scale",
        "freeze",
    ]
    assert "approvals: 1 of 2 approved (ann at " in page.shown.notes[0].text
    assert page.shown.waits_for == "people: approve or abort"


def test_a_paused_rollout_can_be_resumed() -> None:
    status = awaiting().model_copy(update={"paused_since": awaiting().since})

    page = page_of(view(record(RolloutPhase.AWAITING_PROMOTION), status=status))

    assert [one.verb for one in page.decisions] == ["promote", "abort", "resume", "reschedule", "scale", "freeze"]


def test_a_deployment_that_is_being_deleted_offers_nothing() -> None:
    page = page_of(view(record(RolloutPhase.COMPLETED), lifecycle=DeploymentLifecycle.DESTROYING))

    assert page.decisions == ()
    assert page.nothing_to_decide == "The deployment is being deleted."


def test_a_promotion_says_which_rollout_and_which_revision_it_means() -> None:
    promote = page_of(view()).decisions[0]

    assert promote.means == {"rollout": "7", "revision": "2"}


def test_who_may_not_decide_is_told_so() -> None:
    promote = page_of(view(), rights=(Verb.ABORT,)).decisions[0]

    assert not promote.allowed
    assert "may not promote" in promote.why_not


def test_the_forms_stay_while_the_same_can_be_decided() -> None:
    earlier, later = page_of(view()), page_of(view(epoch=12))

    assert earlier.decisions_key == later.decisions_key


def test_the_forms_change_when_another_revision_waits() -> None:
    earlier, later = page_of(view()), page_of(view(record(rollout=8, to_revision=3)))

    assert earlier.decisions_key != later.decisions_key


def test_a_page_links_to_the_run_that_an_ended_rollout_had() -> None:
    ended = record(RolloutPhase.COMPLETED)

    link = workflow_link("http://ui/namespaces/default/", ended)

    assert link == "http://ui/namespaces/default/workflows/rollout-chat/0a1b/history"


def test_what_waits_can_be_dropped_and_once_it_is_held_retried() -> None:
    waits = page_of(view(record(RolloutPhase.AWAITING_PROMOTION), next=waiting()))
    held = page_of(view(record(RolloutPhase.COMPLETED), next=waiting(held="rollout 7 failed")))

    assert {"drop", "retry"} & {one.verb for one in waits.decisions} == {"drop"}
    assert {"drop", "retry"} <= {one.verb for one in held.decisions}


@pytest.mark.parametrize("outcome", RolloutOutcome)
def test_a_rollout_that_failed_or_was_given_up_can_be_retried(outcome: RolloutOutcome) -> None:
    page = page_of(view(record(RolloutPhase.COMPLETED, outcome=outcome)))

    retried = outcome not in {RolloutOutcome.PROMOTED, RolloutOutcome.SUPERSEDED}
    assert ("retry" in [one.verb for one in page.decisions]) is retried
