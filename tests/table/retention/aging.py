"""Lets time pass in the table: what was written is moved into the past, so that the database's clock says it is old."""

from datetime import timedelta

from sqlalchemy import text

from celadon.domain.language.states import RouteStatus
from celadon.table.core.engine import Table
from celadon.table.core.models import Base, KeeperLease
from celadon.table.replicas.routes import route_ended, set_gone
from celadon.table.retention.deployments import Tally, prune_some
from celadon.table.retention.installation import prune_some_of_installation
from tests.table.rows import Opened, Rows

DAY = timedelta(days=1)


async def let_pass(table: Table, span: timedelta) -> None:
    """Move every moment of the table but those of leases ``span`` into the past."""
    async with table.transaction() as tx:
        await tx.execute(text("set local session_replication_role = replica"))
        # Whoever prunes meanwhile sees all of it or nothing.
        await tx.execute(text("select from deployments for no key update"))
        for one in Base.metadata.tables.values():
            moments = [column.name for column in one.columns if str(column.type) == "DATETIME"]
            if moments and one.name != KeeperLease.__tablename__:
                changes = ", ".join(f"{name} = {name} - cast(:span as interval)" for name in moments)
                await tx.execute(text(f"update {one.name} set {changes}"), {"span": span})  # noqa: S608 - names alone


async def written_now(table: Table) -> None:
    """Let what the fixed moments of tests say have been said now."""
    async with table.transaction() as tx:
        await tx.execute(text("set local session_replication_role = replica"))
        # Whoever prunes meanwhile sees all of it or nothing.
        await tx.execute(text("select from deployments for no key update"))
        await tx.execute(text("update rollouts set completed_at = now() where completed_at is not null"))
        await tx.execute(text("update rollouts set started_at = now(), phase_since = now()"))


async def prune_all(rows: Rows, age: timedelta | None = None, deployment: str = "chat") -> Tally:
    """Prune until nothing is left to prune; return what went."""
    total = Tally()
    for of_deployment in (True, False):
        while True:
            async with rows.table.transaction() as tx:
                some = prune_some(tx, deployment, age) if of_deployment else prune_some_of_installation(tx, age)
                went = await some
            if not went.total():
                break
            total += went
    return total


async def delete_while_pruning(rows: Rows, statement: str, *, allowed: bool = True, **values: object) -> None:
    """Execute a statement as pruning does, which says so to the triggers."""
    async with rows.table.transaction() as tx:
        await tx.execute(text(f"set local celadon.prune = '{'on' if allowed else 'off'}'"))
        await tx.execute(text(statement), values)


async def end_set(rows: Rows, opened: Opened, route_set: int | None = None) -> None:
    """Let the keeper end the replicas of a set that drains, and call the set gone."""
    kept = await rows.kept(opened, route_set)  # type: ignore[arg-type]
    for route in kept.routes:
        async with rows.table.transaction() as tx:
            await route_ended(tx, rows.fence, kept, route.route, status=RouteStatus.TERMINATED, failed=False)
    async with rows.table.transaction() as tx:
        assert await set_gone(tx, rows.fence, kept)


async def replace_live(rows: Rows, run: str, **request: object) -> Opened:
    """Roll out: switch, let blue drain to its end, and end the rollout."""
    opened = await rows.switched(run, **request)
    if opened.begun.blue_set is not None:
        await rows.close(opened, opened.blue)
        await end_set(rows, opened, opened.blue)
    await rows.finish(opened)
    await written_now(rows.table)
    return opened
