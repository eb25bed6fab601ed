"""Column types for text that replicas, routers and people wrote.

Postgres holds no NUL character and no lone surrogate, in ``text`` or in ``jsonb``. One of them in the output of a
replica or in the key of a refused signal would fail the same transaction at every retry, so they are replaced.
"""

from typing import Any

from sqlalchemy import Dialect, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator


class StorableText(TypeDecorator[str]):
    """Text, with what Postgres cannot hold replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what Postgres cannot hold."""
        del dialect
        return None if value is None else _storable(value)


class StorableJson(TypeDecorator[dict[str, Any]]):
    """A JSON object, with what Postgres cannot hold replaced in its keys and texts."""

    impl = JSONB
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> dict[str, Any] | None:
        """Replace what Postgres cannot hold."""
        del dialect
        stored: dict[str, Any] | None = _storable_json(value)
        return stored


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _storable_json(value: Any) -> Any:  # noqa: ANN401 - any JSON
    match value:
        case str():
            return _storable(value)
        case dict():
            return {_storable(str(key)): _storable_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable_json(item) for item in value]
        case _:
            return value
