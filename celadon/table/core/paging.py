"""How long a page of a list may be, through whichever door it is asked for, and how one is made."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

RowT = TypeVar("RowT")
RecordT = TypeVar("RecordT")

LONGEST_PAGE: Final = 200
"""What is longer is asked for page after page, each from where the one before ended."""

_AT_ONCE: Final = 25


async def made_of(rows: Sequence[RowT], make: Callable[[RowT], RecordT]) -> tuple[RecordT, ...]:
    """Return what ``make`` makes of each row, and let others have the event loop now and then."""
    made: list[RecordT] = []
    for start in range(0, len(rows), _AT_ONCE):
        made += [make(row) for row in rows[start : start + _AT_ONCE]]
        await asyncio.sleep(0)
    return tuple(made)
