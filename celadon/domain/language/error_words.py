"""What is wrong with a value, in plain words in place of Pydantic's own."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

_KINDS: Final[Mapping[str, str]] = {
    "missing": "must be given",
    "none_required": "must be null, or left out",
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite_number": "must be a number, neither infinite nor NaN",
    "string": "must be text",
    "bytes": "must be text",
    "list": "must be a list",
    "tuple": "must be a list",
    "set": "must be a list",
    "frozen_set": "must be a list",
    "iterable": "must be a list",
    "dict": "must be an object",
    "mapping": "must be an object",
    "model": "must be an object",
    "model_attributes": "must be an object",
    "dataclass": "must be an object",
    "datetime": "must be a moment with its zone, such as 2026-01-31T18:00:00+01:00",
    "timezone": "must be a moment with its zone, such as 2026-01-31T18:00:00+01:00",
    "date": "must be a day, such as 2026-01-31",
    "time_delta": "must be a duration, such as 30s, 5m or PT5M",
    "time": "must be a time of day, such as 18:00",
    "decimal": "must be a number",
    "fraction": "must be a number",
    "url": "must be a URL",
    "uuid": "must be a UUID",
    "json_invalid": "must be valid JSON",
    "json": "must be valid JSON",
    "invalid_key": "keys must be text",
    "extra_forbidden": "unknown key",
}
"""By the beginning of an error's type, up to an underscore."""

_BOUNDS: Final[Mapping[str, str]] = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} elements",
    "too_long": "must have at most {max_length} elements",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "url_scheme": "must be a URL with {expected_schemes}",
}
"""By an error's type, with what the error says beside."""

MISSING: Final = _KINDS["missing"]


def problems_of(error: ValidationError) -> str:
    """Return every key that is wrong, and what is wrong with it; never the value, which may be a secret."""
    problems = error.errors(include_url=False, include_input=False)
    paths = (".".join(map(str, one["loc"])) for one in problems)
    texts = (
        f"{path}: {what_is_wrong(one)}" if path else what_is_wrong(one)
        for path, one in zip(paths, problems, strict=True)
    )
    return "; ".join(dict.fromkeys(texts))


def what_is_wrong(told: Mapping[str, object]) -> str:
    """Return what is wrong with a value.

    Args:
        told: one of Pydantic's errors, with its context when the words need it.

    """
    kind = str(told["type"])
    context: Any = told.get("ctx") or {}
    if kind in {"value_error", "assertion_error"}:
        return str(told["msg"]).partition(", ")[2] or str(told["msg"])
    if kind in {"string_too_short", "too_short"} and context.get("min_length") == 1:
        return "must not be empty"
    if kind in _BOUNDS and context:
        return _BOUNDS[kind].format_map(context)
    names = kind.split("_")
    known = ("_".join(names[:size]) for size in range(len(names), 0, -1))
    plain = next((_KINDS[name] for name in known if name in _KINDS), None)
    return plain or str(told["msg"]).replace("Input should be", "must be", 1)
