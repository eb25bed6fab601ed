"""Other timers for one rollout: when a timer promotes it, and when nobody may promote it any more."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from celadon.domain.decisions.other_rollout import refuse_other
from celadon.domain.language.commands import RescheduleCommand
from celadon.domain.language.durations import format_duration
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.messages import TimersSet
from celadon.domain.language.moments import utc
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import HoldKind, Progress
from celadon.domain.language.states import RolloutPhase

TIMER_KEYS: Final = ("auto_promote", "promote_after", "promote_at", "promotion_deadline")

_BEFORE_THE_SWITCH: Final = frozenset(
    {RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION},
)


def refuse_reschedule(progress: Progress, command: RescheduleCommand) -> Refusal | None:
    """Return why a rollout's timers may not be changed so now, or ``None`` when they may."""
    other = refuse_other(progress, command)
    if other is not None:
        return other
    if progress.phase not in _BEFORE_THE_SWITCH or (progress.rollout is not None and not progress.gated):
        why = (
            f"the rollout is {progress.phase.value}"
            if progress.gated
            else "a first deployment goes live as soon as it is healthy"
        )
        return nothing_to_reschedule(progress.deployment, why)
    if not _given(command):
        return Refusal(
            code=RefusalCode.INVALID_PAYLOAD,
            message="it changes no timer",
            next_step=f"give at least one of {', '.join(TIMER_KEYS)}, or take one away with 'without'",
        )
    # Before it has begun, a rollout does not know its policy; the table refuses then what contradicts it.
    return None if progress.rollout is None else refuse_contradiction(progress.policy, command)


def nothing_to_reschedule(deployment: str, why: str) -> Refusal:
    """Return the refusal of a rollout that waits for no promotion."""
    return Refusal(
        code=RefusalCode.NOTHING_TO_RESCHEDULE,
        message=f"no timer of the promotion is left to be changed: {why}",
        next_step=f"look at it with 'celadon rollout status {deployment}'",
    )


def refuse_contradiction(policy: BlueGreenPolicy, command: RescheduleCommand) -> Refusal | None:
    """Return why a rollout with this policy cannot have such timers, or ``None`` when it can."""
    try:
        rescheduled_policy(policy, command)
    except ValueError as error:
        return Refusal(
            code=RefusalCode.POLICY_CONFLICT,
            message=f"the timers contradict each other: {error}",
            next_step="give both that belong together",
        )
    return None


def rescheduled_policy(policy: BlueGreenPolicy, command: RescheduleCommand) -> BlueGreenPolicy:
    """Return a rollout's policy with other timers.

    As in a policy, the delay and the moment lapse when automatic promotion is switched off.

    Args:
        policy: resolved, all keys given.
        command: what changes.

    Raises:
        ValueError: a timer would have no effect.

    """
    changes = _given(command)
    wanted = {name: getattr(policy, name) for name in BlueGreenPolicy.model_fields} | changes
    if not wanted["auto_promote"]:
        for name, nothing in _LAPSED.items():
            if changes.get(name, nothing) != nothing:
                raise ValueError(f"{name} has no effect without auto_promote: true")
            wanted[name] = nothing
    return BlueGreenPolicy(**wanted)


def changed_timers(before: BlueGreenPolicy, after: BlueGreenPolicy) -> Mapping[str, str]:
    """Return what changes, by key, as people read it; empty when nothing does."""
    return {
        name: f"{_shown(getattr(before, name))} → {_shown(getattr(after, name))}"
        for name in TIMER_KEYS
        if getattr(before, name) != getattr(after, name)
    }


def rescheduled(progress: Progress, policy: BlueGreenPolicy, command: RescheduleCommand, now: datetime) -> Progress:
    """Return a rollout that goes by other timers from now on; while it is paused they stand still as well.

    Args:
        progress: the rollout.
        policy: its policy as the table has it now.
        command: who wanted it, and why.
        now: the moment.

    """
    hold = progress.hold
    # The switch was refused because the former policy left it to a person; let the timers try again.
    is_cured = hold is not None and hold.kind is HoldKind.NOT_BY_ITSELF
    return progress.with_changes(
        policy=policy,
        timers_set=TimersSet(by=command.by, at=now, reason=command.reason),
        hold=None if is_cured else hold,
    )


def _given(command: RescheduleCommand) -> dict[str, Any]:
    """Return the keys that a command gives, with ``None`` for those that it takes away."""
    changes = {name: value for name in TIMER_KEYS if (value := getattr(command, name)) is not None}
    return changes | dict.fromkeys((one.value for one in command.without), None)


def _shown(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case timedelta():
            return format_duration(value)
        case datetime():
            return utc(value)
        case _:
            return str(value)


_LAPSED: Final[Mapping[str, object]] = MappingProxyType({"promote_after": timedelta(0), "promote_at": None})
