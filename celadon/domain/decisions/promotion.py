"""May this promotion go ahead, and if not, why."""

from typing import Final, assert_never

from celadon.domain.language.commands import Command, PromoteCommand
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.growth import Growth
from celadon.domain.language.moments import utc
from celadon.domain.language.progress import Progress
from celadon.domain.language.states import RolloutPhase
from celadon.domain.language.text_bounds import first_bytes

_LONGEST_ERROR: Final = 400
"""Bytes of what green has failed with that a refusal repeats."""


def refuse_promotion(progress: Progress, command: PromoteCommand) -> Refusal | None:
    """Return why ``command`` may not go ahead now; nothing when it may.

    A promotion is never stored up for later: one that comes too early is refused, not remembered.
    """
    return _refuse_target(progress, command) or _refuse_phase(progress, command)


def _refuse_target(progress: Progress, command: PromoteCommand) -> Refusal | None:
    """Refuse a promotion that means another rollout or another revision, or that forces without saying why."""
    if command.rollout is not None and command.rollout != progress.rollout:
        return Refusal(
            code=RefusalCode.WRONG_ROLLOUT,
            message=f"the promotion means rollout {command.rollout}, but rollout {progress.rollout} is under way",
            next_step=f"look at it with 'celadon rollout status {progress.deployment}' and promote what you reviewed",
        )
    if command.revision is not None and command.revision != progress.to_revision:
        return Refusal(
            code=RefusalCode.WRONG_REVISION,
            message=f"the promotion means revision {command.revision}, but green is revision {progress.to_revision}",
            next_step=f"look at it with 'celadon rollout status {progress.deployment}' and promote what you reviewed",
        )
    if command.force and not command.reason.strip():
        return Refusal(
            code=RefusalCode.FORCE_NEEDS_REASON,
            message="force needs a reason, it goes into the audit log",
            next_step="send it again with a reason",
        )
    return None


def refuse_other_rollout(rollout: int, revision: int, command: Command) -> Refusal | None:
    """Return why ``command`` does not mean this rollout of this revision, or ``None`` when it may.

    For those who carry it out: what a message says of its target holds there too, whatever its workflow believes.
    """
    if command.rollout is not None and command.rollout != rollout:
        return Refusal(
            code=RefusalCode.WRONG_ROLLOUT,
            message=f"the message means rollout {command.rollout}, and this is rollout {rollout}",
            next_step="look at the rollout that is under way and send the message again if it is still meant",
        )
    if isinstance(command, PromoteCommand) and command.revision not in {None, revision}:
        return Refusal(
            code=RefusalCode.WRONG_REVISION,
            message=f"the promotion means revision {command.revision}, and green is revision {revision}",
            next_step="look at the rollout that is under way and promote what you reviewed",
        )
    return None


def _refuse_phase(
    progress: Progress,
    command: PromoteCommand,
) -> Refusal | None:
    match progress.phase:
        case RolloutPhase.PROVISIONING:
            return _too_early(progress, "its replicas still start")
        case RolloutPhase.VERIFYING if progress.growth is not None:
            return _refuse_while_growing(progress, progress.growth)
        case RolloutPhase.VERIFYING:
            if not command.force:
                return _too_early(progress, "it is not verified")
            return _refuse_pending(progress) or _refuse_health(progress)
        case RolloutPhase.AWAITING_PROMOTION:
            return _refuse_pending(progress) or _refuse_health(progress)
        case RolloutPhase.SWITCHING if progress.policy.approvals is not None:
            # Another approval is being recorded, and this one comes after it.
            return _refuse_pending(progress) or _refuse_health(progress)
        case RolloutPhase.SWITCHING | RolloutPhase.BAKING | RolloutPhase.DRAINING:
            return Refusal(
                code=RefusalCode.ALREADY_DECIDED,
                message=f"the promotion is already decided{_won_by(progress)}: the rollout is {progress.phase.value}",
                next_step=f"watch it with 'celadon rollout watch {progress.deployment}'",
            )
        case RolloutPhase.ROLLING_BACK:
            return Refusal(
                code=RefusalCode.ROLLING_BACK,
                message="the rollout is rolling back",
                next_step="start a new rollout when it has ended",
            )
        case RolloutPhase.COMPLETED:
            return Refusal(
                code=RefusalCode.ROLLOUT_ENDED,
                message="the rollout has ended",
                next_step="start a new rollout",
            )
        case _ as unreachable:
            assert_never(unreachable)


def _won_by(progress: Progress) -> str:
    """Return who has decided, through which door and when; empty where a run that was reset has forgotten it."""
    winner = progress.winner
    return "" if winner is None else f" by {winner.by} ({winner.door.value}) at {utc(winner.at)}"


def _refuse_while_growing(progress: Progress, growth: Growth) -> Refusal:
    return Refusal(
        code=RefusalCode.ALREADY_DECIDED,
        message=f"the promotion is already decided by {growth.by} ({growth.door.value}) at "
        f"{utc(growth.at)}: green grows to {growth.wanted} and then switches",
        next_step=f"watch it with 'celadon rollout watch {progress.deployment}'",
    )


def _too_early(progress: Progress, why: str) -> Refusal:
    return Refusal(
        code=RefusalCode.NOT_AWAITING_PROMOTION,
        message=f"green does not wait for a promotion: the rollout is {progress.phase.value}, {why}",
        next_step=f"promote again when 'celadon rollout status {progress.deployment}' says awaiting_promotion",
    )


def _refuse_pending(progress: Progress) -> Refusal | None:
    if progress.abort is None:
        return None
    return Refusal(
        code=RefusalCode.ABORT_REQUESTED,
        message=f"an abort was requested by {progress.abort.command.by} and goes first",
        next_step="start a new rollout when this one has ended",
    )


def _refuse_health(progress: Progress) -> Refusal | None:
    green = progress.green
    if green is not None and not green.failed and green.ready >= green.required:
        return None
    ready, required = (green.ready, green.required) if green is not None else (0, "all")
    return Refusal(
        code=RefusalCode.NO_HEALTHY_GREEN,
        message=f"too few healthy replicas of green: {ready}, required are {required}"
        + (
            f" (last error: {first_bytes(green.last_error, _LONGEST_ERROR)})"
            if green is not None and green.last_error
            else ""
        ),
        next_step="wait until they are healthy, or abort; force does not override health",
    )
