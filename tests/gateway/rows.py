"""A deployment in the table, written as rows, and what gateways wrote about routers."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Epoch, RouterNode
from celadon.domain.language.states import (
    Channel,
    DeploymentLifecycle,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    SetCondition,
)
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.models import Deployment, RevisionRow, Rollout, Route, Router, RouterAck, RouterLoad, RouteSet
from celadon.table.routers.enrolments import NewEnrolment, enrol_router
from tests.gateway.traffic import LOOPBACK


async def add_set(tx: AsyncSession, deployment: str, port: int, host: str = LOOPBACK) -> int:
    """Add an open set with one healthy replica, with the revision and rollout that it needs; return its id."""
    now = datetime.now(UTC)
    number = 1 + len((await tx.scalars(select(RevisionRow.number).where(RevisionRow.deployment == deployment))).all())
    tx.add(RevisionRow(deployment=deployment, number=number, digest=str(number), content={}))
    await tx.flush()
    rollout = Rollout(
        deployment=deployment,
        workflow_id=f"rollout-{deployment}",
        run_id=str(number),
        to_revision=number,
        replicas=1,
        policy={},
        gated=True,
        requested_by="test",
        reason="",
        phase=RolloutPhase.COMPLETED,
        phase_since=now,
        started_at=now,
        outcome="promoted",
        completed_at=now,
    )
    tx.add(rollout)
    await tx.flush()
    route_set = RouteSet(
        deployment=deployment,
        revision=number,
        rollout=rollout.id,
        wanted=1,
        state=RouteSetState.OPEN,
        condition=SetCondition.READY,
    )
    tx.add(route_set)
    await tx.flush()
    tx.add(
        Route(
            id=f"00000000-0000-0000-0000-{route_set.id:012}",
            set_id=route_set.id,
            host=host,
            port=port,
            status=RouteStatus.RUNNING,
            health=RouteHealthStatus.HEALTHY,
        ),
    )
    await tx.flush()
    return route_set.id


async def add_deployment(table: Table, name: str, port: int) -> int:
    """Add a deployment whose live set has one replica; return the set."""
    async with table.transaction() as tx:
        tx.add(Deployment(name=name, replicas=1, lifecycle=DeploymentLifecycle.READY))
        await tx.flush()
        route_set = await add_set(tx, name, port)
        await tx.execute(update(Deployment).where(Deployment.name == name).values(live_set=route_set))
        await raise_epoch(tx, name)
    return route_set


async def make_live(table: Table, deployment: str, route_set: int, drain: int, *, notify: bool = True) -> Epoch:
    """Point a deployment at a set and let another drain; return the epoch. Without a notification if told so."""
    async with table.transaction() as tx:
        await tx.execute(update(Deployment).where(Deployment.name == deployment).values(live_set=route_set))
        now = datetime.now(UTC)
        await tx.execute(
            update(RouteSet)
            .where(RouteSet.id == drain)
            .values(state=RouteSetState.DRAINING, drain_since=now, drain_deadline=now + timedelta(hours=1)),
        )
        if notify:
            return await raise_epoch(tx, deployment)
        epoch = await tx.scalar(
            update(Deployment)
            .where(Deployment.name == deployment)
            .values(epoch=Deployment.epoch + 1)
            .returning(Deployment.epoch),
        )
        assert epoch is not None
        return Epoch(epoch)


async def enrol(table: Table, node: str, identity: str | None = None, serial: str | None = None) -> None:
    """Let gateways believe a router: on a socket, or by a certificate."""
    author = Author(by="ann", door=Channel.CLI)
    async with table.transaction() as tx:
        await enrol_router(tx, NewEnrolment(node=RouterNode(node), identity=identity, serial=serial), author)


async def acknowledged(table: Table, deployment: str, node: str = "router") -> int:
    """Return the epoch that a router has acknowledged by the table, -1 when none."""
    async with table.transaction() as tx:
        epoch = await tx.scalar(
            select(RouterAck.epoch).where(RouterAck.deployment == deployment, RouterAck.router == node),
        )
    return -1 if epoch is None else epoch


async def router_row(table: Table, node: str = "router") -> Router | None:
    """Return a router as the table has it."""
    async with table.transaction() as tx:
        return await tx.scalar(select(Router).where(Router.node == node))


async def load_row(table: Table, route_set: int, node: str = "router") -> RouterLoad | None:
    """Return what a router reports of a set by the table."""
    async with table.transaction() as tx:
        return await tx.scalar(
            select(RouterLoad).where(RouterLoad.route_set == route_set, RouterLoad.router == node),
        )
