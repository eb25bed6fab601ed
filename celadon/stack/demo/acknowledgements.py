"""When routers acknowledged each epoch of a deployment, noted as it happens: the table keeps the newest only."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from sqlalchemy import select

from celadon.table.core.engine import Table
from celadon.table.core.listen import ACKS_CHANNEL, Listener
from celadon.table.core.models import RouterAck

_REREAD_SECONDS: Final = 1.0


class AcknowledgementLog:
    """The acknowledgements of one deployment since the log was opened; ``kept_acknowledgements`` opens one."""

    def __init__(self) -> None:
        """Begin with nothing noted."""
        self._by_router: defaultdict[str, list[tuple[int, datetime]]] = defaultdict(list)

    def note(self, router: str, epoch: int, at: datetime) -> None:
        """Note that a router serves an epoch since ``at``."""
        self._by_router[router].append((epoch, at))

    def last_at(self, epoch: int) -> datetime | None:
        """Return when the last router came to serve ``epoch`` or a later one, none while one does not."""
        firsts = [
            min((at for served, at in noted if served >= epoch), default=None) for noted in self._by_router.values()
        ]
        known = [at for at in firsts if at is not None]
        return max(known) if known and len(known) == len(firsts) else None


@contextlib.asynccontextmanager
async def kept_acknowledgements(deployment: str, table: Table, listener: Listener) -> AsyncIterator[AcknowledgementLog]:
    """Keep a log of a deployment's acknowledgements while the context lasts."""
    log = AcknowledgementLog()

    async def keep() -> None:
        async with listener.subscribe(ACKS_CHANNEL) as heard:
            while True:
                async with table.transaction() as tx:
                    rows = await tx.execute(
                        select(RouterAck.router, RouterAck.epoch, RouterAck.at).where(
                            RouterAck.deployment == deployment,
                        ),
                    )
                    for router, epoch, at in rows:
                        log.note(router, epoch, at)
                await heard.get(_REREAD_SECONDS)

    keeping = asyncio.create_task(keep())
    try:
        yield log
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
