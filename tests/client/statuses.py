"""What a rollout's workflow answers, for tests of those who show it."""

from typing import Any

from celadon.domain.language.messages import RolloutStatus
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.policy import resolve_policy
from celadon.domain.language.states import RolloutPhase
from tests.table.rows import NOW


def rollout_status(**changes: Any) -> RolloutStatus:
    """Return the answer of rollout 7 of ``chat``, which has just begun to await its promotion, and what differs."""
    quiet = RolloutStatus(
        deployment="chat",
        rollout=RolloutId(7),
        phase=RolloutPhase.AWAITING_PROMOTION,
        since=NOW,
        from_revision=RevisionNumber(1),
        to_revision=RevisionNumber(2),
        policy=resolve_policy(),
        timers=(),
        decision="",
        holding="",
        approvals=0,
        approvals_needed=1,
        abort_requested="",
        green=None,
        epoch=None,
        silent_routers=(),
        refused=(),
        refused_total=0,
        outcome=None,
        next_step="",
    )
    return quiet.model_copy(update=changes)
