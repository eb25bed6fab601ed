"""What a plan says of the way to the switch: what stands before it, when it can be, and who decides.

What it says is as things stand at its moment: a freeze can come, and green takes its time to be verified.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from celadon.domain.decisions.freezing import binding_freezes
from celadon.domain.decisions.preview import opens_as_preview, size_of_green
from celadon.domain.decisions.standing_still import end_of
from celadon.domain.decisions.successors import is_same_way
from celadon.domain.decisions.windows import binding_people, next_opening
from celadon.domain.language.approval import ApprovalRule
from celadon.domain.language.base_models import Record
from celadon.domain.language.durations import format_duration
from celadon.domain.language.errors import Refusal
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.moments import utc
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.permissions import Verb, roles_that_may
from celadon.domain.language.plan import Decider, PlannedGuard
from celadon.domain.language.policy import BlueGreenPolicy, OnDeadline, required_healthy
from celadon.domain.language.progress import Still
from celadon.domain.language.states import RolloutPhase
from celadon.domain.language.window import Window

_MOST_TURNS: Final = 100
"""Freezes that are read are fewer."""

_DECISIONS: Final = (
    ("promote", Verb.PROMOTE),
    ("promote with force", Verb.FORCE),
    ("abort", Verb.ABORT),
    ("roll back", Verb.ROLLBACK),
    ("finish the bake", Verb.PROMOTE),
    ("pause or resume", Verb.PAUSE),
    ("reschedule", Verb.PAUSE),
    ("reschedule to a switch that comes sooner", Verb.PROMOTE),
    ("freeze", Verb.FREEZE),
    ("unfreeze", Verb.UNFREEZE),
)
_PROMOTIONS: Final = frozenset({"promote", "promote with force"})


class UnderWay(Record):
    """The rollout of a deployment that has not ended."""

    to_revision: RevisionNumber
    replicas: int
    """How many green wants."""
    phase: RolloutPhase
    policy: BlueGreenPolicy
    """Resolved."""


class MomentsOfSwitch(Record):
    """When a rollout that began now could switch, as far as that is known."""

    earliest: datetime | None
    by_itself: datetime | None
    latest: datetime | None


def is_already_there(  # noqa: PLR0913 - what is wanted, and all that may be it
    request: RolloutRequest,
    wanted: RevisionNumber,
    policy: BlueGreenPolicy,
    *,
    live: RevisionNumber | None,
    replicas: int,
    under_way: UnderWay | None,
    waiting: UnderWay | None = None,
) -> bool:
    """Whether what a request wants is live, or on its way there, so that a rollout would change nothing.

    A policy says how a rollout goes. So another policy alone is no reason for a rollout to what is live; but a rollout
    under way that goes by another one is another rollout than the one that is wanted.

    Args:
        request: what is asked for; replicas that it does not give stay as they are.
        wanted: the number of its revision.
        policy: that it resolves to.
        live: the revision that is live, if one is.
        replicas: how many the deployment has.
        under_way: the rollout that has not ended.
        waiting: what waits for its turn. While a rollout is under way it is the last word on what is to be live.

    """

    def is_way_of(other: UnderWay) -> bool:
        return (
            other.phase is not RolloutPhase.ROLLING_BACK
            and other.to_revision == wanted
            and is_same_way(other.policy, policy)
            and request.replicas in {None, other.replicas}
        )

    if waiting is not None and is_way_of(waiting):
        return True
    if under_way is None:
        return live == wanted and request.replicas in {None, replicas}
    return waiting is None and is_way_of(under_way)


def guards_of_green(
    policy: BlueGreenPolicy, deployment: str, replicas: int, no_room: Refusal | None, *, gated: bool, asked: bool
) -> tuple[PlannedGuard, ...]:
    """Return what stands before green waits for its switch, in the order in which a rollout asks.

    Args:
        policy: resolved.
        deployment: its name.
        replicas: how many green has at last.
        no_room: why the rollout would wait before green is opened; ``None`` when there is room.
        gated: whether the rollout waits for a promotion.
        asked: whether room was looked for.

    """
    opened = size_of_green(policy, replicas, is_preview=opens_as_preview(policy, gated=gated))
    return (
        PlannedGuard(guard="abort", binds=False, told=f"'celadon abort {deployment}' goes first, in every phase"),
        PlannedGuard(guard="failed", binds=True, told=_failed(policy)),
        *_room(policy, no_room, asked=asked),
        *_preview(opened, replicas),
        PlannedGuard(guard="ready", binds=True, told=_ready(policy, opened)),
        PlannedGuard(guard="checks", binds=False, told="none: this version runs no checks beside the health check"),
    )


def guards_of_switch(
    policy: BlueGreenPolicy, deployment: str, freezes: Sequence[Freeze], now: datetime, *, gated: bool, goes_back: bool
) -> tuple[PlannedGuard, ...]:
    """Return what stands before the switch of a green that is verified, in the order in which a rollout asks.

    Args:
        policy: resolved.
        deployment: its name.
        freezes: that hold or are to come.
        now: the database's moment.
        gated: whether the rollout waits for a promotion.
        goes_back: whether it is a rollback inside its window, which not every freeze holds.

    """
    return (
        PlannedGuard(guard="pause", binds=False, told=f"none: 'celadon pause {deployment}' stops every timer"),
        _freeze(binding_freezes(freezes, goes_back=goes_back), deployment, now),
        _approvals(policy),
        _window(policy, now, gated=gated),
        _timer(policy, deployment, gated=gated),
        _deadline(policy, gated=gated),
    )


def moments_of_switch(
    policy: BlueGreenPolicy, freezes: Sequence[Freeze], now: datetime, *, gated: bool, goes_back: bool
) -> MomentsOfSwitch:
    """Return when a rollout that began now could switch; arguments as above."""
    binding = binding_freezes(freezes, goes_back=goes_back)
    if not gated:
        first = _first(now, (), binding, now)
        return MomentsOfSwitch(earliest=first, by_itself=first, latest=None)
    by_person = _first(now, binding_people(policy.windows), binding, now)
    by_itself = _by_itself(policy, binding, now)
    known = [one for one in (by_person, by_itself) if one is not None]
    return MomentsOfSwitch(earliest=min(known, default=None), by_itself=by_itself, latest=_latest(policy, now))


def deciders(policy: BlueGreenPolicy | None, requested_by: str) -> tuple[Decider, ...]:
    """Return who may decide what about a rollout.

    Args:
        policy: resolved; ``None`` when the rollout would not begin.
        requested_by: who asks for the rollout.

    """
    rule = None if policy is None else policy.approvals
    condition = "" if rule is None else people_told(rule, requested_by)
    return tuple(
        Decider(
            decision=decision,
            roles=roles_that_may(verb),
            condition=condition if decision in _PROMOTIONS else "",
        )
        for decision, verb in _DECISIONS
    )


def people_told(rule: ApprovalRule, requested_by: str) -> str:
    """Return how many people must promote, and who does not count."""
    people = "one verified person" if rule.count == 1 else f"{rule.count} different verified people"
    return people + (f", not {requested_by or 'the requester'}, who requests it" if rule.exclude_requester else "")


def _failed(policy: BlueGreenPolicy) -> str:
    if policy.max_replacements == 0:
        return "the rollout ends as failed with the first replica of green that fails"
    return f"up to {policy.max_replacements} replicas of green that fail are replaced, then the rollout ends as failed"


def _room(policy: BlueGreenPolicy, no_room: Refusal | None, *, asked: bool) -> Iterator[PlannedGuard]:
    """Yield what room means for the rollout; nothing where its policy says nothing about it."""
    bound = policy.max_total_replicas
    if bound is None or not asked:
        return
    text = (
        f"there is room for green within max_total_replicas of {bound}"
        if no_room is None
        else f"green is opened once there is room: {no_room.message}"
    )
    yield PlannedGuard(guard="room", binds=no_room is not None, told=text)


def _preview(opened: int, replicas: int) -> Iterator[PlannedGuard]:
    if opened < replicas:
        text = f"green has {opened} until its switch is decided, then it grows to {replicas} and is verified again"
        yield PlannedGuard(guard="preview", binds=True, told=text)


def _ready(policy: BlueGreenPolicy, opened: int) -> str:
    required = required_healthy(opened, policy.min_healthy)
    span = format_duration(policy.provisioning_deadline)
    return f"{required} of {opened} replicas of green must be healthy within {span}, or the rollout ends as failed"


def _freeze(freezes: Sequence[Freeze], deployment: str, now: datetime) -> PlannedGuard:
    if not freezes:
        return PlannedGuard(guard="freeze", binds=False, told="nothing is frozen, and no freeze is planned")
    texts = []
    for one in sorted(freezes, key=lambda freeze: (freeze.begins_at, freeze.id)):
        what = "all deployments are" if one.everywhere else f"{deployment} is"
        since = "since" if one.begins_at <= now else "from"
        end = f"until {utc(one.ends_at)}" if one.ends_at else "until somebody ends it with 'celadon unfreeze'"
        why = f": {one.reason}" if one.reason else ""
        texts.append(f"{what} frozen {since} {utc(one.begins_at)} by {one.by}, {end}{why}")
    return PlannedGuard(guard="freeze", binds=True, told="; ".join(texts))


def _approvals(policy: BlueGreenPolicy) -> PlannedGuard:
    rule = policy.approvals
    if rule is None:
        return PlannedGuard(guard="approvals", binds=False, told="one promotion is enough")
    people = "one verified person must" if rule.count == 1 else f"{rule.count} different verified people must"
    text = f"{people} promote" + (", the requester not among them" if rule.exclude_requester else "")
    return PlannedGuard(guard="approvals", binds=True, told=f"{text}; no timer switches without them")


def _window(policy: BlueGreenPolicy, now: datetime, *, gated: bool) -> PlannedGuard:
    if not policy.windows or not gated:
        return PlannedGuard(guard="window", binds=False, told="there is no window")
    opening = next_opening(policy.windows, now, now)
    whom = "people and timers" if binding_people(policy.windows) else "timers"
    if opening is None:
        text = "no opening is in sight"
    elif opening.opens_at <= now:
        text = "open now" + (f", until {utc(opening.closes_at)}" if opening.closes_at else "")
    else:
        text = f"closed until {utc(opening.opens_at)}"
    return PlannedGuard(guard="window", binds=True, told=f"for {whom}: {text}")


def _timer(policy: BlueGreenPolicy, deployment: str, *, gated: bool) -> PlannedGuard:
    if not gated:
        return PlannedGuard(guard="timer", binds=False, told="it goes live as soon as green is verified")
    if not policy.auto_promote:
        return PlannedGuard(
            guard="timer", binds=False, told=f"none: a person promotes with 'celadon promote {deployment}'"
        )
    text = f"promotes {format_duration(policy.promote_after)} after green is verified"
    if policy.promote_at is not None:
        text += f", not before {utc(policy.promote_at)}"
    return PlannedGuard(guard="timer", binds=True, told=text)


def _deadline(policy: BlueGreenPolicy, *, gated: bool) -> PlannedGuard:
    if policy.promotion_deadline is None or not gated:
        return PlannedGuard(guard="deadline", binds=False, told="none: a verified green waits as long as it takes")
    then = {
        OnDeadline.ABORT: "aborts",
        OnDeadline.PROMOTE: "promotes",
        OnDeadline.HOLD: "leaves the promotion to people",
    }[policy.on_deadline]
    span = format_duration(policy.promotion_deadline)
    return PlannedGuard(guard="deadline", binds=True, told=f"{then} when green has waited for {span}")


def _by_itself(policy: BlueGreenPolicy, freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """Return when a timer switches a green that is verified now; nothing when none does, or none in sight."""
    if policy.approvals is not None:
        return None
    timer = max(now + policy.promote_after, policy.promote_at or now) if policy.auto_promote else None
    span, freely = policy.promotion_deadline, policy.on_deadline is OnDeadline.PROMOTE
    stills = (Still(since=max(one.begins_at, now), until=one.ends_at) for one in freezes)
    deadline = None if span is None else end_of(now, span, stills)
    if span is not None and deadline is None:
        # A freeze without an end holds the deadline up, and every switch.
        return None
    if timer is None or (deadline is not None and deadline < timer):
        return None if deadline is None or not freely else _first(deadline, policy.windows, freezes, now)
    switches = _first(timer, policy.windows, freezes, now)
    too_late = switches is not None and deadline is not None and deadline < switches and not freely
    return None if too_late else switches


def _latest(policy: BlueGreenPolicy, now: datetime) -> datetime | None:
    """Return when a rollout that nobody has promoted has been aborted; nothing when it never is."""
    if policy.promotion_deadline is None or policy.on_deadline is not OnDeadline.ABORT:
        return None
    return now + policy.provisioning_deadline + policy.promotion_deadline


def _first(moment_: datetime, windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """Return the first moment from one on at which windows are open and no freeze holds; ``None`` for none in sight."""
    at = moment_
    for _ in range(_MOST_TURNS):
        holding = next((one for one in freezes if one.holds_at(at)), None)
        if holding is not None:
            if holding.ends_at is None:
                return None
            at = holding.ends_at
            continue
        opening = next_opening(windows, now, at) if windows else None
        if windows and opening is None:
            return None
        if opening is None or opening.opens_at <= at:
            return at
        at = opening.opens_at
    return None
