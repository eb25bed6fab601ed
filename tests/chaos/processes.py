"""Looking at the processes of the machine."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from tests.chaos.site import replica_processes

_LOOK_SECONDS: Final = 0.2


class ProcessWatch:
    """Looks at all processes of the machine for many who ask at once."""

    def __init__(self) -> None:
        """Begin without having looked."""
        self._looking: asyncio.Task[Mapping[str, Sequence[int]]] | None = None

    async def newest(self) -> Mapping[str, Sequence[int]]:
        """Return the processes of all replicas by route, as they are at some moment after the call."""
        if self._looking is not None:
            await self._looking
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(_look())
        return await self._looking


async def _look() -> Mapping[str, Sequence[int]]:
    await asyncio.sleep(_LOOK_SECONDS)
    return await asyncio.to_thread(replica_processes)
