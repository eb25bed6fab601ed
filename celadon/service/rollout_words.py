"""What rollouts and their events are called, the same words at every door."""

import re
from datetime import datetime
from typing import Final

from celadon.domain.language.identity import TOKEN_ISSUER
from celadon.domain.language.moments import utc
from celadon.domain.language.states import RolloutPhase
from celadon.table.records.events import AuditEvent

WAY: Final = (
    RolloutPhase.PROVISIONING,
    RolloutPhase.VERIFYING,
    RolloutPhase.AWAITING_PROMOTION,
    RolloutPhase.SWITCHING,
    RolloutPhase.BAKING,
    RolloutPhase.DRAINING,
)
"""The phases of a rollout that goes well, in their order."""

_PHASE: Final = "phase"
"""The kind of a line whose reason is a phase."""
_OUTPUT: Final = "output"
"""The evidence of what a replica printed."""
_SHOWN_LINES: Final = 3
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
"""How a moment is written in evidence."""


def in_words(value: str) -> str:
    """Return the value of an enumeration as people say it."""
    return value.replace("_", " ")


def revision_name(number: int | None) -> str:
    """Return how a revision is called; ``nothing`` when there is none."""
    return "nothing" if number is None else f"r{number}"


def move_name(from_revision: int | None, to_revision: int) -> str:
    """Return the move of a rollout: ``r1 → r2``."""
    return f"{revision_name(from_revision)} → {revision_name(to_revision)}"


def describe_event(event: AuditEvent) -> str:
    """Return an event without its moment, in a line."""
    return ": ".join(part for part in (event_title(event), event_detail(event)) if part)


def event_title(event: AuditEvent) -> str:
    """Return what happened, by whom and through which door; a name is what somebody declared, or verified.

    A verified name that no static token bears is told with its issuer: a token may have the same name.
    """
    title = in_words(event.kind)
    if event.actor:
        title += f" by {event.actor}"
    if event.door is None:
        return title
    if not event.verified:
        return f"{title} ({event.door.value})"
    by = "" if event.issuer in {"", TOKEN_ISSUER} else f" by {event.issuer}"
    return f"{title} ({event.door.value}, verified{by})"


def event_detail(event: AuditEvent) -> str:
    """Return why it happened and what shows it, in a line; empty when neither is known."""
    reason = in_words(event.reason) if event.kind == _PHASE else event.reason
    evidence = ", ".join(f"{in_words(name)} {_value(name, value)}" for name, value in event.evidence.items() if value)
    return "; ".join(part for part in (_line(reason), evidence) if part)


def _value(name: str, value: str) -> str:
    """Return what a line rests on; of what a replica printed the last lines, and whole ones; moments as people do."""
    if name != _OUTPUT:
        return _moment_of(value) or _line(value)
    lines = value.splitlines()
    return _line("\n".join((lines[1:] if value.startswith("…") and len(lines) > 1 else lines)[-_SHOWN_LINES:]))


def _moment_of(value: str) -> str:
    """Return a moment as people read it; empty for what is none, which somebody may have typed."""
    if not _MOMENT.fullmatch(value):
        return ""
    try:
        return utc(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return ""


def _line(text: str) -> str:
    return " / ".join(part.strip() for part in text.splitlines() if part.strip())
