"""The rollout that waits for its turn: the one place behind the rollout that is under way."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.limits import REQUEST_BYTES
from celadon.domain.language.names import DeploymentName, RevisionNumber, RolloutId
from celadon.domain.language.policy import OnNewRevision

NEXT_REQUEST: Final = "next-{id}"
"""The request id under which what waits is started: whoever starts it, it is one start."""

_LARGEST: Final = 2**63 - 1
"""As far as the table counts."""


class StartState(StrEnum):
    """What became of a start."""

    STARTED = "started"
    """The rollout has begun, or begins as soon as a worker takes it up."""
    WAITS = "waits"
    """It waits for its turn."""
    ALREADY_THERE = "ALREADY_THERE"
    """What is wanted is live, under way or waiting already: nothing was done."""


class NextRollout(StrictModel):
    """The input of a rollout that has waited for its turn: what it is stands in the table."""

    most_bytes = REQUEST_BYTES

    deployment: DeploymentName
    """The deployment's name."""
    next: Annotated[int, Field(ge=1, le=_LARGEST)]
    """The number under which it waits."""


class SuccessorWaits(Record):
    """Another rollout waits for its turn; told to the one that is under way."""

    rollout: RolloutId
    """The rollout under way; any other drops it."""
    id: int
    """The number of what waits."""


class Successor(Record):
    """What a rollout knows of the one that waits for its turn."""

    id: int
    """The number under which it waits."""
    revision: RevisionNumber
    by: str
    """Who asked for it."""
    replaces: bool
    """Whether the rollout under way ends for it now: before the switch green is closed, after it the bake ends."""


class SuccessorRead(Record):
    """The answer of ``read_successor``."""

    successor: Successor | None = None
    """Nothing when nothing waits."""


class WaitingRollout(Record):
    """A rollout that waits for its turn, behind the one that is under way."""

    id: int
    """The number under which it waits."""
    revision: RevisionNumber
    """The revision that it rolls out."""
    replicas: int | None
    """How many replicas it asks for; nothing for as many as the deployment has."""
    mode: OnNewRevision
    """Whether it replaces the rollout that is under way, or waits for its end."""
    requested_by: str
    """Who asked for it."""
    verified: bool
    """Whether a door vouches for who asked."""
    reason: str
    """Why it was asked for."""
    since: datetime
    """Since when it waits."""
    after: RolloutId | None
    """The rollout that it waits for, or waited for; nothing when that was pruned."""
    held: str
    """Why it does not start by itself any more, so that it waits for ``celadon retry``; empty when it does."""
    waits_for: str
    """What it waits for, in words."""
