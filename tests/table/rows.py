"""Arranges rows as rollouts and keepers do: each method is one of their steps, in a transaction of its own."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.contracts import PROMOTE, ROLLBACK
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import Epoch, Fence, RouteId, RouterNode, RouteSetId
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, RouteHealthStatus, RouteStatus
from celadon.domain.language.steps import (
    BeginStep,
    Begun,
    CloseStep,
    DrainEnd,
    Finished,
    FinishStep,
    Message,
    Step,
    SwitchAnswer,
    SwitchStep,
)
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.core.models import Base
from celadon.table.records.changes import Deleted, Scaled
from celadon.table.replicas.keeper_reads import ManagedRoute, ManagedSet, read_managed_sets
from celadon.table.replicas.leases import take_lease
from celadon.table.replicas.routes import (
    Leaving,
    add_route,
    mark_surplus,
    route_ended,
    route_health,
    route_running,
    stop_left,
)
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.deletion import DeleteOrder, delete
from celadon.table.rollouts.finish import finish
from celadon.table.rollouts.route_sets import close_set, open_green
from celadon.table.rollouts.scaling import ScaleOrder, scale
from celadon.table.rollouts.switch import switch, switch_back
from celadon.table.routers.enrolments import NewEnrolment, enrol_router
from celadon.table.routers.reports import router_acknowledged, router_connected
from tests.revisions import TCP, serving

TRUSTING: Final = Authority(unsigned=Unsigned.ALL)
"""An installation that lets unsigned messages do everything."""

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HEALTHY: Final = RouteHealthStatus.HEALTHY


@dataclass(frozen=True)
class Opened:
    """A rollout that has opened its green set."""

    begun: Begun
    green: RouteSetId
    routes: tuple[RouteId, ...] = ()

    @property
    def blue(self) -> RouteSetId:
        """The set that was live when the rollout began; there must be one."""
        assert self.begun.blue_set is not None
        return self.begun.blue_set

    def switch_step(self, **changes: Any) -> SwitchStep:
        """Return the step that asks for the switch, by a promotion that nobody has signed."""
        step = SwitchStep(
            ack_timeout_seconds=30.0,
            deployment=self.begun.deployment,
            rollout=self.begun.rollout,
            blue_set=self.begun.blue_set,
            green_set=self.green,
            by="ann",
            door=Channel.UPDATE,
            reason="reviewed",
            message=promotion(),
        )
        return step.model_copy(update=changes)

    def switch_back_step(self, **changes: Any) -> SwitchStep:
        """Return the step that asks for the switch back, by a rollback that nobody has signed."""
        return self.switch_step(message=rollback(), **changes)

    def close_step(self, route_set: RouteSetId, **changes: Any) -> CloseStep:
        """Return the step that closes one of the two colours."""
        step = CloseStep(
            deployment=self.begun.deployment,
            rollout=self.begun.rollout,
            route_set=route_set,
            phase=RolloutPhase.DRAINING,
            at=NOW,
            timeout_seconds=60,
        )
        return step.model_copy(update=changes)

    def finish_step(self, outcome: RolloutOutcome = RolloutOutcome.PROMOTED) -> FinishStep:
        """Return the step that ends the rollout."""
        return FinishStep(
            deployment=self.begun.deployment,
            rollout=self.begun.rollout,
            outcome=outcome,
            reason="because",
            evidence={"decision": "promotion by ann"},
            at=NOW + timedelta(minutes=5),
        )


def promotion(**command: Any) -> Message:
    """Return a promotion by ann, as an update brings it."""
    said = parse_payload(PromoteCommand, {"by": "ann", "reason": "reviewed", **command})
    return Message(verb=PROMOTE, request_id="id-1", came_by=Channel.UPDATE, command=said)


def rollback(verb: str = ROLLBACK, **command: Any) -> Message:
    """Return a rollback (or an abort) by ann, as an update brings it."""
    said = parse_payload(AbortCommand, {"by": "ann", "reason": "reviewed", **command})
    return Message(verb=verb, request_id="id-2", came_by=Channel.UPDATE, command=said)


class Rows:
    """Arranges rows of one database, and reads them."""

    def __init__(self, table: Table, fence: Fence) -> None:
        """Keep the tables and a keeper's fence."""
        self.table = table
        self.fence = fence

    @classmethod
    async def with_keeper(cls, table: Table) -> "Rows":
        """Return rows with a keeper whose lease lasts as long as any test."""
        async with table.transaction() as tx:
            fence = await take_lease(tx, "keeper-1")
            await tx.execute(text("update keepers set seen_at = now() + interval '1 hour'"))
        assert fence is not None
        return cls(table, fence)

    # Plain SQL.

    async def sql(self, statement: str, **values: Any) -> None:
        """Execute one statement."""
        async with self.table.transaction() as tx:
            await tx.execute(text(statement), values)

    async def rows(self, query: str, **values: Any) -> Sequence[RowMapping]:
        """Return all rows of a query."""
        async with self.table.transaction() as tx:
            return (await tx.execute(text(query), values)).mappings().all()

    async def value(self, query: str, **values: Any) -> Any:
        """Return the one value of a query."""
        async with self.table.transaction() as tx:
            return (await tx.execute(text(query), values)).scalar_one()

    async def dump(self) -> Mapping[str, list[dict[str, Any]]]:
        """Return the content of all tables."""
        async with self.table.transaction() as tx:
            return {
                name: [dict(row) for row in (await tx.execute(text(f"select * from {name} order by 1, 2"))).mappings()]  # noqa: S608
                for name in sorted(Base.metadata.tables)
            }

    # What rollouts do.

    async def begin(self, run: str = "run-1", *, at: datetime = NOW, **request: Any) -> Begun:
        """Begin a rollout of ``chat``; keywords are keys of its request."""
        async with self.table.transaction() as tx:
            return await begin(tx, begin_step(run, at, **request), TRUSTING)

    async def open(self, run: str = "run-1", *, at: datetime = NOW, **request: Any) -> Opened:
        """Begin a rollout and open its green set."""
        async with self.table.transaction() as tx:
            begun = await begin(tx, begin_step(run, at, **request), TRUSTING)
            opened = await open_green(tx, Step(deployment=begun.deployment, rollout=begun.rollout))
        assert opened.route_set is not None, opened.no_room
        return Opened(begun, opened.route_set)

    async def ready(self, run: str = "run-1", **request: Any) -> Opened:
        """Begin a rollout, open its green set and let all its replicas be healthy."""
        return await self.fill((await self.open(run, **request)).begun)

    async def fill(self, begun: Begun) -> Opened:
        """Open a rollout's green set, if it is not, and let all its replicas be healthy."""
        async with self.table.transaction() as tx:
            green = (await open_green(tx, Step(deployment=begun.deployment, rollout=begun.rollout))).route_set
            assert green is not None
            opened = Opened(begun, green)
            routes = [await self._add(tx, opened, HEALTHY) for _ in range(begun.replicas)]
        return Opened(begun, green, tuple(routes))

    async def switched(self, run: str = "run-1", **request: Any) -> Opened:
        """Bring a rollout up to its switch."""
        opened = await self.ready(run, **request)
        answer = await self.switch(opened)
        assert answer.refusal is None
        return opened

    async def live(self, run: str = "run-1", **request: Any) -> Opened:
        """Bring a first rollout to its end; its green is what later ones call blue."""
        opened = await self.switched(run, **request)
        await self.finish(opened)
        return opened

    async def switch(self, opened: Opened, **changes: Any) -> SwitchAnswer:
        """Ask for the switch."""
        async with self.table.transaction() as tx:
            return await switch(tx, opened.switch_step(**changes), TRUSTING)

    async def switch_back(self, opened: Opened, **changes: Any) -> SwitchAnswer:
        """Ask for the switch back."""
        async with self.table.transaction() as tx:
            return await switch_back(tx, opened.switch_back_step(**changes), TRUSTING)

    async def close(self, opened: Opened, route_set: RouteSetId, **changes: Any) -> DrainEnd | None:
        """Close one of a rollout's colours."""
        async with self.table.transaction() as tx:
            return await close_set(tx, opened.close_step(route_set, **changes))

    async def finish(self, opened: Opened, outcome: RolloutOutcome = RolloutOutcome.PROMOTED) -> Finished:
        """End a rollout."""
        async with self.table.transaction() as tx:
            return await finish(tx, opened.finish_step(outcome))

    # What the keeper does.

    async def kept(self, opened: Opened, route_set: RouteSetId | None = None) -> ManagedSet:
        """Return a set as the keeper sees it."""
        async with self.table.transaction() as tx:
            return await _kept(tx, opened, opened.green if route_set is None else route_set)

    async def add(self, opened: Opened, health: RouteHealthStatus | None = None) -> RouteId:
        """Add a replica to a rollout's green set; with ``health`` it runs and was probed."""
        async with self.table.transaction() as tx:
            return await self._add(tx, opened, health)

    async def _add(self, tx: AsyncSession, opened: Opened, health: RouteHealthStatus | None) -> RouteId:
        route = RouteId(str(uuid.uuid4()))
        assert await add_route(tx, self.fence, opened.green, route, host="127.0.0.1", port=8000)
        if health is not None:
            kept = await _kept(tx, opened, opened.green)
            await route_running(tx, self.fence, kept, route)
            await route_health(tx, self.fence, kept, route, health=health, error="")
        return route

    async def set_health(
        self,
        opened: Opened,
        route: RouteId,
        health: RouteHealthStatus,
        error: str = "",
        *,
        route_set: RouteSetId | None = None,
    ) -> None:
        """Write down what the probes of a replica say."""
        async with self.table.transaction() as tx:
            kept = await _kept(tx, opened, opened.green if route_set is None else route_set)
            await route_health(tx, self.fence, kept, route, health=health, error=error)

    async def end(
        self,
        opened: Opened,
        route: RouteId,
        *,
        failed: bool = True,
        error: str = "exit code 1",
        status: RouteStatus = RouteStatus.TERMINATED,
    ) -> None:
        """Write down that a replica of a rollout's green set is no more."""
        async with self.table.transaction() as tx:
            kept = await _kept(tx, opened, opened.green)
            await route_ended(tx, self.fence, kept, route, status=status, error=error, output="boom\n", failed=failed)

    async def mark_surplus(self, opened: Opened, route_set: RouteSetId | None = None) -> Leaving:
        """Let the surplus of a set leave."""
        kept = await self.kept(opened, route_set)
        async with self.table.transaction() as tx:
            return await mark_surplus(tx, self.fence, kept)

    async def stop_left(self, kept: ManagedSet, route: ManagedRoute, *, cut: bool = False) -> frozenset[RouteId]:
        """Stop a member that leaves."""
        async with self.table.transaction() as tx:
            return await stop_left(tx, self.fence, kept, route, cut=cut)

    # What people do.

    async def scale(self, replicas: int, *, reason: str = "", deployment: str = "chat") -> Scaled:
        """Let a deployment want another number of replicas."""
        order = ScaleOrder(deployment=deployment, replicas=replicas, by="ann", door=Channel.CLI, reason=reason)
        async with self.table.transaction() as tx:
            return await scale(tx, order)

    async def delete(self, *, reason: str = "", deployment: str = "chat") -> Deleted:
        """Delete a deployment."""
        order = DeleteOrder(deployment=deployment, by="ann", door=Channel.CLI, reason=reason)
        async with self.table.transaction() as tx:
            return await delete(tx, order)

    # What gateways do.

    async def enrol(self, node: str, identity: str | None = None, serial: str | None = None) -> bool:
        """Let gateways believe a router; return whether it was new to them."""
        wanted = NewEnrolment(node=RouterNode(node), identity=identity, serial=serial)
        async with self.table.transaction() as tx:
            return await enrol_router(tx, wanted, Author(by="ann", door=Channel.CLI, reason="new site"))

    async def connect(self, node: str) -> None:
        """Let a router that is enrolled open a stream."""
        await self.enrol(node)
        async with self.table.transaction() as tx:
            await router_connected(tx, node, "gateway-1")

    async def acknowledge(self, node: str, epoch: int, deployment: str = "chat") -> None:
        """Let a router acknowledge an epoch."""
        async with self.table.transaction() as tx:
            await router_acknowledged(tx, node, {deployment: Epoch(epoch)})

    async def router(self, node: str, epoch: int, deployment: str = "chat") -> None:
        """Let a router connect and acknowledge."""
        await self.connect(node)
        await self.acknowledge(node, epoch, deployment)


def begin_step(run: str = "run-1", at: datetime = NOW, **request: Any) -> BeginStep:
    """Return the step that begins a rollout of ``chat``; keywords are keys of its request."""
    given = {"deployment": "chat", "revision": serving(run), "requested_by": "ann", **request}
    if isinstance(given["revision"], dict):
        given["revision"] = {"health_check": TCP, **given["revision"]}
    parsed = parse_payload(RolloutRequest, given)
    return BeginStep(request=parsed, workflow_id=f"rollout-{parsed.deployment}", run_id=run, at=at)


async def _kept(tx: AsyncSession, opened: Opened, route_set: RouteSetId) -> ManagedSet:
    found = await read_managed_sets(tx, [opened.begun.deployment])
    return next(one for one in found if one.route_set == route_set)
