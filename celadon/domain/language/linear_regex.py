"""Regular expressions whose search takes time in proportion to the text, whatever the expression.

Pydantic brings the engine: Rust's ``regex``, which knows neither look-around nor backreferences and never tries again
from an earlier place, unlike Python's ``re``. The bounds on an expression keep the factor small, too: a search holds
the interpreter's lock until it ends.
"""

import re
from functools import lru_cache
from math import prod
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

LONGEST_REGEX: Final = 200
"""Characters."""

MOST_REPETITIONS: Final = 32
"""The counts of all ``{n}`` of an expression, multiplied: each copy of what they repeat is compiled."""

_COUNTED: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def check_size(expression: str) -> str:
    """Return an expression that is short enough; whether it can be compiled is not looked at.

    Raises:
        ValueError: it is too long, or repeats too much.

    """
    if not 0 < len(expression) <= LONGEST_REGEX:
        raise ValueError(f"a regex has 1 to {LONGEST_REGEX} characters")
    counts = (max(int(first), int(last or 0), 1) for first, last in _COUNTED.findall(expression))
    if prod(counts) > MOST_REPETITIONS:
        raise ValueError(f"the counts of a regex, such as {{3}}, are at most {MOST_REPETITIONS} when multiplied")
    return expression


def why_invalid(expression: str) -> str:
    """Return why an expression cannot be compiled; empty when it can."""
    try:
        _compiled(expression)
    except SchemaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return lines[-1].removeprefix("error: ") if lines else "it cannot be compiled"
    return ""


def is_found(expression: str, text: str) -> bool:
    """Whether an expression matches somewhere in a text; never for one that cannot be compiled."""
    try:
        return _compiled(expression).isinstance_python(text)
    except SchemaError:
        return False


@lru_cache(maxsize=256)
def _compiled(expression: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=expression, regex_engine="rust-regex"))
