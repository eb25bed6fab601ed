"""What a schedule asks for, and when: the words of the workflow ``Ask`` and of the rows behind it."""

import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.limits import NAME_BYTES, REASON_BYTES, clip
from celadon.domain.language.names import DeploymentName

MOST_SCHEDULES: Final = 20
"""Schedules of one deployment that are to fire, and of those that have fired once as many more."""

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _check_schedule_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            "the name of a schedule has at most 63 lower-case letters, digits and '-', and begins and ends with a "
            "letter or digit",
        )
    return value


ScheduleName = Annotated[
    str,
    Field(max_length=63),
    AfterValidator(_check_schedule_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$", "maxLength": 63}),
]
"""Names a schedule among those of its deployment."""

CommandName = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z_]+$")]
Argument = dict[Annotated[str, Field(max_length=60)], JsonValue]


class AskRequest(StrictModel):
    """What the workflow ``Ask`` is started with: a command, as a schedule or a person gives it."""

    deployment: DeploymentName
    """Whose command it is."""
    command: CommandName
    """The command, such as ``promote``."""
    argument: Argument = Field(default_factory=dict)
    """What the command says, by key, such as ``reason``."""


class AskStep(Record):
    """What the activity ``ask`` is told."""

    request: AskRequest
    run: str
    """The run of ``Ask`` that asks."""
    started_at: datetime
    """When that run began."""
    schedule: str = ""
    """The id of the schedule that started it, as its search attributes say; empty for none."""
    scheduled_at: datetime | None = None
    """The moment at which the schedule was to start it, as its search attributes say."""


def _clipped(text: str) -> str:
    return clip(text, REASON_BYTES)


class AskAnswer(Record):
    """What came of a command that a schedule has given."""

    deployment: str
    command: str
    by: Annotated[str, AfterValidator(lambda text: clip(text, NAME_BYTES))]
    """For whom it was given."""
    said: Annotated[str, AfterValidator(_clipped)]
    """What was answered, in the words that a person reads."""
