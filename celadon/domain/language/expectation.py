"""What the answer to an HTTP probe must be like."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.limits import quoted
from celadon.domain.language.linear_regex import check_size

_CODES: Final = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")
_MOST_VALUES: Final = 20
_LONGEST_KEY: Final = 200

SUCCESS: Final = "200-299"


def _codes(value: int | str) -> tuple[int, int]:
    """Return the first and the last code of ``204``, ``"204"`` or ``"200-299"``.

    Raises:
        ValueError: it is neither.

    """
    match = _CODES.fullmatch(str(value))
    if match is None or (match[2] is not None and match[2] < match[1]):
        raise ValueError(f"{quoted(value)} is no status: write a code such as 204, or a range such as '200-299'")
    return int(match[1]), int(match[2] or match[1])


def _checked(value: int | str) -> int | str:
    _codes(value)
    return value


Status = Annotated[int | str, AfterValidator(_checked)]
JsonScalar = str | int | float | bool | None
JsonKey = Annotated[str, Field(min_length=1, max_length=_LONGEST_KEY)]


class Expectation(StrictModel):
    """What the answer to an HTTP probe must be like."""

    model_config = ConfigDict(serialize_by_alias=True)

    status: Status | Annotated[tuple[Status, ...], Field(min_length=1, max_length=_MOST_VALUES)] = SUCCESS
    """A code, a range such as `200-299`, or a list of these."""
    json_values: Annotated[dict[JsonKey, JsonScalar], Field(max_length=_MOST_VALUES)] = Field(
        default_factory=dict, alias="json"
    )
    """Values that the answer must have as JSON, by dotted keys: `{status: ok, data.0.ready: true}`. A number is the
    place in a list, counted from 0. A key with a dot in it cannot be named."""
    regex: Annotated[str, AfterValidator(check_size)] | None = None
    """Must match somewhere in the answer; syntax of Rust's `regex` (no look-around, no backreferences), at most 200
    characters, counts such as `{3}` at most 32 when multiplied."""

    @property
    def codes(self) -> tuple[tuple[int, int], ...]:
        """The first and the last code of each range."""
        return tuple(_codes(one) for one in (self.status if isinstance(self.status, tuple) else (self.status,)))

    @property
    def needs_body(self) -> bool:
        """Whether the answer's body is looked at, too."""
        return bool(self.json_values) or self.regex is not None
