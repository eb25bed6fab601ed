"""JSON Schemas of the files that people write, for editors that complete and check them."""

import json
from datetime import timedelta
from enum import StrEnum
from typing import Any, assert_never

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from celadon.domain.language.durations import format_duration
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.policy import BlueGreenPolicy

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class FileKind(StrEnum):
    """A kind of file that has a schema."""

    DEPLOYMENT = "deployment"
    POLICY = "policy"


def file_schema(kind: FileKind) -> str:
    """Return the JSON Schema of a kind of file, as text."""
    schema = _model(kind).model_json_schema(schema_generator=_FileSchema)
    return json.dumps({"$schema": _DIALECT, **schema}, indent=2) + "\n"


def _model(kind: FileKind) -> type[BaseModel]:
    match kind:
        case FileKind.DEPLOYMENT:
            return RolloutRequest
        case FileKind.POLICY:
            return BlueGreenPolicy
        case _ as unreachable:
            assert_never(unreachable)


class _FileSchema(GenerateJsonSchema):
    """Writes default durations as people do."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401 - the base's signature
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)
