"""Pages of lists in GraphQL, as Relay has them, and the cursors that lead from one to the next."""

import base64
import binascii
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, NamedTuple, TypeAlias, TypeVar

import strawberry
from graphql import GraphQLError
from strawberry.types import Info

from celadon.api.graphql_context import GraphContext
from celadon.api.graphql_limits import LONGEST_PAGE
from celadon.service.pages import Page

_LARGEST: Final = 2**63 - 1
_LONGEST_PLACE: Final = 300

NodeT = TypeVar("NodeT")
RecordT = TypeVar("RecordT")
PlaceT = TypeVar("PlaceT", int, str)
ContextInfo: TypeAlias = Info[GraphContext, None]

First = Annotated[int, strawberry.argument(description=f"How many at most, 1 to {LONGEST_PAGE}.")]
Cursor = Annotated[str | None, strawberry.argument(description="Only what comes after this cursor.")]


@strawberry.type
class PageInfo:
    """Where a page stands (Relay)."""

    has_next_page: bool
    """Whether more comes after this page."""
    has_previous_page: bool
    """Whether this page was asked for with a cursor, so that others come before it."""
    start_cursor: str | None
    """The cursor of its first element; nothing when the page is empty."""
    end_cursor: str | None
    """The cursor of its last element, to be given as ``after``; nothing when the page is empty."""


@strawberry.type(description="An element of a list, in a page of it.")
class Edge(Generic[NodeT]):
    """An element of a list, in a page of it."""

    cursor: str = strawberry.field(description="Where the element stands in the list, to be given as ``after``.")
    node: NodeT = strawberry.field(description="The element.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[NodeT]):
    """A page of a list."""

    edges: list[Edge[NodeT]] = strawberry.field(description="Its elements.")
    page_info: PageInfo = strawberry.field(description="Where it stands in the list.")


class Asked(NamedTuple):
    """Which page was asked for."""

    kind: str
    """What stands in a cursor of the list before its place."""
    first: int
    after: str | None


async def page_of(
    info: ContextInfo,
    found: Sequence[RecordT],
    asked: Asked,
    show: Callable[[RecordT], NodeT],
    place: Callable[[RecordT], PlaceT],
) -> Connection[NodeT]:
    """Return a page when it is its turn: an answer of many pages is made page by page, others between them.

    Args:
        info: of the field.
        found: what was read, with one more than the page when more follow.
        asked: which page was asked for.
        show: returns an element as the schema shows it.
        place: returns where an element stands.

    """
    return await shown_page(info, Page.of(found, asked.first, place), asked, show, place)


async def shown_page(
    info: ContextInfo,
    page: Page[RecordT, PlaceT],
    asked: Asked,
    show: Callable[[RecordT], NodeT],
    place: Callable[[RecordT], PlaceT],
) -> Connection[NodeT]:
    """Return a page that was read as one; arguments as above."""
    await info.context.service.piece(info.context.who)
    edges = [Edge(cursor=write_cursor(asked.kind, place(one)), node=show(one)) for one in page.items]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=page.cursor is not None,
            has_previous_page=asked.after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


def page_length(first: int) -> int:
    """Check how long a page may be.

    Raises:
        GraphQLError: it is outside of 1 to ``LONGEST_PAGE``.

    """
    if not 1 <= first <= LONGEST_PAGE:
        raise GraphQLError(f"first is {first}, but 1 to {LONGEST_PAGE}", extensions={"code": "INVALID_PAYLOAD"})
    return first


def write_cursor(kind: str, place: int | str) -> str:
    """Return an opaque cursor."""
    return base64.urlsafe_b64encode(f"{kind}:{place}".encode()).decode()


def read_number(kind: str, cursor: str | None) -> int | None:
    """Return the number in a cursor.

    Raises:
        GraphQLError: it is none of this kind.

    """
    if cursor is None:
        return None
    number = _read(kind, cursor)
    if not (number.isascii() and number.isdecimal() and int(number) <= _LARGEST):
        raise _no_cursor(cursor)
    return int(number)


def read_name(kind: str, cursor: str | None) -> str | None:
    """Return the name in a cursor; errors as for a number."""
    if cursor is None:
        return None
    name = _read(kind, cursor)
    if not name.isprintable():
        raise _no_cursor(cursor)
    return name


def read_route(cursor: str | None) -> str | None:
    """Return the replica in a cursor; errors as for a number."""
    if cursor is None:
        return None
    try:
        return str(uuid.UUID(_read("route", cursor)))
    except ValueError as error:
        raise _no_cursor(cursor) from error


def _read(kind: str, cursor: str) -> str:
    try:
        name, _, place = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        name, place = "", ""
    if name != kind or not place or len(place) > _LONGEST_PLACE:
        raise _no_cursor(cursor)
    return place


def _no_cursor(cursor: str) -> GraphQLError:
    return GraphQLError(f"{cursor!r} is no cursor of this list", extensions={"code": "INVALID_PAYLOAD"})
