"""Pruning in a story: what has been becomes old by the database's clock, and goes as keeper or operator let it go."""

from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry
from sqlalchemy import text

from celadon.cli import pruning
from celadon.domain.language.names import Fence
from celadon.keeper import retention
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.table.core.engine import Table
from celadon.table.retention.deployments import Tally
from tests.keeper.leases import lasting_lease

_MOMENTS: Final = (
    ("routers", "seen_at"),
    ("router_load", "reported_at"),
    ("route_sets", "drain_since"),
    ("route_sets", "drain_deadline"),
    ("route_sets", "gone_at"),
    ("routes", "leaving_deadline"),
    ("routes", "ended_at"),
    ("freezes", "begins_at"),
    ("freezes", "ends_at"),
    ("pauses", "since"),
    ("pauses", "until"),
    ("deployments", "created_at"),
    ("revisions", "created_at"),
    ("rollout_events", "at"),
    ("spent_requests", "spent_at"),
    ("notifications", "at"),
    ("default_changes", "at"),
    ("router_events", "at"),
)
"""What the table has by the database's clock, which stands still while a story's time passes."""


class ModelPruning:
    """Lets what the table has become old, and prunes."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._told: set[int] = set()
        self._metrics = KeeperMetrics(CollectorRegistry())

    async def move_back(self, span: timedelta, ahead: timedelta) -> None:
        """Move all moments of the table back; the clock of the workflows is so far ahead of the database's."""
        async with self._table.transaction() as tx:
            # The audit log is not to be changed otherwise.
            await tx.execute(text("set local session_replication_role = replica"))
            ended = await tx.scalars(text("select id from rollouts where outcome is not null"))
            new = sorted({int(one) for one in ended} - self._told)
            # Workflows tell when their rollouts ended.
            await tx.execute(
                text(
                    "update rollouts set "
                    "completed_at = least(clock_timestamp(), completed_at - cast(:ahead as interval)) "
                    "where id = any(:new)"
                ),
                {"ahead": ahead, "new": new},
            )
            self._told.update(new)
            await tx.execute(
                text("update rollouts set completed_at = completed_at - cast(:span as interval) where id = any(:told)"),
                {"span": span, "told": sorted(self._told)},
            )
            for table, column in _MOMENTS:
                changed = f"update {table} set {column} = {column} - cast(:span as interval)"  # noqa: S608 - names alone
                await tx.execute(text(changed), {"span": span})

    async def by_keeper(self, fence: Fence) -> Tally:
        """Prune as the keeper does that has the lease."""
        went = await retention.prune(FencedTable(self._table, lasting_lease(self._table, fence)), self._metrics)
        faults = [one.value for metric in self._metrics.faults.collect() for one in metric.samples]
        assert not any(faults), "pruning failed; the log says why"
        return went

    async def by_hand(self, older_than: timedelta | None) -> Tally:
        """Prune as ``celadon db prune`` does."""
        return await pruning._prune(self._table, older_than, "ann")  # noqa: SLF001 - without its output
