"""Rollouts as the decisions see them, at one moment."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.messages import GreenChanged
from celadon.domain.language.names import RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import AbortRequest, Progress, PromotionRequest
from celadon.domain.language.states import Channel, RolloutPhase, SetCondition

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GREEN: Final = RouteSetId(12)
BLUE: Final = RouteSetId(11)


def before(**span: float) -> datetime:
    """Return the moment that lies ``span`` (keywords of timedelta) before now."""
    return NOW - timedelta(**span)


def green(
    condition: SetCondition = SetCondition.READY,
    *,
    ready: int | None = None,
    running: int = 3,
    last_error: str = "",
) -> GreenChanged:
    """Return an edge of a green set of three, all required."""
    return GreenChanged(
        route_set=GREEN,
        seq=1,
        condition=condition,
        running=running,
        ready=(3 if condition is SetCondition.READY else 0) if ready is None else ready,
        required=3,
        wanted=3,
        failed=condition is SetCondition.FAILED,
        last_error=last_error,
    )


def rollout(phase: RolloutPhase = RolloutPhase.AWAITING_PROMOTION, **fields: Any) -> Progress:
    """Return a rollout from revision 1 to 2 in ``phase``, which began a minute ago, with a green that is ready."""
    given: dict[str, Any] = {
        "deployment": "chat",
        "phase": phase,
        "since": before(minutes=1),
        "policy": BlueGreenPolicy(),
        "rollout": RolloutId(7),
        "from_revision": RevisionNumber(1),
        "to_revision": RevisionNumber(2),
        "blue_set": BLUE,
        "green_set": GREEN,
        "green": green(),
        "verified_since": before(minutes=1),
        "waited_since": before(minutes=1),
    }
    return Progress(**given | fields)


def promotion(**command: Any) -> PromotionRequest:
    """Return a person's promotion."""
    return PromotionRequest(command=PromoteCommand(**{"by": "ann"} | command), door=Channel.SIGNAL, at=NOW)


def abort(**command: Any) -> AbortRequest:
    """Return a person's abort."""
    return AbortRequest(command=AbortCommand(**{"by": "bob"} | command), door=Channel.UPDATE, at=NOW)
