"""Rollouts as their workflows write them into the table, one step at a time."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import Epoch, RolloutId, RouteSetId
from celadon.domain.language.states import (
    Channel,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
)
from celadon.domain.language.steps import BeginStep, CloseStep, FinishStep, Message, Step, SwitchAnswer, SwitchStep
from celadon.table.core.engine import Table
from celadon.table.core.models import Deployment, OutboxMessage, Rollout, RolloutEvent, Route, RouteSet
from celadon.table.records.changes import Scaled
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.deletion import DeleteOrder, delete
from celadon.table.rollouts.finish import finish
from celadon.table.rollouts.route_sets import ask_for_edge, close_set, open_green
from celadon.table.rollouts.scaling import ScaleOrder, scale
from celadon.table.rollouts.switch import switch, switch_back
from tests.provisioners.programs import until, until_found
from tests.table.rows import TRUSTING, promotion, rollback

HEALTH_CHECK = {"path": "/health", "interval": "100ms", "timeout": "30s", "failure_threshold": 2}
"""Patient: a replica that a busy machine lets wait is not sick. One that is answers so at once."""

_UNTIL_A_KEEPER_HAS_LOOKED = (RefusalCode.KEEPER_SILENT, RefusalCode.NO_HEALTHY_GREEN, RefusalCode.NO_HEALTHY_BLUE)


@dataclass
class Deploying:
    """One deployment and its newest rollout, whose steps tests take."""

    table: Table
    name: str
    runs: int = 0
    rollout: RolloutId = field(init=False)
    blue: RouteSetId | None = field(init=False)
    green: RouteSetId = field(init=False)

    async def open(self, revision: Mapping[str, object], replicas: int = 1, **policy: object) -> RouteSetId:
        """Begin a rollout and open its green set; return that."""
        self.runs += 1
        document = {
            "deployment": self.name,
            "replicas": replicas,
            "revision": {"health_check": HEALTH_CHECK, "termination_grace": "2s", **revision},
            "policy": policy,
        }
        request = RolloutRequest.model_validate_json(json.dumps(document))
        step = BeginStep(
            request=request,
            workflow_id=f"rollout-{self.name}",
            run_id=f"run-{self.runs}",
            at=datetime.now(UTC),
        )
        async with self.table.transaction() as tx:
            begun = await begin(tx, step, TRUSTING)
        self.rollout, self.blue = begun.rollout, begun.blue_set
        async with self.table.transaction() as tx:
            opened = await open_green(tx, Step(deployment=self.name, rollout=self.rollout))
        assert opened.route_set is not None, opened.no_room
        self.green = opened.route_set
        return self.green

    async def switch(self) -> Epoch:
        """Make green live as soon as a living keeper vouches for it."""
        return await until_found(lambda: self._switched_by(switch, promotion()))

    async def switch_back(self) -> None:
        """Make blue live again."""
        await until_found(lambda: self._switched_by(switch_back, rollback()))

    async def _switched_by(
        self,
        transaction: Callable[[AsyncSession, SwitchStep, Authority], Awaitable[SwitchAnswer]],
        message: Message,
    ) -> Epoch | None:
        """Return the new epoch; nothing while a keeper whose lease a busy machine cost it takes its next one."""
        async with self.table.transaction() as tx:
            answer = await transaction(tx, self._switch_step(message), TRUSTING)
        refused = None if answer.refusal is None else answer.refusal.code
        assert answer.epoch is not None or refused in _UNTIL_A_KEEPER_HAS_LOOKED, answer
        return answer.epoch

    async def finish(self) -> None:
        """End the rollout."""
        step = FinishStep(
            deployment=self.name,
            rollout=self.rollout,
            outcome=RolloutOutcome.PROMOTED,
            reason="",
            evidence={},
            at=datetime.now(UTC),
        )
        async with self.table.transaction() as tx:
            await finish(tx, step)

    async def close(self, route_set: RouteSetId, timeout_seconds: float = 60) -> None:
        """Let a set of the rollout drain."""
        step = CloseStep(
            deployment=self.name,
            rollout=self.rollout,
            route_set=route_set,
            phase=RolloutPhase.DRAINING,
            at=datetime.now(UTC),
            timeout_seconds=timeout_seconds,
        )
        async with self.table.transaction() as tx:
            assert await close_set(tx, step) is None

    async def ask_for_edge(self) -> None:
        """Ask the keeper to tell green's condition anew."""
        async with self.table.transaction() as tx:
            await ask_for_edge(tx, Step(deployment=self.name, rollout=self.rollout))

    async def make_live(self, revision: Mapping[str, object], replicas: int = 1) -> RouteSetId:
        """Roll a revision out, without a gate."""
        route_set = await self.open(revision, replicas)
        await self.healthy(replicas)
        await self.switch()
        await self.finish()
        return route_set

    async def scale(self, replicas: int) -> Scaled:
        """Change how many replicas the deployment shall have."""
        order = ScaleOrder(deployment=self.name, replicas=replicas, by="ann", door=Channel.CLI)
        async with self.table.transaction() as tx:
            return await scale(tx, order)

    async def delete(self) -> None:
        """Delete the deployment."""
        async with self.table.transaction() as tx:
            await delete(tx, DeleteOrder(deployment=self.name, by="ann", door=Channel.CLI))

    async def row(self) -> Deployment:
        """Return the deployment."""
        async with self.table.transaction() as tx:
            return await tx.get_one(Deployment, self.name)

    async def routes(self, route_set: RouteSetId | None = None, *, ended: bool | None = False) -> list[Route]:
        """Return the replicas of a set (green), oldest first."""
        query = select(Route).where(Route.set_id == (route_set or self.green)).order_by(Route.created_at)
        if ended is not None:
            query = query.where(Route.ended_at.is_not(None) if ended else Route.ended_at.is_(None))
        async with self.table.transaction() as tx:
            return list(await tx.scalars(query))

    async def healthy(self, count: int, route_set: RouteSetId | None = None) -> list[Route]:
        """Wait until exactly so many replicas of a set run and are healthy; return them."""

        async def found() -> list[Route] | None:
            routes = await self.routes(route_set)
            good = [
                route
                for route in routes
                if route.status is RouteStatus.RUNNING and route.health is RouteHealthStatus.HEALTHY
            ]
            return good if len(good) == len(routes) == count else None

        return await until_found(found)

    async def ended(self, count: int, route_set: RouteSetId | None = None) -> list[Route]:
        """Wait until at least so many replicas of a set have ended; return them, oldest first."""

        async def found() -> list[Route] | None:
            routes = await self.routes(route_set, ended=True)
            return routes if len(routes) >= count else None

        return await until_found(found)

    async def set_row(self, route_set: RouteSetId | None = None) -> RouteSet:
        """Return a set (green)."""
        async with self.table.transaction() as tx:
            return await tx.get_one(RouteSet, route_set or self.green)

    async def gone(self, route_set: RouteSetId) -> RouteSet:
        """Wait until a set is gone; return it."""

        async def is_gone() -> bool:
            return (await self.set_row(route_set)).state is RouteSetState.GONE

        await until(is_gone)
        return await self.set_row(route_set)

    async def rollout_row(self) -> Rollout:
        """Return the rollout."""
        async with self.table.transaction() as tx:
            return await tx.get_one(Rollout, self.rollout)

    async def epoch(self) -> int:
        """Return the deployment's epoch."""
        async with self.table.transaction() as tx:
            return (await tx.get_one(Deployment, self.name)).epoch

    async def owed(self) -> list[OutboxMessage]:
        """Return the signals that the rollout is owed."""
        async with self.table.transaction() as tx:
            return list(
                await tx.scalars(
                    select(OutboxMessage)
                    .where(OutboxMessage.workflow_id == f"rollout-{self.name}")
                    .order_by(OutboxMessage.id),
                ),
            )

    async def events(self, kind: str) -> list[RolloutEvent]:
        """Return the lines of one kind in the audit log."""
        async with self.table.transaction() as tx:
            return list(await tx.scalars(select(RolloutEvent).where(RolloutEvent.kind == kind)))

    def _switch_step(self, message: Message) -> SwitchStep:
        return SwitchStep(
            ack_timeout_seconds=30.0,
            deployment=self.name,
            rollout=self.rollout,
            blue_set=self.blue,
            green_set=self.green,
            by="ann",
            door=Channel.UPDATE,
            reason="",
            message=message,
        )
