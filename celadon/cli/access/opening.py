"""Opening the way to the Celadon that a command means."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from celadon.cli.access.calls import calling
from celadon.cli.access.through_api import ApiAccess
from celadon.cli.target import ApiTarget, TargetChoice, find_target

if TYPE_CHECKING:
    from celadon.cli.access.protocol import Access


@asynccontextmanager
async def open_access(choice: TargetChoice) -> AsyncIterator["Access"]:
    """Find the Celadon that is meant, and the way to it.

    Raises:
        CommandError: there is none, or an address is wrong.
        StackError: no stack runs where one was named.

    """
    target = find_target(choice)
    if isinstance(target, ApiTarget):
        async with calling(target) as calls:
            yield ApiAccess(target, calls)
    else:
        from celadon.cli.access.direct import DirectAccess  # noqa: PLC0415 - who uses an API needs no database, no Temporal
        from celadon.cli.session import session_of  # noqa: PLC0415 - as above

        async with session_of(target) as session:
            yield DirectAccess(session)
