"""What a rollout does next before the switch: the decision between provisioning and promotion.

Taken once after all messages of a workflow task: abort beats promote, and a message beats a timer.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never

from celadon.domain.decisions.curable import CURED_BY
from celadon.domain.language.base_models import Record
from celadon.domain.language.durations import format_duration
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.policy import OnDeadline
from celadon.domain.language.progress import Hold, HoldKind, Progress, PromotionRequest
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Message, SwitchAnswer

PROVISIONING_TIMER: Final = "provisioning deadline"
PROMOTION_TIMER: Final = "automatic promotion"
DEADLINE_TIMER: Final = "promotion deadline"


class GoBack(Record):
    """Close green and end with ``outcome``."""

    outcome: RolloutOutcome
    by: str
    door: Channel
    reason: str
    message: Message | None = None


class GoAhead(Record):
    """Ask for the switch."""

    by: str
    door: Channel
    reason: str
    force: bool = False
    message: Message | None = None


class Enter(Record):
    """Enter another phase before the switch."""

    phase: RolloutPhase
    why: str


class Wait(Record):
    """Wait for a message, or until the first of the timers fires; without timers for a message alone."""

    timers: tuple[tuple[str, datetime], ...]

    @property
    def first(self) -> tuple[str, datetime] | None:
        """The timer that fires first."""
        return min(self.timers, key=lambda timer: timer[1], default=None)


GateDecision = GoBack | GoAhead | Enter | Wait


def decide(progress: Progress, now: datetime) -> GateDecision:
    """Return what a rollout that has not switched does next.

    Raises:
        ValueError: the rollout has left the gate behind.

    """
    if progress.abort is not None:
        request = progress.abort
        return GoBack(
            outcome=RolloutOutcome.ABORTED,
            by=request.command.by,
            door=request.door,
            reason=request.command.reason or f"aborted by {request.command.by}",
            message=request.message,
        )
    if progress.green_failed:
        error = progress.green.last_error if progress.green is not None else ""
        return GoBack(
            outcome=RolloutOutcome.FAILED,
            by="keeper",
            door=Channel.KEEPER,
            reason=f"green failed: {error or 'its replicas could not be kept running'}",
        )
    match progress.phase:
        case RolloutPhase.PROVISIONING:
            return _in_provisioning(progress, now)
        case RolloutPhase.VERIFYING:
            return _in_verifying(progress, now)
        case RolloutPhase.AWAITING_PROMOTION:
            return _in_awaiting(progress, now)
        case (
            RolloutPhase.SWITCHING
            | RolloutPhase.BAKING
            | RolloutPhase.DRAINING
            | RolloutPhase.ROLLING_BACK
            | RolloutPhase.COMPLETED
        ):
            raise ValueError(f"a rollout that is {progress.phase.value} has left the gate behind")
        case _ as unreachable:
            assert_never(unreachable)


_HOLDS: Final[Mapping[RefusalCode, HoldKind]] = MappingProxyType(
    {
        RefusalCode.FROZEN: HoldKind.FROZEN,
        RefusalCode.KEEPER_SILENT: HoldKind.KEEPER_SILENT,
        RefusalCode.BLUE_CHANGED: HoldKind.BLUE_CHANGED,
        RefusalCode.FORBIDDEN: HoldKind.NOT_BY_ITSELF,
    },
)
"""Refusals of the switch that are nobody's fault, least of all green's."""


def hold_after(before: Hold | None, answer: SwitchAnswer, now: datetime) -> Hold | None:
    """Return what holds a rollout once the table has answered its switch; nothing when it is green that has to act.

    A message that does not count leaves things as they were.
    """
    if answer.message_refused:
        return before
    kind = None if answer.refusal is None else _HOLDS.get(answer.refusal.code)
    if kind is None or answer.refusal is None:
        return None
    since = before.since if before is not None and before.kind is kind else now
    ended_by = CURED_BY.get(answer.refusal.code, "")
    return Hold(kind=kind, since=since, why=answer.refusal.message, ended_by=ended_by)


def is_greens_fault(answer: SwitchAnswer) -> bool:
    """Whether a refused switch counts as a regression of green: too few of it were healthy, and nobody scaled it."""
    is_refused_for_health = answer.refusal is not None and answer.refusal.code is RefusalCode.NO_HEALTHY_GREEN
    return is_refused_for_health and not answer.scaled


def _in_provisioning(progress: Progress, now: datetime) -> GateDecision:
    if progress.green is not None and progress.green.condition is not SetCondition.STARTING:
        return Enter(phase=RolloutPhase.VERIFYING, why="all replicas of green run")
    return _wait_for_green(progress, now)


def _in_verifying(progress: Progress, now: datetime) -> GateDecision:
    if progress.promotion is not None and progress.promotion.command.force:
        return _go_ahead(progress.promotion)
    if progress.green_is_ready:
        return Enter(phase=RolloutPhase.AWAITING_PROMOTION, why="green is verified")
    if progress.automation_suspended:
        return Wait(timers=())
    return _wait_for_green(progress, now)


def _wait_for_green(progress: Progress, now: datetime) -> GateDecision:
    deadline = (progress.unverified_since or progress.since) + progress.policy.provisioning_deadline
    if now < deadline:
        return Wait(timers=((PROVISIONING_TIMER, deadline),))
    green = progress.green
    told = f"{green.running} of {green.wanted} ran, {green.ready} of {green.required} were healthy" if green else ""
    error = f"; last error: {green.last_error}" if green is not None and green.last_error else ""
    span = format_duration(progress.policy.provisioning_deadline)
    return GoBack(
        outcome=RolloutOutcome.FAILED,
        by="policy",
        door=Channel.TIMER,
        reason=f"green was not healthy within {span}" + (f" ({told}{error})" if told else ""),
    )


def _in_awaiting(progress: Progress, now: datetime) -> GateDecision:
    grows = progress.regressed_since_verified and not progress.regressed_by_itself
    regression = Enter(phase=RolloutPhase.VERIFYING, why="green grows" if grows else "green regressed")
    if not progress.green_is_ready:
        return regression
    if progress.promotion is not None:
        return _go_ahead(progress.promotion)
    if progress.regressed_since_verified:
        return regression
    if progress.automation_suspended or progress.hold is not None:
        return Wait(timers=())
    if not progress.gated:
        return GoAhead(by="policy", door=Channel.POLICY, reason="first deployment")
    timers = _promotion_timers(progress)
    due = [name for name, at in sorted(timers, key=lambda timer: timer[1]) if at <= now]
    if not due:
        return Wait(timers=timers)
    if due[0] == PROMOTION_TIMER:
        span = format_duration(progress.policy.promote_after)
        return GoAhead(by="policy", door=Channel.TIMER, reason=f"auto_promote, {span} after green was verified")
    return _at_deadline(progress)


def _go_ahead(request: PromotionRequest) -> GoAhead:
    return GoAhead(
        by=request.command.by,
        door=request.door,
        reason=request.command.reason,
        force=request.command.force,
        message=request.message,
    )


def _at_deadline(progress: Progress) -> GateDecision:
    span = format_duration(progress.policy.promotion_deadline or progress.policy.promote_after)
    match progress.policy.on_deadline:
        case OnDeadline.ABORT:
            return GoBack(
                outcome=RolloutOutcome.EXPIRED,
                by="policy",
                door=Channel.TIMER,
                reason=f"nobody promoted within {span}",
            )
        case OnDeadline.PROMOTE:
            return GoAhead(
                by="policy", door=Channel.TIMER, reason=f"promotion_deadline of {span}, on_deadline: promote"
            )
        case OnDeadline.HOLD:
            return Wait(timers=())
        case _ as unreachable:
            assert_never(unreachable)


def _promotion_timers(progress: Progress) -> tuple[tuple[str, datetime], ...]:
    timers: list[tuple[str, datetime]] = []
    policy = progress.policy
    if policy.auto_promote and progress.verified_since is not None:
        timers.append((PROMOTION_TIMER, progress.verified_since + policy.promote_after))
    if policy.promotion_deadline is not None and progress.waited_since is not None:
        timers.append((DEADLINE_TIMER, progress.waited_since + policy.promotion_deadline))
    return tuple(timers)
