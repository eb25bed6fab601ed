"""The keeper deletes what has had its time, under its fence and little by little."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from celadon.keeper import retention
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.table.core.engine import Table
from celadon.table.core.fences import LeaseLostError
from tests.keeper.leases import take_lasting_lease
from tests.provisioners.programs import until
from tests.table.retention.aging import DAY, let_pass, replace_live
from tests.table.rows import Rows

POLICY = {"revision_history_limit": 1, "rollback_window": {"revisions": 0}}


async def _old_rollouts(table: Table) -> Rows:
    rows = await Rows.with_keeper(table)
    for number in range(4):
        await replace_live(rows, f"run-{number}", policy=POLICY if number == 0 else {})
    await let_pass(table, 100 * DAY)
    await rows.sql("update keepers set seen_at = to_timestamp(0)")
    return rows


async def test_a_keeper_prunes_tells_it_and_counts_it(table: Table) -> None:
    rows = await _old_rollouts(table)
    registry = CollectorRegistry()
    metrics = KeeperMetrics(registry)
    lease = await take_lasting_lease(table, "keeper-2")

    went = await retention.prune(FencedTable(table, lease), metrics)

    assert went["rollouts"] == 3
    assert await rows.value("select count(*) from rollouts") == 1
    [line] = await rows.rows("select * from rollout_events where kind = 'pruned'")
    assert (line["actor"], line["door"], line["evidence"]["rollouts"]) == ("keeper", "keeper", "3")
    assert registry.get_sample_value("celadon_keeper_pruned_rows_total", {"table": "rollouts"}) == 3


async def test_a_keeper_that_has_lost_the_lease_prunes_nothing(table: Table) -> None:
    rows = await _old_rollouts(table)
    metrics = KeeperMetrics(CollectorRegistry())
    lease = await take_lasting_lease(table, "keeper-2")
    await rows.sql("update keepers set fence = fence + 1")

    with pytest.raises((LeaseLostError, ExceptionGroup)):
        await retention.prune(FencedTable(table, lease), metrics)

    assert await rows.value("select count(*) from rollouts") == 4


async def test_a_running_keeper_prunes_once_an_hour(table: Table) -> None:
    rows = await _old_rollouts(table)
    metrics = KeeperMetrics(CollectorRegistry())
    lease = await take_lasting_lease(table, "keeper-2")
    pruning = asyncio.create_task(
        retention.prune_until_cancelled(FencedTable(table, lease), metrics, look_seconds=0.01)
    )

    async def is_pruned() -> bool:
        return bool(await rows.value("select count(*) = 1 from rollouts"))

    await until(is_pruned)
    began = await rows.value("select began_at from pruning")
    await asyncio.sleep(0.1)
    assert await rows.value("select began_at from pruning") == began
    pruning.cancel()
    await asyncio.gather(pruning, return_exceptions=True)


async def test_a_table_that_cannot_be_pruned_keeps_no_later_one_from_it(table: Table) -> None:
    rows = await _old_rollouts(table)
    await rows.sql(
        "insert into api_requests (principal, request_id, fingerprint, meant, created_at) "
        "values ('ann', '1', 'f', '{}', to_timestamp(0))"
    )
    registry = CollectorRegistry()
    metrics = KeeperMetrics(registry)
    lease = await take_lasting_lease(table, "keeper-2")
    await rows.sql(
        "create function refuse_deletion() returns trigger language plpgsql as 'begin raise ''broken''; end'"
    )
    await rows.sql(
        "create trigger broken before delete on freezes for each statement execute function refuse_deletion()"
    )
    try:
        async with asyncio.timeout(120):
            went = await retention.prune(FencedTable(table, lease), metrics)
    finally:
        await rows.sql("drop function refuse_deletion() cascade")

    assert went["api_requests"] == 1
    assert registry.get_sample_value("celadon_keeper_faults_total", {"part": "retention"}) == 1
