"""The parser of what comes to a rollout, as workflows use it: what was taken before is taken at each replay."""

from typing import Final, TypeVar

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from celadon.domain import payload as strict
    from celadon.domain.errors import RefusedError

ModelT = TypeVar("ModelT", bound=BaseModel)

_REFUSES_CONTROLS: Final = "refuse-control-characters"
"""The patch since which names and reasons with control characters are refused."""


def parse_payload(model: type[ModelT], payload: object) -> ModelT:
    """Read what came as ``model``.

    Raises:
        RefusedError: it does not parse.

    """
    try:
        return strict.parse_payload(model, payload)
    except RefusedError:
        taken_before = strict.parse_payload(model, payload, recorded=True)
        if _refuses_controls():
            raise
        return taken_before


def _refuses_controls() -> bool:
    try:
        return workflow.patched(_REFUSES_CONTROLS)
    except workflow.ReadOnlyContextError:
        return True  # A validator of updates: no replay calls it.
