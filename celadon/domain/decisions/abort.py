"""What an abort or a rollback does now. An abort never depends on green's health."""

from datetime import datetime
from typing import assert_never

from celadon.domain.decisions.other_rollout import refuse_other
from celadon.domain.language.commands import AbortAnswer, AbortCommand, AbortState
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.progress import AbortRequest, PendingAbort, Progress
from celadon.domain.language.states import Channel, RolloutPhase
from celadon.domain.language.steps import PendingAsker, SwitchAnswer


def refuse_abort(
    progress: Progress,
    command: AbortCommand,
    *,
    rollback: bool,
) -> Refusal | None:
    """Return why ``command`` may not be taken now; nothing when it may.

    After the switch the table has the last word: whether blue can take the traffic is read under its lock.
    """
    other = refuse_other(progress, command)
    if other is not None:
        return other
    match progress.phase:
        case RolloutPhase.PROVISIONING | RolloutPhase.VERIFYING | RolloutPhase.AWAITING_PROMOTION:
            if not rollback:
                return None
            return Refusal(
                code=RefusalCode.NO_BLUE,
                message=f"nothing has switched yet, the rollout is {progress.phase.value}",
                next_step=f"use 'celadon abort {progress.deployment}' to close green",
            )
        case RolloutPhase.SWITCHING:
            return None
        case RolloutPhase.BAKING | RolloutPhase.DRAINING:
            if progress.blue_set is not None:
                return None
            return Refusal(
                code=RefusalCode.NO_BLUE,
                message="there is no blue to go back to: this is the deployment's first rollout that switched",
                next_step="start a rollout with another revision",
            )
        case RolloutPhase.ROLLING_BACK:
            return Refusal(
                code=RefusalCode.ROLLING_BACK,
                message="the rollout is already rolling back",
                next_step=f"watch it with 'celadon rollout watch {progress.deployment}'",
            )
        case RolloutPhase.COMPLETED:
            return Refusal(
                code=RefusalCode.ROLLOUT_ENDED,
                message="the rollout has ended",
                next_step=f"start one back with 'celadon rollback {progress.deployment}'",
            )
        case _ as unreachable:
            assert_never(unreachable)


def pending_after(
    pending: PendingAbort | None,
    request: AbortRequest,
    answer: SwitchAnswer,
    now: datetime,
) -> PendingAbort | None:
    """Return the abort that is pending once the table has answered ``request``; nothing when none is.

    Only an incurable refusal ends a way back. That somebody's message does not count says nothing of another's, so it
    ends the pending abort only when it is the one that was tried.
    """
    if answer.refusal is None:
        return None
    if answer.message_refused:
        return None if pending is not None and pending.request == request else pending
    if answer.refusal.code is not RefusalCode.NO_HEALTHY_BLUE:
        return None
    if pending is None:
        return PendingAbort(request=request, since=now, why=answer.refusal.message)
    return pending.model_copy(update={"why": answer.refusal.message})


def left_pending(pending: PendingAbort | None, left: PendingAsker | None, now: datetime) -> PendingAbort | None:
    """Return what is pending once somebody has withdrawn, for whoever still wants the way back; nothing when nobody.

    Of those who asked after the first one, only the table has the message; it goes back for them when the policy asks.
    """
    if pending is None or left is None:
        return None
    command = pending.request.command
    if (command.by, command.issuer) == (left.by, left.issuer):
        return pending
    door = Channel.CANCEL if left.door is Channel.CANCEL else Channel.POLICY
    request = AbortRequest(command=AbortCommand(by=left.by, reason=left.reason), door=door, at=now)
    return pending.model_copy(update={"request": request})


def cancellation(now: datetime) -> AbortRequest:
    """Return the abort that a cancellation in Temporal is."""
    command = AbortCommand(by="cancellation", reason="the workflow was cancelled")
    return AbortRequest(command=command, door=Channel.CANCEL, at=now)


def recorded(refusal: Refusal, phase: RolloutPhase) -> AbortAnswer:
    """Return the answer to an abort that was taken, and that blue cannot take for the moment."""
    until = (
        "blue drains, and it goes back if blue recovers before it is gone"
        if phase is RolloutPhase.DRAINING
        else "it goes back as soon as it can"
    )
    return AbortAnswer(state=AbortState.RECORDED, why=f"{refusal.message}; {until}")
