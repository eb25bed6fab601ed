"""Which facts of the audit log are told, once each, and what goes with them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from pydantic import Field

from celadon.domain.decisions.approvals import APPROVALS, NEEDED
from celadon.domain.decisions.freezing import freeze_told
from celadon.domain.decisions.pause import pause_told
from celadon.domain.language.base_models import Record
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.notification import Notice, NotificationKind
from celadon.domain.language.pause import Pause
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import HoldKind
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase

WAITS: Final = "waits_for"
PROMOTES_AT: Final = "promotes_at"
DEADLINE: Final = "deadline"
"""What the line ``awaiting_promotion`` carries as evidence when somebody or a timer is waited for."""

HELD_BY: Final = "held_by"
HELD_SINCE: Final = "held_since"
"""What a line carries as evidence after which no timer decides: what holds the rollout, and since when."""

UNFREEZES: Final = "unfreeze"
"""Whose freezes end with which the hold ends."""

FREEZE: Final = "frozen"
PAUSE: Final = "paused"
REGRESSIONS: Final = "regressions"
"""What may hold a rollout beside the kinds of holds that the table answers."""

A_PERSON: Final = "a person"
A_PERSON_OR_TIMER: Final = "a person or a timer"

DECIDING_ROLES: Final = ("approver", "admin")

AT_THE_GATE: Final = frozenset(
    {
        NotificationKind.WAITING_FOR_PROMOTION,
        NotificationKind.APPROVAL_MISSING,
        NotificationKind.DEADLINE_NEAR,
        NotificationKind.HELD,
    },
)
"""What is told to those who may decide on the promotion."""

_LONGEST_LEAD: Final = timedelta(hours=1)
_LEAD_SHARE: Final = 5

_TELLS: Final[Mapping[str, NotificationKind]] = MappingProxyType(
    {
        "started": NotificationKind.STARTED,
        "switched_back": NotificationKind.ROLLED_BACK,
        "aborted": NotificationKind.ABORTED,
        "expired": NotificationKind.ABORTED,
        "superseded": NotificationKind.ABORTED,
        "failed": NotificationKind.FAILED,
    }
)
"""Lines that tell one thing, whatever else they say."""
_OF_WHAT_WAITS: Final[Mapping[str, NotificationKind]] = MappingProxyType(
    {"successor_replaced": NotificationKind.NEXT_REPLACED, "successor_held": NotificationKind.NEXT_HELD}
)
_TELLING: Final = frozenset({"awaiting_promotion", "approved", "approvals_missing", "held", *_TELLS, *_OF_WHAT_WAITS})
_LEAVES_THE_GATE: Final = frozenset(
    {
        "regressed",
        "growing",
        "promotion_refused",
        "switched",
        "aborted",
        "expired",
        "superseded",
        "failed",
        "completed",
    },
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
    phase: RolloutPhase
    """As the table has it; of a line that enters another phase the former one."""
    policy: BlueGreenPolicy


class NotificationIntent(Record):
    """One thing to tell because of a line."""

    kind: NotificationKind
    about: str = ""
    """Makes it one of its kind within its rollout: it is told once for each ``about``."""
    due_at: datetime | None = None
    """Nothing for at once."""
    reason: str = ""
    """In place of the line's; empty for that."""
    evidence: dict[str, str] = Field(default_factory=dict)
    """Beside the line's."""


def told_by(line: AuditLine, facts: RolloutFacts) -> tuple[NotificationIntent, ...]:
    """Return what a line tells, in order. Most lines tell nothing."""
    match line.kind:
        case "awaiting_promotion":
            return _told_at_the_gate(line, facts)
        case "approved" | "approvals_missing" if _lacks_approvals(line):
            return (NotificationIntent(kind=NotificationKind.APPROVAL_MISSING, about=str(line.id)),)
        case "held" | "promotion_refused" | "regressed":
            return _told_of_hold(line)
        case "switched":
            promoted = (NotificationIntent(kind=NotificationKind.PROMOTED),) if facts.gated else ()
            return (*promoted, NotificationIntent(kind=NotificationKind.SWITCHED))
        case "completed":
            failed = line.evidence.get("outcome") == RolloutOutcome.FAILED
            return (
                *((NotificationIntent(kind=NotificationKind.FAILED),) if failed else ()),
                NotificationIntent(kind=NotificationKind.COMPLETED),
            )
        case kind if kind in _TELLS:
            return (NotificationIntent(kind=_TELLS[kind]),)
        case kind if kind in _OF_WHAT_WAITS:
            return (NotificationIntent(kind=_OF_WHAT_WAITS[kind], about=str(line.id)),)
        case _:
            return ()


def may_tell(kind: str) -> bool:
    """Return whether lines of this kind can tell anything, or take back what was to be told."""
    return kind in _TELLING or kind in _LEAVES_THE_GATE


def leaves_the_gate(line: AuditLine) -> bool:
    """Return whether a rollout that has written this line no longer nears its promotion deadline.

    One whose switch was refused for a hold stays at the gate.
    """
    return line.kind in _LEAVES_THE_GATE and not (line.kind == "promotion_refused" and HELD_BY in line.evidence)


def held_by_freeze(freeze: Freeze, deployment: str, now: datetime) -> NotificationIntent:
    """Return what a freeze tells of a rollout that waits: once, when it begins."""
    return NotificationIntent(
        kind=NotificationKind.HELD,
        about=about_freeze(freeze.id),
        due_at=freeze.begins_at if freeze.begins_at > now else None,
        reason=freeze_told(freeze, deployment),
        evidence={HELD_BY: FREEZE, UNFREEZES: "--all" if freeze.everywhere else deployment},
    )


def about_freeze(freeze: int) -> str:
    """Return what makes the notification of a freeze one of its kind within a rollout."""
    return f"freeze {freeze}"


def held_by_pause(pause: Pause, number: int, deployment: str) -> NotificationIntent:
    """Return what a pause tells: once, however often its end is changed."""
    return NotificationIntent(
        kind=NotificationKind.HELD,
        about=f"pause {number}",
        reason=pause_told(pause, deployment),
        evidence={HELD_BY: PAUSE},
    )


def near_deadline(deadline: datetime, span: timedelta) -> NotificationIntent:
    """Return that a deadline is near, which is told ahead of it."""
    return NotificationIntent(
        kind=NotificationKind.DEADLINE_NEAR, about=deadline.isoformat(), due_at=deadline - deadline_lead(span)
    )


def deadline_lead(span: timedelta) -> timedelta:
    """Return how long before a deadline it is near: a fifth of the time that was given, at most an hour."""
    return min(span / _LEAD_SHARE, _LONGEST_LEAD)


def gate_evidence(
    timers: Mapping[str, datetime], promotion: str, deadline: str, *, approvals: int = 0
) -> dict[str, str]:
    """Return the evidence of a rollout that begins to wait for its promotion.

    Args:
        timers: moments by the names of their timers.
        promotion: the name of the timer that promotes.
        deadline: the name of the timer of the promotion deadline.
        approvals: how many people must approve; 0 when the policy does not say, and a timer may promote.

    """
    if approvals:
        evidence = {WAITS: APPROVALS, NEEDED: str(approvals)}
        timers = {name: at for name, at in timers.items() if name != promotion}
    else:
        evidence = {WAITS: A_PERSON_OR_TIMER if promotion in timers else A_PERSON}
    for key, name in ((PROMOTES_AT, promotion), (DEADLINE, deadline)):
        if name in timers:
            evidence[key] = timers[name].isoformat()
    return evidence


def notice(told: NotificationIntent, line: AuditLine, facts: RolloutFacts) -> Notice:
    """Return the content of a notification."""
    at_gate = told.kind in AT_THE_GATE
    evidence = line.evidence | told.evidence
    deadline = _moment(line, DEADLINE) if at_gate else None
    return Notice(
        deployment=facts.deployment,
        rollout=facts.rollout,
        kind=told.kind.value,
        workflow_id=facts.workflow_id,
        run_id=facts.run_id,
        from_revision=facts.from_revision,
        to_revision=facts.to_revision,
        phase=_phase(told.kind, facts, evidence).value,
        requested_by=facts.requested_by,
        actor=line.actor,
        issuer=line.issuer,
        door="" if line.door is None else line.door.value,
        verified=line.verified,
        reason=told.reason or line.reason,
        outcome=line.evidence.get("outcome", line.kind if told.kind is NotificationKind.ABORTED else ""),
        deadline=deadline,
        on_deadline=facts.policy.on_deadline.value if deadline is not None else "",
        promotes_at=_moment(line, PROMOTES_AT) if at_gate else None,
        who_may_decide=DECIDING_ROLES if at_gate or told.kind in _REVERSIBLE else (),
        commands=_commands(told.kind, facts, evidence),
        evidence=evidence,
    )


def _told_of_hold(line: AuditLine) -> tuple[NotificationIntent, ...]:
    """Return what a line tells after which no timer decides; of a freeze its own line tells, and that once."""
    held_by = line.evidence.get(HELD_BY, HoldKind.WINDOW if line.kind == "held" else FREEZE)
    if held_by == FREEZE:
        return ()
    about = f"{held_by} {line.evidence.get(HELD_SINCE, line.id)}"
    return (NotificationIntent(kind=NotificationKind.HELD, about=about),)


def _lacks_approvals(line: AuditLine) -> bool:
    return int(line.evidence.get(APPROVALS, 0)) < int(line.evidence.get(NEEDED, 0))


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
    return verified, waiting, near_deadline(deadline, span)


def _moment(line: AuditLine, key: str) -> datetime | None:
    return datetime.fromisoformat(line.evidence[key]) if key in line.evidence else None


def _phase(kind: NotificationKind, facts: RolloutFacts, evidence: Mapping[str, str]) -> RolloutPhase:
    match kind:
        case NotificationKind.NEXT_REPLACED | NotificationKind.NEXT_HELD:
            return facts.phase
        case NotificationKind.HELD if evidence.get(HELD_BY) == PAUSE:
            return facts.phase
        case NotificationKind.HELD if evidence.get(HELD_BY) == REGRESSIONS:
            return RolloutPhase.VERIFYING
        case NotificationKind.STARTED:
            return RolloutPhase.PROVISIONING
        case (
            NotificationKind.VERIFIED
            | NotificationKind.WAITING_FOR_PROMOTION
            | NotificationKind.APPROVAL_MISSING
            | NotificationKind.DEADLINE_NEAR
            | NotificationKind.HELD
        ):
            return RolloutPhase.AWAITING_PROMOTION
        case NotificationKind.PROMOTED | NotificationKind.SWITCHED:
            return RolloutPhase.BAKING
        case NotificationKind.ROLLED_BACK | NotificationKind.ABORTED | NotificationKind.FAILED:
            return RolloutPhase.ROLLING_BACK
        case NotificationKind.COMPLETED:
            return RolloutPhase.COMPLETED


def _commands(kind: NotificationKind, facts: RolloutFacts, evidence: Mapping[str, str]) -> dict[str, str]:
    name = facts.deployment
    this = f"--rollout {facts.rollout}"
    promote = {"promote": f"celadon promote {name} --revision {facts.to_revision} {this}"}
    abort = {"abort": f"celadon abort {name} {this}"}
    match kind:
        case NotificationKind.HELD:
            back = {"rollback": f"celadon rollback {name} {this}"} if facts.phase is RolloutPhase.BAKING else abort
            return _helps(evidence, name, promote) | back
        case (
            NotificationKind.WAITING_FOR_PROMOTION | NotificationKind.APPROVAL_MISSING | NotificationKind.DEADLINE_NEAR
        ):
            return promote | abort
        case NotificationKind.STARTED | NotificationKind.VERIFIED:
            return abort
        case NotificationKind.PROMOTED | NotificationKind.SWITCHED:
            back = {} if facts.from_revision is None else {"rollback": f"celadon rollback {name} {this}"}
            return {**back, "status": f"celadon rollout status {name}"}
        case NotificationKind.ROLLED_BACK | NotificationKind.ABORTED:
            return {"status": f"celadon rollout status {name}"}
        case NotificationKind.NEXT_HELD:
            return {"retry": f"celadon retry {name}", "drop": f"celadon drop {name}"}
        case NotificationKind.NEXT_REPLACED:
            return {"status": f"celadon rollout status {name}"}
        case NotificationKind.FAILED | NotificationKind.COMPLETED:
            return {"history": f"celadon rollout history {name} {this}"}


def _helps(evidence: Mapping[str, str], name: str, promote: dict[str, str]) -> dict[str, str]:
    """Return the command that ends a hold; a person's promotion where it is the timers alone that are held."""
    match evidence.get(HELD_BY, HoldKind.WINDOW):
        case held_by if held_by == FREEZE:
            return {"unfreeze": f"celadon unfreeze {evidence.get(UNFREEZES, name)}"}
        case held_by if held_by == PAUSE:
            return {"resume": f"celadon resume {name}"}
        case HoldKind.KEEPER_SILENT:
            return {"worker": "celadon worker"}
        case HoldKind.BLUE_CHANGED:
            return {}
        case held_by if held_by == REGRESSIONS:
            return {"status": f"celadon rollout status {name}"}
        case _:
            return promote
