"""Ending the bake at once, and taking back one's own approval, or an abort that is pending."""

from typing import Final

from celadon.domain.decisions.other_rollout import refuse_other
from celadon.domain.language.commands import BakeCommand
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.progress import Progress
from celadon.domain.language.states import RolloutPhase

_APPROVABLE: Final = frozenset({RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION, RolloutPhase.SWITCHING})
"""The phases in which approvals are given: forced while green is verified, and one after the other while the first of
them are recorded."""


def refuse_finish(progress: Progress, command: BakeCommand) -> Refusal | None:
    """Return why the bake may not be finished now, or ``None`` when it may; with it a pending abort is given up."""
    other = refuse_other(progress, command)
    if other is not None:
        return other
    is_over = progress.bake_is_over and progress.pending is None
    if progress.phase is RolloutPhase.BAKING and not is_over:
        return None
    now = "its bake is over already" if is_over else f"it is {progress.phase.value}"
    return Refusal(
        code=RefusalCode.NOT_BAKING,
        message=f"there is no bake to finish: {now}",
        next_step=f"look at it with 'celadon rollout status {progress.deployment}'",
    )


def refuse_withdrawal(progress: Progress, command: BakeCommand) -> Refusal | None:
    """Return why there is nothing to withdraw now, or ``None`` when there may be: the table checks whose it is.

    An approval can be withdrawn until traffic switches, also one that a workflow which was reset has not heard of.
    """
    other = refuse_other(progress, command)
    if other is not None:
        return other
    if progress.pending is not None or (progress.policy.approvals is not None and progress.phase in _APPROVABLE):
        return None
    return Refusal(
        code=RefusalCode.NO_PENDING_ABORT,
        message=f"no abort is pending: the rollout is {progress.phase.value}",
        next_step=f"look at it with 'celadon rollout status {progress.deployment}'",
    )
