"""What requests and results of several commands share."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Number, Reason
from celadon.domain.language.names import RevisionNumber, RolloutId

RequestId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Chosen by the caller; a repeat with the same one gets the first answer.",
    ),
]


class TargetRollout(Record):
    """The rollout that a decision is about."""

    rollout: RolloutId | None = None
    revision: RevisionNumber | None = None
    blue: RevisionNumber | None = None
    """The revision that it left."""
    has_ended: bool = False
    """Whether it is the last one, and no longer under way."""
    is_rollback: bool = False
    """Whether it was itself started to go back."""
    note: str = ""
    """What a person should know before the answer comes."""


class RolloutDecision(StrictModel):
    """What every decision about a rollout may say."""

    rollout: Number | None = None
    """The rollout that is meant; any other is refused. When not given, the latest one."""
    reason: Reason = ""


class Decided(Record):
    """What every answer to a decision says."""

    deployment: str
    """The deployment's name."""
    rollout: RolloutId | None
    """The rollout that was decided about; nothing while it has not been registered."""
    revision: RevisionNumber | None
    """Green's revision; nothing while the rollout has not been registered."""
    by: str
    """Who decided: the caller."""


SWITCH: Final[tuple[str, Mapping[str, str]]] = (
    "Switch",
    {
        "epoch": "answer.epoch",
        "acknowledged_by": "answer.acknowledged_by",
        "acknowledged_count": "answer.acknowledged_count",
        "silent": "answer.silent",
        "silent_count": "answer.silent_count",
        "milliseconds": "answer.ms",
    },
)
"""How a payload of GraphQL shows how far traffic went."""
