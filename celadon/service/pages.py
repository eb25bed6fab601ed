"""Pages of lists: one envelope and one way from page to page, the same at every door."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Self, TypeVar

from pydantic import ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from celadon.domain.language.base_models import Record

ItemT = TypeVar("ItemT")
CursorT = TypeVar("CursorT", int, str)


class Page(Record, Generic[ItemT, CursorT]):
    """A page of a list; each list says its order and how both fields are called in JSON."""

    items: tuple[ItemT, ...]
    """In the order of the list."""
    cursor: CursorT | None = None
    """Asks for the next page; ``None`` on the last one."""

    @classmethod
    def of(cls, found: Sequence[ItemT], limit: int, place: Callable[[ItemT], CursorT], **more: Any) -> Self:  # noqa: ANN401 - further fields
        """Return a page.

        Args:
            found: what was read, one more than ``limit`` when there are more.
            limit: how many the page may have.
            place: returns where an element stands in the list.
            more: further fields of the list's own page.

        """
        items = tuple(found[:limit])
        return cls(items=items, cursor=place(items[-1]) if len(found) > limit else None, **more)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        """Describe both fields under the names that they have in JSON."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        items, cursor = (cls.model_fields[name].alias or name for name in ("items", "cursor"))
        descriptions = {
            items: "In the order of the list.",
            cursor: f"Give it as ``{cursor.removeprefix('next_')}`` to get the next page; null on the last one.",
        }
        for name, text in descriptions.items():
            if name in properties:
                properties[name]["description"] = text
        return schema


PageT = TypeVar("PageT", bound=Page[Any, Any])


def named(items: str, cursor: str) -> ConfigDict:
    """Return how a list's page is called in JSON: ``items`` and ``cursor`` under names of their own."""
    names = {"items": items, "cursor": cursor}
    return ConfigDict(
        alias_generator=lambda name: names.get(name, name),
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )


async def every_page(read: Callable[[Any], Awaitable[PageT]]) -> PageT:
    """Read a list to its end, page after page, and return it as one page.

    Args:
        read: returns the page that comes after a cursor, or the first one.

    """
    first = await read(None)
    items, cursor = list(first.items), first.cursor
    while cursor is not None:
        page = await read(cursor)
        items += page.items
        cursor = page.cursor
    return first.model_copy(update={"items": tuple(items), "cursor": None})
