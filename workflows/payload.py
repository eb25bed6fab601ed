"""The parser of what comes to a rollout, as workflows use it: what was taken before is taken at each replay."""

from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from celadon.domain.language import payload as strict
    from celadon.domain.language.declared_text import COUNTED_IN_CHARACTERS, RECORDED, UNBOUNDED
    from celadon.domain.language.errors import RefusedError

ModelT = TypeVar("ModelT", bound=BaseModel)

_REFUSED_SINCE: Final = (
    (UNBOUNDED, "refuse-what-cannot-be-kept"),
    (COUNTED_IN_CHARACTERS, "count-bytes"),
    (RECORDED, "refuse-control-characters"),
)
"""What was once taken and is refused now, with the patch since which it is; the latest first."""


def parse_payload(model: type[ModelT], payload: object) -> ModelT:
    """Read what came as ``model``.

    Raises:
        RefusedError: it does not parse.

    """
    try:
        return strict.parse_payload(model, payload)
    except RefusedError:
        for taken_then, patch in _REFUSED_SINCE:
            taken_before = _read_as_then(model, payload, taken_then)
            if taken_before is not None and not is_patched(patch):
                return taken_before
        raise


def _read_as_then(model: type[ModelT], payload: object, recorded: Mapping[str, object]) -> ModelT | None:
    try:
        return strict.parse_payload(model, payload, recorded=recorded)
    except RefusedError:
        return None


def is_patched(patch: str) -> bool:
    """Whether what came since a patch holds here; a replay of an older history answers that it does not."""
    try:
        return workflow.patched(patch)
    except workflow.ReadOnlyContextError:
        return True  # A validator of updates: no replay calls it.
