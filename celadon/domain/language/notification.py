"""The words of notifications: what rollouts tell, to which targets, and the content of one notification."""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.limits import quoted

MAX_TARGETS: Final = 20
_TARGET = re.compile(r"[a-z]([a-z0-9-]{0,62}[a-z0-9])?")


class NotificationKind(StrEnum):
    """What a rollout tells."""

    STARTED = "started"
    VERIFIED = "verified"
    WAITING_FOR_PROMOTION = "waiting_for_promotion"
    APPROVAL_MISSING = "approval_missing"
    DEADLINE_NEAR = "deadline_near"
    HELD = "held"
    PROMOTED = "promoted"
    SWITCHED = "switched"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    FAILED = "failed"
    COMPLETED = "completed"
    NEXT_REPLACED = "next_replaced"
    """What waited for its turn waits no more: another one has taken its place."""
    NEXT_HELD = "next_held"
    """What waits does not start by itself any more."""


TEST_KIND: Final = "test"
"""The kind of a sample that an operator asked for; no policy can name it."""


class TargetKind(StrEnum):
    """In which form a target is told."""

    WEBHOOK = "webhook"
    """A signed CloudEvent in structured JSON mode."""
    SLACK = "slack"
    """A message for an incoming webhook of Slack, or of what takes the same."""


class DeliveryState(StrEnum):
    """Where one notification to one target stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up; ``celadon notify retry`` begins anew."""
    CANCELLED = "cancelled"
    """It was to be told later, and there is nothing to tell any more."""


def _check_target_name(value: str) -> str:
    """Return ``value`` when it can name a target, else raise ``ValueError`` that says why."""
    if not _TARGET.fullmatch(value):
        raise ValueError(
            f"{quoted(value)} is no target's name: lower-case letters, digits and '-', beginning with a letter, "
            "ending with a letter or digit, at most 64 characters",
        )
    return value


TargetName = Annotated[str, AfterValidator(_check_target_name)]


def _no_duplicates(values: tuple[NotificationKind, ...] | None) -> tuple[NotificationKind, ...] | None:
    if values is not None and len(set(values)) != len(values):
        raise ValueError("an event is listed twice")
    return values


class NotifyRule(StrictModel):
    """Tells one target of a deployment's rollouts."""

    target: TargetName
    """A target that an operator has added with ``celadon notify target add``."""
    events: Annotated[
        tuple[NotificationKind, ...] | None,
        Field(min_length=1),
        AfterValidator(_no_duplicates),
    ] = None
    """What to tell; all events when it is left out."""


def _one_rule_a_target(rules: tuple[NotifyRule, ...]) -> tuple[NotifyRule, ...]:
    names = [rule.target for rule in rules]
    if len(set(names)) != len(names):
        raise ValueError("a target is listed twice; give it one rule with all its events")
    return rules


NotifyRules = Annotated[tuple[NotifyRule, ...], Field(max_length=MAX_TARGETS), AfterValidator(_one_rule_a_target)]


class TargetSubscription(Record):
    """A target as far as it decides what it is told."""

    name: str
    every_deployment: bool
    """Whether it is told of deployments whose policy does not name it."""
    events: frozenset[NotificationKind]
    """What it is told of those; empty for everything."""


def audience(
    kind: NotificationKind,
    rules: Iterable[NotifyRule],
    subscriptions: Collection[TargetSubscription],
) -> tuple[str, ...]:
    """Return which targets are told of ``kind``, in order of their names.

    A rule of the policy is more particular than what a target is told of every deployment, and stands in its place.
    A rule may name a target that has been removed meanwhile: it is returned all the same, so that the loss is seen.
    """
    by_policy = {rule.target: rule for rule in rules}
    named = {name for name, rule in by_policy.items() if rule.events is None or kind in rule.events}
    general = {
        one.name
        for one in subscriptions
        if one.every_deployment and one.name not in by_policy and (not one.events or kind in one.events)
    }
    return tuple(sorted(named | general))


class Notice(Record):
    """The content of one notification: a fact about a rollout, as it was when it became one."""

    deployment: str
    rollout: int
    kind: str
    """A ``NotificationKind``, or ``test``."""
    workflow_id: str
    run_id: str
    from_revision: int | None
    to_revision: int
    phase: str
    requested_by: str = ""
    actor: str = ""
    """Who decided."""
    issuer: str = ""
    """Who vouches for the actor; empty when nobody does."""
    door: str = ""
    """Through which door the decision came in."""
    verified: bool = False
    """Whether a door vouches for the actor."""
    reason: str = ""
    outcome: str = ""
    deadline: datetime | None = None
    on_deadline: str = ""
    promotes_at: datetime | None = None
    """When a timer promotes unless a person decides before."""
    who_may_decide: tuple[str, ...] = ()
    """Roles at the API; the workflow's other doors are open to whoever can reach Temporal."""
    commands: dict[str, str] = Field(default_factory=dict)
    """What a person can do now: a name, and the command for it."""
    evidence: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of_stored(cls, stored: Mapping[str, object]) -> "Notice":
        """Read what the table keeps."""
        return cls.model_validate(stored, strict=False)
