"""Is the API ready: does it reach Postgres and Temporal."""

import asyncio
from typing import Final

from sqlalchemy import text
from temporalio.client import Client
from temporalio.service import RPCError

from celadon.domain.language.base_models import Record
from celadon.table.core.engine import Table
from celadon.table.core.outages import TABLE_OUTAGES, NotMigratedError
from celadon.table.core.trouble_log import TroubleLog

_PATIENCE_SECONDS: Final = 3.0


class Ready(Record):
    """What the API reaches; it is ready when it reaches both."""

    postgres: bool
    """Whether Postgres answers."""
    temporal: bool
    """Whether Temporal answers."""

    @property
    def ready(self) -> bool:
        """Whether callers can be served."""
        return self.postgres and self.temporal


class Readiness:
    """Asks the parts that the API stands on."""

    def __init__(self, table: Table, temporal: Client) -> None:
        """Ask these."""
        self._table = table
        self._temporal = temporal
        self._trouble = TroubleLog("not_ready")

    async def look(self) -> Ready:
        """Ask both at once; a part that does not answer in time is not reached."""
        postgres, temporal = await asyncio.gather(self._postgres(), self._temporal_answers())
        return Ready(postgres=postgres, temporal=temporal)

    async def _postgres(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._table.transaction() as tx:
                await tx.execute(text("select 1"))
        except (*TABLE_OUTAGES, NotMigratedError):
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, callers cannot be served
            self._trouble.tell(error)
            return False
        self._trouble.is_over()
        return True

    async def _temporal_answers(self) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await self._temporal.service_client.check_health()
        except (TimeoutError, RPCError, RuntimeError):
            return False
