"""Faults that can be foreseen, told in a sentence: what was refused or failed, why, and what to do next."""

import os
import sys
from typing import Final

from pydantic import ValidationError

from celadon.client.patience import NoAnswerError
from celadon.domain.language.error_words import what_is_wrong
from celadon.domain.language.errors import RefusedError
from celadon.extras import ExtraMissingError, explain_missing_module

_UNREADABLE_ENVIRONMENT: Final = ("pydantic_settings", "SettingsError")

FORESEEN_IN_ROOMS: Final = (
    ("celadon.cli.faults", "CommandError"),
    ("celadon.client.connection", "TemporalUnreachableError"),
    ("celadon.client.signatures", "KeyFileError"),
    ("celadon.owned_files", "NotOursError"),
    ("celadon.provisioners.replica_user", "ReplicaUserError"),
    ("celadon.stack.errors", "StackError"),
    ("celadon.table.core.startup", "DatabaseRefusedError"),
)
"""Faults with a sentence, by module and class: whoever speaks to an API alone has not installed what some of the
modules import, and a worker does not load the command line."""


def explain(error: Exception) -> str | None:
    """Return the sentence for a fault that can be foreseen; nothing for a bug."""
    match error:
        case RefusedError() | NoAnswerError() | ExtraMissingError():
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
    problems = [
        _variable_problem(str(one["loc"][0]), one["type"], what_is_wrong(one)) for one in error.errors() if one["loc"]
    ]
    return f"{'; '.join(dict.fromkeys(problems))}: set it and try again"


def _variable_problem(field: str, kind: str, message: str) -> str:
    name = field if field.isupper() else field.upper()
    if name != "DATABASE_URL" and not name.startswith("CELADON_"):
        name = f"CELADON_{name}"
    if kind == "missing":
        return f"{name} is not set"
    value = "" if "KEY" in name else f" ({os.environ[name]!r})" if name in os.environ else ""
    return f"{name}{value}: {message}"
