"""Whose promotion is an approval, which approvals count, and how people read of those that are missing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from celadon.domain.decisions.approvals import (
    counted,
    eases_approvals,
    refuse_approver,
    refuse_unknown_requester,
    spends_approvals,
    tell_approvals,
    tell_missing,
)
from celadon.domain.decisions.gate import _HOLDS
from celadon.domain.language.approval import MOST_APPROVALS, Approval, ApprovalRule
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.states import Channel, RolloutPhase

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANN = Approval(by="ann", issuer="idp", door=Channel.API, at=AT)
BEN = ANN.model_copy(update={"by": "ben", "force": True})


def rule(count: int = 2, *, exclude_requester: bool = False) -> ApprovalRule:
    return ApprovalRule(count=count, exclude_requester=exclude_requester)


def refused(asked: ApprovalRule, by: str = "ann", issuer: str = "idp", *, verified: bool = True) -> Refusal | None:
    return refuse_approver(
        asked, "chat", by=by, issuer=issuer, verified=verified, requested_by="ann", requester_issuer="idp"
    )


def test_a_verified_person_may_approve() -> None:
    assert refused(rule()) is None


@pytest.mark.parametrize(("issuer", "verified"), [("idp", False), ("", True), ("", False)])
def test_nobody_for_whom_nobody_vouches_approves(issuer: str, *, verified: bool) -> None:
    refusal = refused(rule(), issuer=issuer, verified=verified)

    assert refusal is not None
    assert refusal.code is RefusalCode.UNSIGNED
    assert "need the approvals of 2 verified people" in refusal.message


@pytest.mark.parametrize(
    ("by", "issuer", "is_excluded"),
    [("ann", "idp", True), ("ben", "idp", False), ("ann", "token", False)],
)
def test_a_policy_may_exclude_the_requester(by: str, issuer: str, *, is_excluded: bool) -> None:
    refusal = refused(rule(exclude_requester=True), by, issuer)

    assert (refusal is not None) is is_excluded
    assert refusal is None or refusal.code is RefusalCode.REQUESTER_EXCLUDED


@pytest.mark.parametrize(
    ("asked", "verified", "may_begin"),
    [
        (None, False, True),
        (rule(), False, True),
        (rule(exclude_requester=True), True, True),
        (rule(exclude_requester=True), False, False),
    ],
)
def test_only_a_requester_who_is_known_can_be_excluded(
    asked: ApprovalRule | None, *, verified: bool, may_begin: bool
) -> None:
    assert (refuse_unknown_requester(asked, "chat", verified=verified) is None) is may_begin


@pytest.mark.parametrize("phase", list(RolloutPhase))
def test_before_green_is_verified_only_forced_approvals_count(phase: RolloutPhase) -> None:
    assert counted((ANN, BEN), phase) == ((ANN, BEN) if phase is RolloutPhase.AWAITING_PROMOTION else (BEN,))


@pytest.mark.parametrize("code", list(RefusalCode))
@pytest.mark.parametrize("scaled", [False, True])
def test_what_sends_green_back_spends_approvals_and_a_hold_does_not(code: RefusalCode, *, scaled: bool) -> None:
    spends = spends_approvals(Refusal(code=code, message="why"), scaled=scaled)

    assert spends is (code in {RefusalCode.NO_HEALTHY_GREEN, RefusalCode.GREEN_CHANGED} and not scaled)
    assert not (spends and code in _HOLDS)


@pytest.mark.parametrize(
    ("own", "wanted", "eases"),
    [
        (None, None, False),
        (None, rule(1), False),
        (rule(2), None, True),
        (rule(2), rule(1), True),
        (rule(2), rule(2), False),
        (rule(2), rule(3), False),
        (rule(2, exclude_requester=True), rule(3), True),
        (rule(2, exclude_requester=True), rule(2, exclude_requester=True), False),
    ],
)
def test_a_request_eases_approvals(own: ApprovalRule | None, wanted: ApprovalRule | None, *, eases: bool) -> None:
    assert eases_approvals(own, wanted) is eases


def test_what_is_missing_is_told_with_who_approved_and_who_may() -> None:
    assert tell_approvals(rule(), ()) == "0 of 2 approved"
    assert tell_approvals(rule(), (ANN, BEN)) == (
        "2 of 2 approved (ann at 2026-03-01 12:00:00 UTC, ben at 2026-03-01 12:00:00 UTC (forced))"
    )
    assert tell_missing(rule(exclude_requester=True), (ANN,)) == (
        "1 of 2 approved (ann at 2026-03-01 12:00:00 UTC); 1 approval is missing, by another verified person who "
        "has the right to promote, but not who requested the rollout"
    )


@pytest.mark.parametrize(
    "approvals",
    [{"count": 0}, {"count": MOST_APPROVALS + 1}, {"count": True}, {"count": "2"}, {}, {"count": 2, "of": 3}, 2],
)
def test_approvals_that_say_something_else_are_refused(approvals: Any) -> None:
    with pytest.raises(RefusedError):
        parse_payload(BlueGreenPolicy, {"approvals": approvals})


def test_a_stronger_layer_replaces_the_approvals_of_a_weaker_one_as_a_whole() -> None:
    own = parse_payload(BlueGreenPolicy, {"approvals": {"count": 3, "exclude_requester": True}})
    asked = parse_payload(BlueGreenPolicy, {"approvals": {"count": 4}})

    assert resolve_policy(own, asked).approvals == rule(4)
    assert resolve_policy(own).approvals == rule(3, exclude_requester=True)
    assert resolve_policy().approvals is None
