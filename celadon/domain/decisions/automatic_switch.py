"""When a policy switches without a person, and whether one policy does so more easily than another.

A request that lets green go live by itself, sooner or more easily than the deployment's own policy would, is a
promotion that is given in advance: it takes the right to promote.
"""

from datetime import datetime, timedelta
from typing import Final

from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy, OnDeadline, required_healthy, resolve_policy
from celadon.domain.language.window import AppliesTo

_TIMER_KEYS: Final = ("auto_promote", "promote_after", "promote_at", "promotion_deadline", "on_deadline")
_PATIENCE_KEYS: Final = ("provisioning_deadline", "max_replacements", "max_regressions")
"""More of one of these lets a timer promote a green that the other policy would have given up, or left to a person."""

_TICK: Final = timedelta(microseconds=1)
_LATE: Final = timedelta(days=1)
_LARGEST: Final = 10_000


def switches_after(policy: BlueGreenPolicy, verified_after: timedelta, *, gated: bool) -> timedelta | None:
    """Return when a policy switches by itself, counted from the moment that green waited for the first time.

    ``promote_at`` counts from no moment of a rollout and is left out.

    Args:
        policy: resolved, all keys given.
        verified_after: when all of green was verified last, counted from the same moment; 0 while it never regressed.
        gated: false for a first deployment that goes live as soon as it is verified.

    Returns:
        The time, or ``None`` when only a person promotes.

    """
    if not gated:
        return verified_after
    deadline = policy.promotion_deadline
    if policy.auto_promote:
        promotes = verified_after + policy.promote_after
        if deadline is None or promotes <= deadline:
            return promotes
    if deadline is not None and policy.on_deadline is OnDeadline.PROMOTE:
        return max(deadline, verified_after)
    return None


def switches_by_itself(policy: BlueGreenPolicy, *, gated: bool) -> bool:
    """Whether a policy switches without a person, for however long green takes to be verified."""
    return any(switches_after(policy, moment, gated=gated) is not None for moment in _turning_points(policy))


def asks_for_gate(resolved: BlueGreenPolicy, *layers: BlueGreenPolicy) -> bool:
    """Whether somebody said that a person decides on a first deployment too.

    A delay asks for no gate: it gives time to look at green while blue serves, and here nothing serves.
    """
    said = any("auto_promote" in layer.model_fields_set for layer in layers)
    return resolved.approvals is not None or (said and not resolved.auto_promote)


def eased_keys(
    own: BlueGreenPolicy,
    wanted: BlueGreenPolicy,
    *,
    own_gated: bool = True,
    wanted_gated: bool = True,
) -> tuple[str, ...]:
    """Return the keys by which ``wanted`` switches by itself where ``own`` would not, or not yet; empty when none do.

    No policy that asks for approvals switches by itself.

    A policy that leaves the switch to a person eases nothing, whatever else it says. Another ``min_healthy`` is another
    moment at which green counts as verified, also when it asks for more: the two policies can then not be compared.

    Args:
        own: the deployment's own policy, resolved.
        wanted: the policy of the rollout, resolved.
        own_gated: whether a rollout by ``own`` waits for a promotion.
        wanted_gated: whether this rollout does.

    """
    if wanted.approvals is not None or not switches_by_itself(wanted, gated=wanted_gated):
        return ()
    keys: list[str] = [] if own.approvals is None else ["approvals"]
    moments = {*_turning_points(own), *_turning_points(wanted)}
    if _waits_for_less(wanted.promote_at, own.promote_at) or any(
        _is_sooner(switches_after(wanted, one, gated=wanted_gated), switches_after(own, one, gated=own_gated))
        for one in moments
    ):
        keys += [name for name in _TIMER_KEYS if getattr(own, name) != getattr(wanted, name)]
    if any(_opens_more(own, wanted, kind) for kind in AppliesTo):
        keys.append("windows")
    if _asks_for_other_health(own, wanted):
        keys.append("min_healthy")
    keys += [name for name in _PATIENCE_KEYS if getattr(wanted, name) > getattr(own, name)]
    return tuple(keys)


def lets_people_switch_at_other_times(own: BlueGreenPolicy, wanted: BlueGreenPolicy) -> bool:
    """Whether a person could promote by ``wanted`` when the windows of ``own`` would take force; both are resolved."""
    return _opens_more(own, wanted, AppliesTo.EVERYONE)


def verbs_of_policy(policy: BlueGreenPolicy, defaults: BlueGreenPolicy | None = None) -> tuple[Verb, ...]:
    """Return what somebody must be allowed to do, besides creating it, who gives a deployment this policy.

    Args:
        policy: as it was given; it need not be resolved.
        defaults: the policy that the installation gives to a deployment that says nothing.

    Raises:
        ValueError: the policy contradicts itself.

    """
    before, after = resolve_policy(defaults), resolve_policy(defaults, policy)
    gate = asks_for_gate(before, *([] if defaults is None else [defaults]))
    waives_gate = gate and not asks_for_gate(after, *([] if defaults is None else [defaults]), policy)
    eases = waives_gate or eased_keys(before, after) or lets_people_switch_at_other_times(before, after)
    return (Verb.PROMOTE,) if eases else ()


def _turning_points(policy: BlueGreenPolicy) -> tuple[timedelta, ...]:
    """Return the moments of verification at which the time of the switch bends: between them it is a straight line."""
    bends = [timedelta(0)]
    if policy.promotion_deadline is not None:
        bends += [policy.promotion_deadline - policy.promote_after, policy.promotion_deadline]
    last = max(bends)
    return (*(one for bend in bends for one in (bend, bend + _TICK) if one >= timedelta(0)), last + _LATE)


def _is_sooner(one: timedelta | None, other: timedelta | None) -> bool:
    return one is not None and (other is None or one < other)


def _waits_for_less(wanted: datetime | None, own: datetime | None) -> bool:
    """Whether the moment before which no timer promotes is gone, or sooner. Where it is the same, the spans decide."""
    return own is not None and (wanted is None or wanted < own)


def _opens_more(own: BlueGreenPolicy, wanted: BlueGreenPolicy, kind: AppliesTo) -> bool:
    """Whether windows of a kind may be open by ``wanted`` while they are closed by ``own``.

    Those of one kind add up, and without any nothing is closed: fewer of them, but one, never open more.
    """
    before, after = ({one for one in policy.windows if one.applies_to is kind} for policy in (own, wanted))
    return bool(before) and not (after and after <= before)


def _asks_for_other_health(own: BlueGreenPolicy, wanted: BlueGreenPolicy) -> bool:
    if own.min_healthy == wanted.min_healthy:
        return False
    return any(
        required_healthy(count, own.min_healthy) != required_healthy(count, wanted.min_healthy)
        for count in range(1, _LARGEST + 1)
    )
