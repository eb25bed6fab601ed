"""Faults that can be foreseen, told in a sentence: what was refused or failed, why, and what to do next."""

import os
import sys
from http import HTTPStatus
from typing import Final

from pydantic import ValidationError

from celadon.cli.extras import ExtraMissingError, explain_missing_module
from celadon.client.patience import NoAnswerError
from celadon.domain.language.errors import RefusedError


class CommandError(Exception):
    """A command cannot do what it was asked; the text is the whole sentence."""


class OutageError(CommandError):
    """A part of Celadon is away, and may come back: whoever waits for something waits on."""


class ApiError(CommandError):
    """What the API refuses at its door, before anybody is asked."""

    def __init__(self, code: str, message: str, next_step: str, *, status: int, retry_after: float = 0) -> None:
        """Say what and what to do; ``retry_after`` is in seconds, 0 when waiting changes nothing."""
        super().__init__(f"{message}; {next_step}" if next_step else message)
        self.code = code
        self.message = message
        self.next_step = next_step
        self.status = status
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the same request may be answered later."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


OUTAGE_STATUSES: Final = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT},
)
"""What a proxy answers, or the API itself, while something behind it is away."""


_UNREADABLE_ENVIRONMENT: Final = ("pydantic_settings", "SettingsError")

FORESEEN_IN_ROOMS: Final = (
    ("celadon.client.connection", "TemporalUnreachableError"),
    ("celadon.client.signatures", "KeyFileError"),
    ("celadon.owned_files", "NotOursError"),
    ("celadon.provisioners.replica_user", "ReplicaUserError"),
    ("celadon.stack.errors", "StackError"),
    ("celadon.table.core.startup", "DatabaseRefusedError"),
)
"""Faults with a sentence, by module and class: whoever speaks to an API alone has not installed what some of the
modules import."""


def is_outage(error: Exception) -> bool:
    """Whether an error may pass by itself, without anybody who changes anything."""
    return isinstance(error, OutageError) or (isinstance(error, ApiError) and error.may_pass)


def explain(error: Exception) -> str | None:
    """Return the sentence for a fault that can be foreseen; nothing for a bug."""
    match error:
        case CommandError() | RefusedError() | NoAnswerError() | ExtraMissingError():
            return str(error)
        case ModuleNotFoundError():
            return explain_missing_module(error)
        case ValidationError():
            return _explain_settings(error)
        case _:
            return _explain_rooms(error)


def _explain_rooms(error: Exception) -> str | None:
    if _is_of(error, *_UNREADABLE_ENVIRONMENT):
        return f"the environment cannot be read: {error}"
    return str(error) if any(_is_of(error, module, name) for module, name in FORESEEN_IN_ROOMS) else None


def _is_of(error: Exception, module: str, name: str) -> bool:
    """Whether an error is of a class that is named; a module that is not loaded has raised nothing."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(error, getattr(loaded, name))


def _explain_settings(error: ValidationError) -> str | None:
    """Name the variables that are missing or wrong, when ``error`` is of a room's settings."""
    if not error.title.endswith("Settings"):
        return None
    told = [_variable_problem(str(one["loc"][0]), one["type"], one["msg"]) for one in error.errors() if one["loc"]]
    return f"{'; '.join(dict.fromkeys(told))}: set it and try again"


def _variable_problem(field: str, kind: str, message: str) -> str:
    name = field if field.isupper() else field.upper()
    if name != "DATABASE_URL" and not name.startswith("CELADON_"):
        name = f"CELADON_{name}"
    if kind == "missing":
        return f"{name} is not set"
    given = "" if "KEY" in name else f" ({os.environ[name]!r})" if name in os.environ else ""
    return f"{name}{given}: {message.removeprefix('Value error, ')}"
