"""What a rollout does next before the switch: the decision between provisioning and promotion.

The decision is taken once, after all messages of a workflow task: the guards of :data:`GUARDS` are asked in order, and
the first that answers decides. So an abort beats a promotion, and a message beats a timer.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never

from celadon.domain.decisions.curable import CURED_BY
from celadon.domain.decisions.freezing import freeze_of_rollout, freeze_timers, thaw_timers
from celadon.domain.decisions.pause import pause_timers
from celadon.domain.decisions.preview import awaits_room, is_ready_to_go_on, was_decided_by_timer, why_not_grown
from celadon.domain.decisions.standing_still import end_of
from celadon.domain.language.base_models import Record
from celadon.domain.language.durations import format_duration
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.moments import utc
from celadon.domain.language.opening import OpeningTimes, TimerOpening
from celadon.domain.language.policy import OnDeadline
from celadon.domain.language.progress import Hold, HoldKind, Progress, Still
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Message, SwitchAnswer

PROVISIONING_TIMER: Final = "provisioning deadline"
PROMOTION_TIMER: Final = "automatic promotion"
DEADLINE_TIMER: Final = "promotion deadline"
HOLD_TIMER: Final = "next attempt"
DELAY_TIMER: Final = "delay"
"""At its end a timer is due; its windows may open later."""


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
    grown: bool = False
    """Whether green has grown since that was decided."""


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


class LookUpWindows(Record):
    """Ask when the policy's windows let a timer switch that is due at ``due``."""

    due: datetime


class OpenGreen(Record):
    """Open green, for which there may be room now."""


class HoldTimer(Record):
    """Hold a timer that is due."""

    hold: Hold


GateDecision = GoBack | GoAhead | Enter | Wait | LookUpWindows | HoldTimer | OpenGreen

Guard = Callable[[Progress, datetime], GateDecision | None]
"""A reason to do something else than to wait for the timers of the promotion; ``None`` lets the next guard answer."""


def decide(progress: Progress, now: datetime, guards: Sequence[Guard] | None = None) -> GateDecision:
    """Return what a rollout that has not switched does next.

    Args:
        progress: the rollout.
        now: the moment.
        guards: in the order in which they are asked; when not given, :data:`GUARDS`.

    Raises:
        ValueError: the rollout has left the gate behind.

    """
    for guard in GUARDS if guards is None else guards:
        decision = guard(progress, now)
        if decision is not None:
            return decision
    timers = (*_promotion_timers(progress, now), *freeze_timers(progress.freezes, now))
    return Wait(timers=timers)


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


def superseded(progress: Progress, now: datetime) -> GateDecision | None:
    """Go back for a newer rollout that replaces this one, whatever green's health."""
    del now
    newer = progress.successor
    if newer is None or not newer.replaces:
        return None
    return GoBack(
        outcome=RolloutOutcome.SUPERSEDED,
        by="policy",
        door=Channel.POLICY,
        reason=f"r{newer.revision}, which {newer.by} asked for, replaces it",
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


def green_not_open(progress: Progress, now: datetime) -> GateDecision | None:
    """Open green as soon as there is room for it."""
    del now
    if progress.phase is not RolloutPhase.PROVISIONING or progress.green_set is not None or progress.rollout is None:
        return None
    if not awaits_room(progress):
        return OpenGreen()
    return Wait(timers=() if progress.paused is None else pause_timers(progress.paused))


def green_not_ready(progress: Progress, now: datetime) -> GateDecision | None:
    """Bring green to the promotion: all replicas run, then enough are healthy; a green that regressed is verified anew.

    A forced promotion does not wait for the verification, and a green that grows because its switch is decided waits
    for no other promotion.

    Raises:
        ValueError: the rollout has left the gate behind.

    """
    match progress.phase:
        case RolloutPhase.PROVISIONING:
            if progress.green is not None and progress.green.condition is not SetCondition.STARTING:
                return Enter(phase=RolloutPhase.VERIFYING, why="all replicas of green run")
            return _wait_for_green(progress, now)
        case RolloutPhase.VERIFYING if progress.growth is not None:
            return None if is_ready_to_go_on(progress) else _wait_for_green(progress, now)
        case RolloutPhase.VERIFYING:
            return _verify(progress, now)
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


def _verify(progress: Progress, now: datetime) -> GateDecision | None:
    if progress.promotion is not None and progress.promotion.command.force:
        return None
    if progress.green_is_ready:
        return Enter(phase=RolloutPhase.AWAITING_PROMOTION, why="green is verified")
    if progress.automation_suspended and progress.paused is None:
        return Wait(timers=())
    return _wait_for_green(progress, now)


def approvals_lapse(progress: Progress, now: datetime) -> GateDecision | None:
    """Verify a green anew that regressed while it was being approved: the approvals were of what it was before."""
    awaits = progress.phase is RolloutPhase.AWAITING_PROMOTION
    if not awaits or progress.policy.approvals is None or not progress.regressed_by_itself:
        return None
    return regressed_meanwhile(progress, now)


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


def green_has_grown(progress: Progress, now: datetime) -> GateDecision | None:
    """Go ahead with what was decided before green grew. While the rollout is paused, what a timer decided waits."""
    del now
    growth = progress.growth
    if growth is None:
        return None
    if progress.paused is not None and was_decided_by_timer(growth):
        return Wait(timers=pause_timers(progress.paused))
    return GoAhead(by=growth.by, door=growth.door, reason=growth.reason, grown=True)


def regressed_meanwhile(progress: Progress, now: datetime) -> GateDecision | None:
    """Verify a green anew that is ready again: the delay counts from the moment all of green was verified."""
    del now
    return _verify_anew(progress) if progress.regressed_since_verified else None


def paused(progress: Progress, now: datetime) -> GateDecision | None:
    """Let every timer stand still while the rollout is paused."""
    del now
    return None if progress.paused is None else Wait(timers=pause_timers(progress.paused))


def frozen(progress: Progress, now: datetime) -> GateDecision | None:
    """Let no timer promote, and the deadline not run out, while a freeze holds; a person's promotion is refused by it.

    A rollout that has not heard of one learns of it by the answer to its switch.
    """
    freeze = freeze_of_rollout(progress, now)
    return None if freeze is None else Wait(timers=thaw_timers(freeze))


def automation_suspended(progress: Progress, now: datetime) -> GateDecision | None:
    """Wait for a person when green regressed too often: every timer stops, the promotion deadline too."""
    del now
    return Wait(timers=()) if progress.automation_suspended else None


_OWN_GUARDS: Final = frozenset({HoldKind.APPROVALS, HoldKind.WINDOW})
"""Holds that a guard of their own looks at."""


def held(progress: Progress, now: datetime) -> GateDecision | None:
    """Wait for the end of what the table answered to the last attempt.

    A promotion deadline that aborts runs on, but not in a freeze; one that promotes waits, as any timer that is due.
    """
    hold = progress.hold
    if hold is None or not is_held(hold, now):
        return None
    return _until_deadline(progress, now, hold_timers(hold))


def is_held(hold: Hold, now: datetime) -> bool:
    """Whether a hold that has no guard of its own still lasts."""
    return hold.kind not in _OWN_GUARDS and (hold.until is None or hold.until > now)


def hold_timers(hold: Hold) -> tuple[tuple[str, datetime], ...]:
    """Return the one timer of a hold that ends by itself."""
    return () if hold.until is None else ((HOLD_TIMER, hold.until),)


def _until_deadline(progress: Progress, now: datetime, timers: tuple[tuple[str, datetime], ...]) -> GateDecision:
    """Wait while something holds the timers; a deadline that aborts ends that, unless nothing waits for a promotion.

    A freeze stops the deadline also while its end is not known.
    """
    at = _deadline_at(progress)
    is_frozen = progress.hold is not None and progress.hold.kind is HoldKind.FROZEN and is_held(progress.hold, now)
    if at is None or is_frozen or not progress.gated or progress.policy.on_deadline is not OnDeadline.ABORT:
        return Wait(timers=timers)
    return deadline(progress, now) or Wait(timers=(*timers, (DEADLINE_TIMER, at)))


def approvals(progress: Progress, now: datetime) -> GateDecision | None:
    """Hold a timer that is due until the last person approves; the promotion deadline runs on meanwhile."""
    if progress.hold is None or progress.hold.kind is not HoldKind.APPROVALS:
        return None
    at_deadline = deadline(progress, now)
    if at_deadline is not None:
        return Wait(timers=()) if isinstance(at_deadline, GoAhead) else at_deadline
    if timer(progress, now) is None:
        return None
    return Wait(timers=tuple(one for one in _promotion_timers(progress, now) if one[1] > now))


def first_deployment(progress: Progress, now: datetime) -> GateDecision | None:
    """Go ahead without a gate when nothing was live before, or for a rollback inside its window."""
    del now
    if progress.gated:
        return None
    why = "first deployment" if progress.blue_set is None else "rollback inside its window"
    return GoAhead(by="policy", door=Channel.POLICY, reason=why)


def window_closed(progress: Progress, now: datetime) -> GateDecision | None:
    """Hold a timer that is due while the policy's windows are closed. No window binds an abort at the deadline."""
    due = _bound_by_windows(progress)
    if due is None:
        return None
    opening = progress.opening
    if opening is None or opening.due != due or opening.has_passed(now):
        return LookUpWindows(due=due)
    if now < due or opening.has_begun(now) or _deadline_stops_timers(progress, now):
        return None
    why = "a timer is due and the windows of the policy are closed"
    hold = Hold(kind=HoldKind.WINDOW, since=max(due, progress.since), why=why, until=opening.opens_at)
    return None if progress.hold == hold else HoldTimer(hold=hold)


def timer(progress: Progress, now: datetime) -> GateDecision | None:
    """Go ahead when the delay is over; when the deadline passed before that, the deadline decides."""
    at = _switch_at(progress, _promotion_at(progress))
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
    is_held = _is_held_by_windows(progress, now)
    match progress.policy.on_deadline:
        case OnDeadline.ABORT:
            return GoBack(
                outcome=RolloutOutcome.EXPIRED,
                by="policy",
                door=Channel.TIMER,
                reason=f"nobody promoted within {span}"
                + (", and the windows were closed" if is_held else _hold_at_deadline(progress, now)),
            )
        case OnDeadline.PROMOTE if is_held:
            return Wait(timers=_promotion_timers(progress, now))
        case OnDeadline.PROMOTE:
            return GoAhead(
                by="policy", door=Channel.TIMER, reason=f"promotion_deadline of {span}, on_deadline: promote"
            )
        case OnDeadline.HOLD:
            return Wait(timers=())
        case _ as unreachable:
            assert_never(unreachable)


def _hold_at_deadline(progress: Progress, now: datetime) -> str:
    """Return what kept timers from switching when nobody promoted in time; empty when nothing did."""
    hold = progress.hold
    return f", and the switch was on hold: {hold.why}" if hold is not None and is_held(hold, now) else ""


GUARDS: Final[tuple[Guard, ...]] = (
    abort_requested,
    superseded,
    green_failed,
    green_not_open,
    green_not_ready,
    approvals_lapse,
    promotion_requested,
    green_has_grown,
    regressed_meanwhile,
    paused,
    frozen,
    automation_suspended,
    held,
    approvals,
    first_deployment,
    window_closed,
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
        RefusalCode.APPROVALS_MISSING: HoldKind.APPROVALS,
        RefusalCode.NO_ROOM: HoldKind.NO_ROOM,
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


def is_refused_by_windows(answer: SwitchAnswer) -> bool:
    """Whether a switch came while the windows were closed: then everything is as it was, and a timer waits for them."""
    return answer.refusal is not None and answer.refusal.code is RefusalCode.WINDOW_CLOSED


def opening_after(progress: Progress, times: OpeningTimes | None, now: datetime) -> TimerOpening | None:
    """Return what a rollout knows of its windows once it was told ``times``, or nothing new."""
    due = _due_at(progress)
    return progress.opening if times is None or due is None else TimerOpening.of(times, due, now)


def window_hold_is_over(progress: Progress, now: datetime) -> bool:
    """Whether the windows no longer hold a timer: they are open, or it is due at another moment, or not any more."""
    if progress.hold is None or progress.hold.kind is not HoldKind.WINDOW:
        return False
    opening = progress.opening
    return (
        opening is None
        or opening.due != _bound_by_windows(progress)
        or opening.has_begun(now)
        or _deadline_stops_timers(progress, now)
    )


def hold_over_regression(hold: Hold) -> Hold | None:
    """Return what is left of a hold when green is verified anew: the timers that waited for approvals begin anew."""
    return None if hold.kind is HoldKind.APPROVALS else hold


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
    counts = f"{green.running} of {green.wanted} ran, {green.ready} of {green.required} were healthy" if green else ""
    error = f"; last error: {green.last_error}" if green is not None and green.last_error else ""
    span = format_duration(progress.policy.provisioning_deadline)
    if progress.growth is not None:
        return GoBack(
            outcome=RolloutOutcome.ABORTED,
            by="policy",
            door=Channel.TIMER,
            reason=why_not_grown(progress, progress.growth, f"{counts}{error}"),
        )
    return GoBack(
        outcome=RolloutOutcome.FAILED,
        by="policy",
        door=Channel.TIMER,
        reason=f"green was not healthy within {span}" + (f" ({counts}{error})" if counts else ""),
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
    policy, due = progress.policy, _promotion_at(progress)
    when = f"{format_duration(policy.promote_after)} after green was verified"
    if policy.promote_at is not None and policy.promote_at == due:
        when = f"at {utc(policy.promote_at)}"
    return f"auto_promote, {when}" + (", once the windows had opened" if _switch_at(progress, due) != due else "")


def _deadline_at(progress: Progress) -> datetime | None:
    if progress.policy.promotion_deadline is None or progress.waited_since is None:
        return None
    freezes = (Still(since=one.begins_at, until=one.ends_at) for one in progress.freezes)
    return end_of(progress.waited_since, progress.policy.promotion_deadline, (*progress.stood_still, *freezes))


def promotion_moments(progress: Progress) -> Mapping[str, datetime]:
    """Return when the timers of the promotion end, by name, as if nothing held them up."""
    timers = ((PROMOTION_TIMER, _promotion_at(progress)), (DEADLINE_TIMER, _deadline_at(progress)))
    return {name: at for name, at in timers if at is not None}


def _due_at(progress: Progress) -> datetime | None:
    """Return when a timer is to switch, whatever the windows say; ``None`` when none does."""
    at, deadline_at = _promotion_at(progress), _deadline_at(progress)
    if deadline_at is None or (at is not None and at <= deadline_at):
        return at
    return deadline_at if progress.policy.on_deadline is OnDeadline.PROMOTE else None


def _bound_by_windows(progress: Progress) -> datetime | None:
    """Return when a timer is due that may switch inside the policy's windows only; ``None`` when there is none."""
    awaits = progress.phase is RolloutPhase.AWAITING_PROMOTION and progress.gated and bool(progress.policy.windows)
    return _due_at(progress) if awaits else None


def _switch_at(progress: Progress, due: datetime | None) -> datetime | None:
    """Return when a timer switches that is due at ``due``: then, or when the windows open; ``None`` for never."""
    opening = progress.opening
    if due is None or opening is None or opening.due != due:
        return due
    return None if opening.wakes_at is None else max(due, opening.wakes_at)


def _is_held_by_windows(progress: Progress, now: datetime) -> bool:
    """Whether a timer is due that the windows, as far as they were looked up, do not let switch."""
    due, opening = _bound_by_windows(progress), progress.opening
    return due is not None and due <= now and opening is not None and opening.due == due and not opening.has_begun(now)


def _deadline_stops_timers(progress: Progress, now: datetime) -> bool:
    """Whether the deadline has passed, after which only a deadline that promotes lets a timer switch."""
    deadline_at = _deadline_at(progress)
    return deadline_at is not None and deadline_at <= now and progress.policy.on_deadline is not OnDeadline.PROMOTE


def _promotion_timers(progress: Progress, now: datetime) -> tuple[tuple[str, datetime], ...]:
    """Return what the promotion waits for; where the windows open after a timer is due, also when it is due."""
    due, deadline_at = _bound_by_windows(progress), _deadline_at(progress)
    timers: tuple[tuple[str, datetime | None], ...]
    if due is None:
        timers = ((PROMOTION_TIMER, _promotion_at(progress)), (DEADLINE_TIMER, deadline_at))
    else:
        switches_at = _switch_at(progress, due)
        timers = (
            (DELAY_TIMER, due if now < due and due not in {switches_at, deadline_at} else None),
            (PROMOTION_TIMER, switches_at),
            (DEADLINE_TIMER, deadline_at if deadline_at is not None and now < deadline_at else None),
        )
    return tuple((name, at) for name, at in timers if at is not None)
