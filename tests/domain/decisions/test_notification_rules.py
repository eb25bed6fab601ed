"""Which line of the audit log tells what."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.domain.decisions.gate import DEADLINE_TIMER, PROMOTION_TIMER
from celadon.domain.decisions.notification_rules import (
    AuditLine,
    NotificationIntent,
    RolloutFacts,
    deadline_lead,
    gate_evidence,
    leaves_the_gate,
    may_tell,
    notice,
    told_by,
)
from celadon.domain.language.durations import parse_duration
from celadon.domain.language.notification import NotificationKind
from celadon.domain.language.policy import BlueGreenPolicy, OnDeadline
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
K = NotificationKind


def facts(*, gated: bool = True, **policy: Any) -> RolloutFacts:
    return RolloutFacts(
        deployment="chat",
        rollout=7,
        workflow_id="rollout-chat",
        run_id="run-1",
        from_revision=1,
        to_revision=2,
        requested_by="ann",
        gated=gated,
        phase=RolloutPhase.VERIFYING,
        policy=BlueGreenPolicy(**policy),
    )


def line(kind: str, **evidence: str) -> AuditLine:
    return AuditLine(id=41, kind=kind, at=AT, actor="ben", door=Channel.UPDATE, reason="reviewed", evidence=evidence)


def kinds(told: AuditLine, known: RolloutFacts) -> list[NotificationKind]:
    return [one.kind for one in told_by(told, known)]


KEEPER_SILENT = {"held_by": "keeper_silent", "held_since": AT.isoformat()}
WITH_DEADLINE = {"waits_for": "a person", "deadline": (AT + timedelta(hours=10)).isoformat()}


@pytest.mark.parametrize(
    ("told", "known", "expected"),
    [
        (line("started"), facts(), [K.STARTED]),
        (line("verifying"), facts(), []),
        (line("green_opened"), facts(), []),
        (line("awaiting_promotion"), facts(gated=False), [K.VERIFIED]),
        (line("awaiting_promotion", waits_for="a person"), facts(), [K.VERIFIED, K.WAITING_FOR_PROMOTION]),
        (
            line("awaiting_promotion", **WITH_DEADLINE),
            facts(promotion_deadline=timedelta(hours=10)),
            [K.VERIFIED, K.WAITING_FOR_PROMOTION, K.DEADLINE_NEAR],
        ),
        # The timer promotes before the deadline comes near.
        (
            line("awaiting_promotion", promotes_at=(AT + timedelta(minutes=5)).isoformat(), **WITH_DEADLINE),
            facts(promotion_deadline=timedelta(hours=10), auto_promote=True, promote_after=timedelta(minutes=5)),
            [K.VERIFIED, K.WAITING_FOR_PROMOTION],
        ),
        (line("promotion_requested"), facts(), []),
        (line("approved", approvals="1", needed="2"), facts(), [K.APPROVAL_MISSING]),
        (line("approved", approvals="2", needed="2"), facts(), []),
        (line("approvals_missing", approvals="0", needed="2"), facts(), [K.APPROVAL_MISSING]),
        (line("approval_withdrawn", approvals="0", needed="2"), facts(), []),
        (line("switched"), facts(), [K.PROMOTED, K.SWITCHED]),
        (line("switched"), facts(gated=False), [K.SWITCHED]),
        (line("switched_back"), facts(), [K.ROLLED_BACK]),
        (line("aborted"), facts(), [K.ABORTED]),
        (line("expired"), facts(), [K.ABORTED]),
        (line("superseded"), facts(), [K.ABORTED]),
        (line("failed"), facts(), [K.FAILED]),
        (line("completed", outcome="promoted"), facts(), [K.COMPLETED]),
        (line("completed", outcome="failed"), facts(), [K.FAILED, K.COMPLETED]),
        (line("successor_waits"), facts(), []),
        (line("successor_replaced"), facts(), [K.NEXT_REPLACED]),
        (line("successor_held"), facts(), [K.NEXT_HELD]),
        (line("message_refused"), facts(), []),
        (line("scaled"), facts(), []),
        (line("held"), facts(), [K.HELD]),
        (line("regressed"), facts(), []),
        (line("regressed", held_by="regressions"), facts(), [K.HELD]),
        (line("promotion_refused"), facts(), []),
        (line("promotion_refused", held_by="frozen", held_since="now"), facts(), []),
        (line("promotion_refused", held_by="keeper_silent", held_since="now"), facts(), [K.HELD]),
    ],
)
def test_a_line_tells(told: AuditLine, known: RolloutFacts, expected: list[NotificationKind]) -> None:
    assert kinds(told, known) == expected
    assert may_tell(told.kind) or not expected


def test_every_outcome_but_promoted_is_told_when_it_is_decided() -> None:
    for outcome in RolloutOutcome:
        decided = kinds(line(outcome.value), facts())
        assert bool(decided) == (outcome not in {RolloutOutcome.PROMOTED, RolloutOutcome.ROLLED_BACK})
        assert leaves_the_gate(line(outcome.value)) == bool(decided)


def test_a_rollout_whose_switch_a_hold_refused_stays_at_the_gate() -> None:
    assert leaves_the_gate(line("promotion_refused"))
    assert not leaves_the_gate(line("promotion_refused", held_by="keeper_silent"))


def test_a_hold_is_told_once_however_often_it_refuses_the_switch() -> None:
    first, second = (
        told_by(AuditLine(id=number, kind="promotion_refused", at=AT, evidence=KEEPER_SILENT), facts())
        for number in (41, 42)
    )

    assert first == second


@pytest.mark.parametrize(
    ("evidence", "helps"),
    [
        ({"held_by": "frozen", "unfreeze": "--all"}, {"unfreeze": "celadon unfreeze --all"}),
        ({"held_by": "paused"}, {"resume": "celadon resume chat"}),
        ({"held_by": "keeper_silent"}, {"worker": "celadon worker"}),
        ({"held_by": "blue_changed"}, {}),
        ({"held_by": "regressions"}, {"status": "celadon rollout status chat"}),
        ({}, {"promote": "celadon promote chat --revision 2 --rollout 7"}),
    ],
)
def test_a_hold_is_told_with_what_ends_it(evidence: dict[str, str], helps: dict[str, str]) -> None:
    intent = NotificationIntent(kind=K.HELD, evidence=evidence)

    told = notice(intent, line("held"), facts())

    assert told.commands == helps | {"abort": "celadon abort chat --rollout 7"}


@pytest.mark.parametrize(
    ("span", "lead"),
    [("10m", "2m"), ("5h", "1h"), ("24h", "1h"), ("30d", "1h"), ("5s", "1s")],
)
def test_a_deadline_is_near(span: str, lead: str) -> None:
    assert deadline_lead(parse_duration(span)) == parse_duration(lead)


def test_the_deadline_is_told_ahead_of_it_and_once_for_each_deadline() -> None:
    known = facts(promotion_deadline=timedelta(hours=10))
    near = told_by(line("awaiting_promotion", **WITH_DEADLINE), known)[-1]

    assert near.due_at == AT + timedelta(hours=9)
    assert near.about == WITH_DEADLINE["deadline"]


def test_what_a_gate_waits_for() -> None:
    soon, late = AT + timedelta(minutes=5), AT + timedelta(hours=1)

    assert gate_evidence({}, PROMOTION_TIMER, DEADLINE_TIMER) == {"waits_for": "a person"}
    assert gate_evidence(
        {PROMOTION_TIMER: soon, DEADLINE_TIMER: late}, PROMOTION_TIMER, DEADLINE_TIMER, approvals=2
    ) == {
        "waits_for": "approvals",
        "needed": "2",
        "deadline": late.isoformat(),
    }
    assert gate_evidence({PROMOTION_TIMER: soon, DEADLINE_TIMER: late}, PROMOTION_TIMER, DEADLINE_TIMER) == {
        "waits_for": "a person or a timer",
        "promotes_at": soon.isoformat(),
        "deadline": late.isoformat(),
    }


def test_a_wait_says_who_may_decide_until_when_and_how() -> None:
    known = facts(promotion_deadline=timedelta(hours=10), on_deadline=OnDeadline.PROMOTE)
    told = line("awaiting_promotion", **WITH_DEADLINE)
    content = notice(told_by(told, known)[1], told, known)

    assert content.who_may_decide == ("approver", "admin")
    assert content.deadline == AT + timedelta(hours=10)
    assert content.on_deadline == "promote"
    assert content.commands == {
        "promote": "celadon promote chat --revision 2 --rollout 7",
        "abort": "celadon abort chat --rollout 7",
    }
    assert content.phase == "awaiting_promotion"


def test_an_expired_rollout_is_told_as_such() -> None:
    told = line("expired")
    content = notice(told_by(told, facts())[0], told, facts())

    assert content.kind == "aborted"
    assert content.outcome == "expired"
    assert (content.actor, content.door, content.reason) == ("ben", "update", "reviewed")
