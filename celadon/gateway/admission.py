"""Which peers may speak for which routers: what the table has of enrolments, known to one gateway."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from celadon.domain.decisions.enrolment import Enrolment, refusal_of
from celadon.domain.language.names import RouterNode
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.peers import Speaker
from celadon.gateway.server import XdsServer
from celadon.table.core.engine import Table
from celadon.table.core.listen import ChannelSubscription
from celadon.table.routers.enrolments import read_enrolments

POLL_SECONDS: Final = 5.0
"""How often enrolments are read although nothing was heard; certificates that expired are found then, too."""

RETRY_SECONDS: Final = 0.5


class TableAdmission:
    """Knows all enrolments, and asks the table once more before it refuses a router."""

    def __init__(self, table: Table, metrics: GatewayMetrics) -> None:
        """Begin with nobody known: who is enrolled is read when the first router comes, and from then on followed."""
        self._table = table
        self._reading_enrolments = metrics.trouble("enrolments", "enrolments_not_read")
        self._enrolments: dict[RouterNode, Enrolment] = {}
        self._reading = asyncio.Lock()

    async def load(self) -> None:
        """Read all enrolments.

        Raises:
            TableAwayError: Postgres is away.
            NotMigratedError: the database lacks what this version uses.

        """
        async with self._reading, self._table.transaction() as tx:
            self._enrolments = await read_enrolments(tx)

    async def refusal(self, speaker: Speaker) -> str | None:
        """Return why a peer may not speak for a router, by what the table has now; ``None`` when it may.

        While the table cannot be read, what was read last decides.
        """
        why = self.refusal_now(speaker)
        if why is None:
            return None
        try:
            await self.load()
        except Exception as error:  # noqa: BLE001 - it is told
            self._reading_enrolments.tell(error)
        return self.refusal_now(speaker)

    def refusal_now(self, speaker: Speaker) -> str | None:
        """Return the same by what was read last."""
        return refusal_of(speaker.node, speaker.peer, self._enrolments.get(speaker.node), datetime.now(UTC))

    async def follow(self, heard: ChannelSubscription, server: XdsServer) -> None:
        """End the streams of routers that are no longer believed, until cancelled."""
        while True:
            await heard.get(RETRY_SECONDS if self._reading_enrolments.is_in_trouble else POLL_SECONDS)
            try:
                await self.load()
            except Exception as error:  # noqa: BLE001 - it is told
                self._reading_enrolments.tell(error)
            else:
                self._reading_enrolments.is_over()
            server.end_refused_streams()
