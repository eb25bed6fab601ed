"""The schema files that other programs read: GraphQL's and OpenAPI's."""

import json
from pathlib import Path
from typing import Final

from celadon.api.app import make_app
from celadon.api.graphql_schema import make_schema
from celadon.api.settings import ApiSettings

GRAPHQL_FILE: Final = "schema.graphql"
OPENAPI_FILE: Final = "openapi.json"

_NOWHERE: Final = "postgresql+asyncpg://nobody@localhost/nothing"
"""Describing the API connects to nothing."""


def schema_files() -> dict[str, str]:
    """Return the content of each file, by its name."""
    settings = ApiSettings(database_url=_NOWHERE)
    schema = make_schema(settings.api_max_depth, settings.api_max_cost)
    described = make_app(settings).openapi()
    return {
        GRAPHQL_FILE: schema.as_str() + "\n",
        OPENAPI_FILE: json.dumps(described, indent=2, sort_keys=True) + "\n",
    }


def write_schema_files(directory: Path) -> tuple[Path, ...]:
    """Write every file into ``directory``; return them.

    Raises:
        OSError: one cannot be written.

    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in schema_files().items():
        (directory / name).write_text(content, encoding="utf-8")
    return tuple(directory / name for name in schema_files())
