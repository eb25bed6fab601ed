"""A keeper's lease that outlasts every test, so that no slow machine takes it away in the middle of one."""

import time
from datetime import timedelta
from typing import Final

from sqlalchemy import text

from celadon.domain.language.names import Fence
from celadon.keeper.lease import Lease, LeaseTimes
from celadon.table.core.engine import Table

LASTING: Final = timedelta(hours=1)
LASTING_TIMES: Final = LeaseTimes(held=LASTING, expires=LASTING, release=LASTING)
"""Of a lease that no keeper loses because the machine stood still."""


def lasting_lease(table: Table, fence: Fence) -> Lease:
    """Return the lease of a fence whose row is stretched as well."""
    return Lease(table, fence, time.monotonic() + LASTING.total_seconds())


async def take_lasting_lease(table: Table, holder: str = "keeper") -> Lease:
    """Take the lease, which must be free."""
    taken = await Lease.take(table, holder)
    assert taken is not None
    async with table.transaction() as tx:
        await tx.execute(text("update keepers set seen_at = now() + cast(:span as interval)"), {"span": LASTING})
    return lasting_lease(table, taken.fence)
