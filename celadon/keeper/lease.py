"""The keeper's lease: at most one keeper acts at any time, also when one was paused and does not know it."""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from celadon.domain.language.contracts import KEEPER_LEASE, KEEPER_RENEWAL
from celadon.domain.language.names import Fence
from celadon.domain.language.states import WorkerRisk
from celadon.table.core.engine import Table
from celadon.table.core.fences import LeaseLostError
from celadon.table.core.trouble_log import TroubleLog
from celadon.table.replicas.leases import lock_free_lease, release_lease, renew_lease, take_lease

_RETRY_SECONDS: Final = 0.2
CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where there is such a clock."""

_SAFETY: Final = timedelta(milliseconds=200)
"""A keeper holds its lease for itself a little shorter than for others."""


def _now() -> float:
    """Return the moment of the keeper's clock, in seconds."""
    return time.clock_gettime(CLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How long a lease lasts, and how long a keeper waits for what concerns it."""

    held: timedelta = KEEPER_LEASE
    """How long after a renewal its holder relies on it."""
    expires: timedelta = KEEPER_LEASE
    """How long after the last renewal another keeper takes it."""
    renewal: timedelta = KEEPER_RENEWAL
    """From one renewal to the next."""
    release: timedelta = KEEPER_RENEWAL
    """How long an end waits for the table: a lease that is not given back expires soon."""
    outwait: timedelta = KEEPER_LEASE + timedelta(seconds=2)
    """How long a keeper that is to stop replicas waits for the lease of one that died."""


USUAL_LEASE_TIMES: Final = LeaseTimes()


class Lease:
    """A lease that is held. It is counted from before each renewal was asked for, so it never outlives the row's."""

    def __init__(
        self,
        table: Table,
        fence: Fence,
        asked_at: float,
        trouble: TroubleLog | None = None,
        times: LeaseTimes = USUAL_LEASE_TIMES,
        clock: Callable[[], float] = _now,
    ) -> None:
        """Hold the lease of ``fence``, which was asked for at a moment of ``clock``, in seconds."""
        self._clock = clock
        self._times = times
        self._trouble = trouble or TroubleLog("lease_not_renewed")
        self._table = table
        self.fence = fence
        self._valid_until = self._end_of_term(asked_at)

    @classmethod
    async def take(
        cls,
        table: Table,
        holder: str,
        risks: Collection[WorkerRisk] = (),
        trouble: TroubleLog | None = None,
        times: LeaseTimes = USUAL_LEASE_TIMES,
        clock: Callable[[], float] = _now,
    ) -> "Lease | None":
        """Take the lease; nothing while another keeper holds it. What keeps renewals back is told by ``trouble``."""
        async with table.transaction() as tx:
            if not await lock_free_lease(tx, times.expires):
                return None
            # Only now: an earlier keeper that was paused in a transaction may have kept this one waiting for seconds.
            asked_at = clock()
            fence = await take_lease(tx, holder, risks, times.expires)
        return None if fence is None else cls(table, fence, asked_at, trouble, times, clock)

    def check(self) -> None:
        """Make sure, before a side effect, that the lease is still held.

        Raises:
            LeaseLostError: it may be another's by now.

        """
        if self._clock() >= self._valid_until:
            raise LeaseLostError(f"the keeper's lease of fence {self.fence} was not renewed in time")

    async def keep(self) -> None:
        """Renew the lease until it is lost.

        Raises:
            LeaseLostError: it is lost.

        """
        pause = self._times.renewal.total_seconds()
        while True:
            await asyncio.sleep(pause)
            asked_at = self._clock()
            try:
                async with asyncio.timeout(max(0.0, self._valid_until - asked_at)), self._table.transaction() as tx:
                    await renew_lease(tx, self.fence)
            except LeaseLostError:
                raise
            except Exception as error:  # noqa: BLE001 - it is told; without renewals the lease is soon lost
                self.check()
                self._trouble.tell(error)
                pause = _RETRY_SECONDS
            else:
                self.check()
                self._trouble.is_over()
                self._valid_until = self._end_of_term(asked_at)
                pause = self._times.renewal.total_seconds()

    async def release(self) -> None:
        """Let the next keeper have the lease at once."""
        async with asyncio.timeout(self._times.release.total_seconds()), self._table.transaction() as tx:
            await release_lease(tx, self.fence)

    def _end_of_term(self, asked_at: float) -> float:
        return asked_at + (self._times.held - _SAFETY).total_seconds()
