"""What changes of a deployment's own policy and of the installation's defaults have in common."""

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.limits import quoted
from celadon.domain.language.plan import FieldChange
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.service.command import Line


class OtherKeys(StrictModel):
    """Asks for other keys of a layer of policies; keys that are not named stay as they are."""

    policy: BlueGreenPolicy = BlueGreenPolicy()
    """Keys that it gets."""
    unset: Annotated[tuple[str, ...], Field(max_length=len(BlueGreenPolicy.model_fields))] = ()
    """Keys that it loses, so that the weaker layer applies."""
    reason: Reason = ""

    @field_validator("unset")
    @classmethod
    def _are_keys(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in BlueGreenPolicy.model_fields]
        if unknown:
            keys = ", ".join(BlueGreenPolicy.model_fields)
            raise ValueError(f"a policy has no key {quoted(unknown[0])}; it has: {keys}")
        return names

    @model_validator(mode="after")
    def _names_each_key_once(self) -> Self:
        both = sorted(self.policy.model_fields_set & set(self.unset))
        if both:
            raise ValueError(f"{both[0]} is set and unset at once; leave one of the two out")
        if not self.policy.model_fields_set and not self.unset:
            raise ValueError("nothing is set or unset; name a key")
        return self


class ChangedKeys(Record):
    """The answer to other keys of a layer of policies."""

    changed: bool
    """False when they were so already; then nothing was written."""
    changes: tuple[FieldChange, ...]
    """For which keys another value, or another layer, counts from now on in a rollout that says nothing itself."""
    policy: BlueGreenPolicy
    """The layer as it is now, with the keys alone that it gives."""


def summary_of_keys(result: ChangedKeys, *, unchanged: str, changed: str) -> tuple[Line, ...]:
    """Return each change and what it counts for, or that there was none."""
    if not result.changed:
        return (Line(text=unchanged),)
    return (
        *(Line(text=f"  {one.field}: {one.before} → {one.after}") for one in result.changes),
        Line(text=changed),
    )
