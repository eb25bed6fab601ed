"""What is wrong with a value is said in plain words."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, get_args

import pytest
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import ErrorType

from celadon.domain.language.error_words import problems_of, what_is_wrong

PYDANTIC = re.compile(r"[Ii]nput|should|[Ff]ield required|valid (integer|string|boolean|number)|instance|permitted")


OUR_OWN = {"value_error", "assertion_error"}
"""Errors whose words our validators give."""


class Colour(StrEnum):
    """One of two."""

    BLUE = "blue"
    GREEN = "green"


class Some(BaseModel):
    """Something with a key."""

    key: int


def _told(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    return problems_of(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (int, "many", "must be a whole number"),
        (int, 2.5, "must be a whole number"),
        (float, "x", "must be a number"),
        (bool, "perhaps", "must be true or false"),
        (str, 7, "must be text"),
        (list[int], 7, "must be a list"),
        (tuple[int, ...], "x", "must be a list"),
        (dict[str, int], 7, "must be an object"),
        (Some, 7, "must be an object"),
        (Some, {}, "key: must be given"),
        (Some, {"key": "x"}, "key: must be a whole number"),
        (list[int], [1, "x"], "1: must be a whole number"),
        (Colour, "red", "must be 'blue' or 'green'"),
        (Literal["a", "b"], "c", "must be 'a' or 'b'"),
        (datetime, "soon", "must be a moment with its zone, such as 2026-01-31T18:00:00+01:00"),
        (timedelta, "soon", "must be a duration, such as 30s, 5m or PT5M"),
        (AnyUrl, "x", "must be a URL"),
        (None, 7, "must be null, or left out"),
    ],
)
def test_a_wrong_kind_is_told_plainly(kind: Any, value: object, told: str) -> None:
    assert _told(kind, value) == told


@pytest.mark.parametrize(
    ("bounds", "value", "told"),
    [
        ({"ge": 1}, 0, "must be at least 1"),
        ({"gt": 1}, 1, "must be greater than 1"),
        ({"le": 1}, 2, "must be at most 1"),
        ({"lt": 1}, 1, "must be less than 1"),
        ({"min_length": 1}, "", "must not be empty"),
        ({"min_length": 2}, "a", "must have at least 2 characters"),
        ({"max_length": 2}, "abc", "must have at most 2 characters"),
        ({"pattern": "^a$"}, "b", "must match ^a$"),
        ({"min_length": 1}, [], "must not be empty"),
        ({"max_length": 2}, [1, 2, 3], "must have at most 2 elements"),
    ],
)
def test_a_bound_is_told_with_its_value(bounds: dict[str, Any], value: Any, told: str) -> None:
    bounded = create_model("Bounded", value=(type(value), Field(**bounds)))

    with pytest.raises(ValidationError) as caught:
        bounded(value=value)

    assert problems_of(caught.value) == f"value: {told}"


def test_no_error_of_pydantic_keeps_its_own_words() -> None:
    numbers = dict.fromkeys(("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "actual_length"), 2)
    context: dict[str, Any] = numbers | {"pattern": "^a$", "expected": "'a'", "expected_schemes": "'https'"}
    kept = {}
    for kind in set(get_args(ErrorType)) - OUR_OWN:
        try:
            message = PydanticKnownError(kind, context).message()
        except (TypeError, ValueError, KeyError):
            message = "Input should be something"
        told = what_is_wrong({"type": kind, "msg": message, "ctx": context})
        if PYDANTIC.search(told):
            kept[kind] = told
    assert kept == {}
