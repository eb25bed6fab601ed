"""Faults that can be foreseen, told in a sentence: what was refused or failed, why, and what to do next."""

# ruff: noqa: PLC0415 - the rooms whose faults these are need not be loaded before one of them failed

import os

from pydantic import ValidationError
from pydantic_settings import SettingsError

from celadon.domain.errors import RefusedError


class CommandError(Exception):
    """A command cannot do what it was asked; the text is the whole sentence."""


def explain(error: Exception) -> str | None:
    """Return the sentence for a fault that can be foreseen; nothing for a bug."""
    match error:
        case CommandError() | RefusedError():
            return str(error)
        case ValidationError():
            return _explain_settings(error)
        case SettingsError():
            return f"the environment cannot be read: {error}"
        case _:
            return _explain_rooms(error)


def _explain_rooms(error: Exception) -> str | None:
    from celadon.client.connection import TemporalUnreachableError
    from celadon.client.rollouts import NoAnswerError
    from celadon.stack.errors import StackError

    return str(error) if isinstance(error, TemporalUnreachableError | NoAnswerError | StackError) else None


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
