"""The base of every model that comes from outside: frozen, strict, unknown keys refused.

What stands under a field is its description in JSON Schemas and in the files that ``celadon init`` writes.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from celadon.domain.language.docstrings import attribute_docstrings
from celadon.domain.language.limits import MESSAGE_BYTES

OBJECT_TAG: Final = "revision-object"
NUMBER_TAG: Final = "revision-number"
"""How Pydantic calls the two ways to name a revision; nobody writes them, so no error shows them."""

TEXT_TAG: Final = "as-text"
WRITTEN_OUT_TAG: Final = "written-out"
"""The same of what may be a word, or an object that says more."""


def tag_of_form(value: object) -> str:
    """Return the tag of something that may be a word, or an object that says more."""
    return WRITTEN_OUT_TAG if isinstance(value, Mapping | BaseModel) else TEXT_TAG


def field_texts(model: type[BaseModel]) -> Mapping[str, str]:
    """Return what stands under each field of a model, or else what its type says of it; empty for no text."""
    sentences = attribute_docstrings(model)
    return {name: field.description or sentences.get(name, "") for name, field in model.model_fields.items()}


def written_name(name: str, field: FieldInfo) -> str:
    """Return the key of a field as people write it: a field may not be called as Python's own words are."""
    return field.alias or name


class _Described(BaseModel):
    """A value whose fields are described by what stands under them."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        """Describe each field by what stands under it.

        Only now: Pydantic would read it when the class is made, and these are many that every process loads.
        """
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in attribute_docstrings(cls).items():
            field = cls.model_fields.get(name)
            written = name if field is None else written_name(name, field)
            if written in properties:
                properties[written].setdefault("description", text)
        return schema


class StrictModel(_Described):
    """A frozen value; unknown keys and lax conversions are refused."""

    most_bytes: ClassVar[int] = MESSAGE_BYTES
    """The size of the longest payload that is read as one."""
    later_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that a later version is to carry out, and that this one refuses by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Record(_Described):
    """A frozen value that Celadon's own parts hand to one another; unknown keys are left for newer readers."""

    model_config = ConfigDict(frozen=True)
