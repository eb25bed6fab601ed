"""Which facts of the audit log are told, once each, and what goes with them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from celadon.domain.language.base_models import Record
from celadon.domain.language.notification import Notice, NotificationKind
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase

WAITS: Final = "waits_for"
PROMOTES_AT: Final = "promotes_at"
DEADLINE: Final = "deadline"
"""What the line ``awaiting_promotion`` carries as evidence when somebody or a timer is waited for."""

A_PERSON: Final = "a person"
A_PERSON_OR_TIMER: Final = "a person or a timer"

DECIDING_ROLES: Final = ("approver", "admin")

_LONGEST_LEAD: Final = timedelta(hours=1)
_LEAD_SHARE: Final = 5

_TELLING: Final = frozenset({"started", "awaiting_promotion", "switched_back"})
_LEAVES_THE_GATE: Final = frozenset(
    {"regressed", "promotion_refused", "switched", "aborted", "expired", "superseded", "failed", "completed"},
)


class AuditLine(Record):
    """One line of the audit log, as far as it is told."""

    id: int
    kind: str
    at: datetime
    actor: str = ""
    issuer: str = ""
    door: Channel | None = None
    verified: bool = False
    reason: str = ""
    evidence: dict[str, str] = Field(default_factory=dict)


class RolloutFacts(Record):
    """What the table knows of the line's rollout."""

    deployment: str
    rollout: int
    workflow_id: str
    run_id: str
    from_revision: int | None
    to_revision: int
    requested_by: str
    gated: bool
    policy: BlueGreenPolicy


class NotificationIntent(Record):
    """One thing to tell because of a line."""

    kind: NotificationKind
    about: str = ""
    """Makes it one of its kind within its rollout: it is told once for each ``about``."""
    due_at: datetime | None = None
    """Nothing for at once."""


def told_by(line: AuditLine, facts: RolloutFacts) -> tuple[NotificationIntent, ...]:
    """Return what a line tells, in order. Most lines tell nothing."""
    match line.kind:
        case "started":
            return (NotificationIntent(kind=NotificationKind.STARTED),)
        case "awaiting_promotion":
            return _told_at_the_gate(line, facts)
        case "switched":
            promoted = (NotificationIntent(kind=NotificationKind.PROMOTED),) if facts.gated else ()
            return (*promoted, NotificationIntent(kind=NotificationKind.SWITCHED))
        case "switched_back":
            return (NotificationIntent(kind=NotificationKind.ROLLED_BACK),)
        case "aborted" | "expired" | "superseded":
            return (NotificationIntent(kind=NotificationKind.ABORTED),)
        case "failed":
            return (NotificationIntent(kind=NotificationKind.FAILED),)
        case "completed":
            failed = line.evidence.get("outcome") == RolloutOutcome.FAILED
            return (
                *((NotificationIntent(kind=NotificationKind.FAILED),) if failed else ()),
                NotificationIntent(kind=NotificationKind.COMPLETED),
            )
        case _:
            return ()


def may_tell(kind: str) -> bool:
    """Return whether lines of this kind can tell anything, or take back what was to be told."""
    return kind in _TELLING or leaves_the_gate(kind)


def leaves_the_gate(kind: str) -> bool:
    """Return whether a rollout that has written this line no longer nears its promotion deadline."""
    return kind in _LEAVES_THE_GATE


def deadline_lead(span: timedelta) -> timedelta:
    """Return how long before a deadline it is near: a fifth of the time that was given, at most an hour."""
    return min(span / _LEAD_SHARE, _LONGEST_LEAD)


def gate_evidence(timers: Mapping[str, datetime], promotion: str, deadline: str) -> dict[str, str]:
    """Return the evidence of a rollout that begins to wait for its promotion.

    Args:
        timers: moments by the names of their timers.
        promotion: the name of the timer that promotes.
        deadline: the name of the timer of the promotion deadline.

    """
    found = {WAITS: A_PERSON_OR_TIMER if promotion in timers else A_PERSON}
    for key, name in ((PROMOTES_AT, promotion), (DEADLINE, deadline)):
        if name in timers:
            found[key] = timers[name].isoformat()
    return found


def notice(told: NotificationIntent, line: AuditLine, facts: RolloutFacts) -> Notice:
    """Return the content of a notification."""
    at_gate = told.kind in {NotificationKind.WAITING_FOR_PROMOTION, NotificationKind.DEADLINE_NEAR}
    deadline = _moment(line, DEADLINE) if at_gate else None
    return Notice(
        deployment=facts.deployment,
        rollout=facts.rollout,
        kind=told.kind.value,
        workflow_id=facts.workflow_id,
        run_id=facts.run_id,
        from_revision=facts.from_revision,
        to_revision=facts.to_revision,
        phase=_phase(told.kind).value,
        requested_by=facts.requested_by,
        actor=line.actor,
        issuer=line.issuer,
        door="" if line.door is None else line.door.value,
        verified=line.verified,
        reason=line.reason,
        outcome=line.evidence.get("outcome", line.kind if told.kind is NotificationKind.ABORTED else ""),
        deadline=deadline,
        on_deadline=facts.policy.on_deadline.value if deadline is not None else "",
        promotes_at=_moment(line, PROMOTES_AT) if at_gate else None,
        who_may_decide=DECIDING_ROLES if at_gate or told.kind in _REVERSIBLE else (),
        commands=_commands(told.kind, facts),
        evidence=line.evidence,
    )


_REVERSIBLE: Final = frozenset({NotificationKind.PROMOTED, NotificationKind.SWITCHED})


def _told_at_the_gate(line: AuditLine, facts: RolloutFacts) -> tuple[NotificationIntent, ...]:
    verified = NotificationIntent(kind=NotificationKind.VERIFIED, about=str(line.id))
    if WAITS not in line.evidence:
        return (verified,)
    waiting = NotificationIntent(kind=NotificationKind.WAITING_FOR_PROMOTION, about=str(line.id))
    deadline, span = _moment(line, DEADLINE), facts.policy.promotion_deadline
    promotes_at = _moment(line, PROMOTES_AT)
    if deadline is None or span is None or (promotes_at is not None and promotes_at <= deadline):
        return verified, waiting
    near = NotificationIntent(
        kind=NotificationKind.DEADLINE_NEAR,
        about=deadline.isoformat(),
        due_at=deadline - deadline_lead(span),
    )
    return verified, waiting, near


def _moment(line: AuditLine, key: str) -> datetime | None:
    return datetime.fromisoformat(line.evidence[key]) if key in line.evidence else None


def _phase(kind: NotificationKind) -> RolloutPhase:
    match kind:
        case NotificationKind.STARTED:
            return RolloutPhase.PROVISIONING
        case NotificationKind.VERIFIED | NotificationKind.WAITING_FOR_PROMOTION | NotificationKind.DEADLINE_NEAR:
            return RolloutPhase.AWAITING_PROMOTION
        case NotificationKind.PROMOTED | NotificationKind.SWITCHED:
            return RolloutPhase.BAKING
        case NotificationKind.ROLLED_BACK | NotificationKind.ABORTED | NotificationKind.FAILED:
            return RolloutPhase.ROLLING_BACK
        case NotificationKind.COMPLETED:
            return RolloutPhase.COMPLETED


def _commands(kind: NotificationKind, facts: RolloutFacts) -> dict[str, str]:
    name = facts.deployment
    this = f"--rollout {facts.rollout}"
    match kind:
        case NotificationKind.WAITING_FOR_PROMOTION | NotificationKind.DEADLINE_NEAR:
            return {
                "promote": f"celadon promote {name} --revision {facts.to_revision} {this}",
                "abort": f"celadon abort {name} {this}",
            }
        case NotificationKind.STARTED | NotificationKind.VERIFIED:
            return {"abort": f"celadon abort {name} {this}"}
        case NotificationKind.PROMOTED | NotificationKind.SWITCHED:
            back = {} if facts.from_revision is None else {"rollback": f"celadon rollback {name} {this}"}
            return {**back, "status": f"celadon rollout status {name}"}
        case NotificationKind.ROLLED_BACK | NotificationKind.ABORTED:
            return {"status": f"celadon rollout status {name}"}
        case NotificationKind.FAILED | NotificationKind.COMPLETED:
            return {"history": f"celadon rollout history {name} {this}"}
