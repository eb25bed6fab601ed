"""What a rollout does next before the switch: the decision between provisioning and promotion.

The decision is taken once, after all messages of a workflow task: the guards of :data:`GUARDS` are asked in order, and
the first that answers decides. So an abort beats a promotion, and a message beats a timer.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never

from celadon.domain.decisions.curable import CURED_BY
from celadon.domain.decisions.pause import pause_timers
from celadon.domain.language.base_models import Record
from celadon.domain.language.durations import format_duration
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.policy import OnDeadline
from celadon.domain.language.progress import Hold, HoldKind, Progress
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

Guard = Callable[[Progress, datetime], GateDecision | None]
"""A reason to do something else than to wait for the timers of the promotion; ``None`` lets the next guard answer."""


def decide(progress: Progress, now: datetime) -> GateDecision:
    """Return what a rollout that has not switched does next.

    Raises:
        ValueError: the rollout has left the gate behind.

    """
    for guard in GUARDS:
        decision = guard(progress, now)
        if decision is not None:
            return decision
    return Wait(timers=_promotion_timers(progress))


def abort_requested(progress: Progress, now: datetime) -> GateDecision | None:
    """Go back for an abort, whatever green's health."""
    del now
    request = progress.abort
    if request is None:
        return None
    return GoBack(
        outcome=RolloutOutcome.ABORTED,
        by=request.command.by,
        door=request.door,
        reason=request.command.reason or f"aborted by {request.command.by}",
        message=request.message,
    )


def green_failed(progress: Progress, now: datetime) -> GateDecision | None:
    """Go back when the keeper gave green up."""
    del now
    if not progress.green_failed:
        return None
    error = progress.green.last_error if progress.green is not None else ""
    return GoBack(
        outcome=RolloutOutcome.FAILED,
        by="keeper",
        door=Channel.KEEPER,
        reason=f"green failed: {error or 'its replicas could not be kept running'}",
    )


def green_not_ready(progress: Progress, now: datetime) -> GateDecision | None:
    """Bring green to the promotion: all replicas run, then enough are healthy; a green that regressed is verified anew.

    A forced promotion does not wait for the verification.

    Raises:
        ValueError: the rollout has left the gate behind.

    """
    match progress.phase:
        case RolloutPhase.PROVISIONING:
            if progress.green is not None and progress.green.condition is not SetCondition.STARTING:
                return Enter(phase=RolloutPhase.VERIFYING, why="all replicas of green run")
            return _wait_for_green(progress, now)
        case RolloutPhase.VERIFYING:
            if progress.promotion is not None and progress.promotion.command.force:
                return None
            if progress.green_is_ready:
                return Enter(phase=RolloutPhase.AWAITING_PROMOTION, why="green is verified")
            if progress.automation_suspended and progress.paused is None:
                return Wait(timers=())
            return _wait_for_green(progress, now)
        case RolloutPhase.AWAITING_PROMOTION:
            return None if progress.green_is_ready else _verify_anew(progress)
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


def promotion_requested(progress: Progress, now: datetime) -> GateDecision | None:
    """Go ahead for a person. Of the guards below none binds a person; the switch judges whether the person may."""
    del now
    request = progress.promotion
    if request is None:
        return None
    return GoAhead(
        by=request.command.by,
        door=request.door,
        reason=request.command.reason,
        force=request.command.force,
        message=request.message,
    )


def regressed_meanwhile(progress: Progress, now: datetime) -> GateDecision | None:
    """Verify a green anew that is ready again: the delay counts from the moment all of green was verified."""
    del now
    return _verify_anew(progress) if progress.regressed_since_verified else None


def paused(progress: Progress, now: datetime) -> GateDecision | None:
    """Let every timer stand still while the rollout is paused."""
    del now
    return None if progress.paused is None else Wait(timers=pause_timers(progress.paused))


def automation_suspended(progress: Progress, now: datetime) -> GateDecision | None:
    """Wait for a person when green regressed too often."""
    del now
    return Wait(timers=()) if progress.automation_suspended else None


def held(progress: Progress, now: datetime) -> GateDecision | None:
    """Wait for the end of what the table answered to the last attempt, such as a freeze."""
    del now
    return Wait(timers=()) if progress.hold is not None else None


def first_deployment(progress: Progress, now: datetime) -> GateDecision | None:
    """Go ahead without a gate when nothing was live before."""
    del now
    return None if progress.gated else GoAhead(by="policy", door=Channel.POLICY, reason="first deployment")


def timer(progress: Progress, now: datetime) -> GateDecision | None:
    """Go ahead when the delay is over; when the deadline passed before that, the deadline decides."""
    at = _promotion_at(progress)
    deadline_at = _deadline_at(progress)
    if at is None or now < at or (deadline_at is not None and deadline_at < at):
        return None
    return GoAhead(by="policy", door=Channel.TIMER, reason=_why_now(progress))


def deadline(progress: Progress, now: datetime) -> GateDecision | None:
    """Do what the policy says when nobody promoted in time."""
    at = _deadline_at(progress)
    if at is None or now < at:
        return None
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


GUARDS: Final[tuple[Guard, ...]] = (
    abort_requested,
    green_failed,
    green_not_ready,
    promotion_requested,
    regressed_meanwhile,
    paused,
    automation_suspended,
    held,
    first_deployment,
    timer,
    deadline,
)
"""In the order in which they are asked. A person's promotion is bound by those above ``promotion_requested`` alone."""


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


def _wait_for_green(progress: Progress, now: datetime) -> GateDecision:
    if progress.paused is not None:
        return Wait(timers=pause_timers(progress.paused))
    deadline_at = (progress.unverified_since or progress.since) + progress.policy.provisioning_deadline
    if now < deadline_at:
        return Wait(timers=((PROVISIONING_TIMER, deadline_at),))
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


def _verify_anew(progress: Progress) -> Enter:
    grows = progress.regressed_since_verified and not progress.regressed_by_itself
    return Enter(phase=RolloutPhase.VERIFYING, why="green grows" if grows else "green regressed")


def _promotion_at(progress: Progress) -> datetime | None:
    if not progress.policy.auto_promote or progress.verified_since is None:
        return None
    delay_ends = progress.verified_since + progress.policy.promote_after
    return max(delay_ends, progress.policy.promote_at or delay_ends)


def _why_now(progress: Progress) -> str:
    policy = progress.policy
    if policy.promote_at is not None and policy.promote_at == _promotion_at(progress):
        return f"auto_promote, at {policy.promote_at:%Y-%m-%d %H:%M:%S %Z}"
    return f"auto_promote, {format_duration(policy.promote_after)} after green was verified"


def _deadline_at(progress: Progress) -> datetime | None:
    if progress.policy.promotion_deadline is None or progress.waited_since is None:
        return None
    return progress.waited_since + progress.policy.promotion_deadline


def _promotion_timers(progress: Progress) -> tuple[tuple[str, datetime], ...]:
    timers = ((PROMOTION_TIMER, _promotion_at(progress)), (DEADLINE_TIMER, _deadline_at(progress)))
    return tuple((name, at) for name, at in timers if at is not None)
