"""What the demonstration shows of its deployment and judges its rollouts by, as the table has it."""

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.names import Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.policy import BlueGreenPolicy
from celadon.domain.states import RolloutOutcome, RolloutPhase, RouteHealthStatus, RouteSetState, RouteStatus
from celadon.domain.strictness import Record
from celadon.table.models import Deployment, Rollout, Route, RouterLoad, RouteSet


class ReplicaView(Record):
    """One replica that has not ended."""

    port: int
    status: RouteStatus
    health: RouteHealthStatus


class SetView(Record):
    """One colour: a set that is not gone yet."""

    route_set: RouteSetId
    revision: RevisionNumber
    state: RouteSetState
    is_live: bool
    is_green: bool
    """Whether it is the set that the rollout under way has opened."""
    wanted: int
    replicas: tuple[ReplicaView, ...]
    running: int | None
    """Requests that run on it by the routers' reports, known while it drains."""


class RolloutView(Record):
    """The latest rollout."""

    rollout: RolloutId
    workflow_id: str
    run_id: str
    to_revision: RevisionNumber
    phase: RolloutPhase
    phase_since: datetime
    bake: timedelta
    switched: bool
    switched_back: bool
    outcome: RolloutOutcome | None
    outcome_reason: str


class DeploymentView(Record):
    """A deployment at one moment."""

    epoch: Epoch
    sets: tuple[SetView, ...]
    rollout: RolloutView | None


async def view_deployment(tx: AsyncSession, deployment: str) -> DeploymentView | None:
    """Return the deployment as it is now, none while there is none of this name."""
    row = await tx.get(Deployment, deployment)
    if row is None:
        return None
    rollout = await tx.scalar(
        select(Rollout).where(Rollout.deployment == deployment).order_by(Rollout.id.desc()).limit(1),
    )
    return DeploymentView(
        epoch=Epoch(row.epoch),
        sets=await _view_sets(tx, row, green=rollout.green_set if rollout and rollout.outcome is None else None),
        rollout=None if rollout is None else _view_rollout(rollout),
    )


async def blue_gone_at(tx: AsyncSession, rollout: RolloutId) -> datetime | None:
    """Return when the last replica of a rollout's blue set had stopped, none while one runs or if there is no blue."""
    return await tx.scalar(
        select(RouteSet.gone_at).join(Rollout, Rollout.blue_set == RouteSet.id).where(Rollout.id == rollout),
    )


async def _view_sets(tx: AsyncSession, deployment: Deployment, *, green: int | None) -> tuple[SetView, ...]:
    sets = await tx.scalars(
        select(RouteSet)
        .where(RouteSet.deployment == deployment.name, RouteSet.state != RouteSetState.GONE)
        .order_by(RouteSet.id),
    )
    routes = (
        await tx.scalars(
            select(Route)
            .join(RouteSet, RouteSet.id == Route.set_id)
            .where(RouteSet.deployment == deployment.name, Route.ended_at.is_(None))
            .order_by(Route.port),
        )
    ).all()
    running = {
        route_set: int(count)
        for route_set, count in await tx.execute(
            select(RouterLoad.route_set, func.sum(RouterLoad.running)).group_by(RouterLoad.route_set),
        )
    }
    return tuple(
        SetView(
            route_set=RouteSetId(row.id),
            revision=RevisionNumber(row.revision),
            state=row.state,
            is_live=row.id == deployment.live_set,
            is_green=row.id == green,
            wanted=row.wanted,
            replicas=tuple(
                ReplicaView(port=route.port, status=route.status, health=route.health)
                for route in routes
                if route.set_id == row.id
            ),
            running=running.get(row.id) if row.state is RouteSetState.DRAINING else None,
        )
        for row in sets
    )


def _view_rollout(row: Rollout) -> RolloutView:
    return RolloutView(
        rollout=RolloutId(row.id),
        workflow_id=row.workflow_id,
        run_id=row.run_id,
        to_revision=RevisionNumber(row.to_revision),
        phase=row.phase,
        phase_since=row.phase_since,
        bake=BlueGreenPolicy.model_validate(row.policy, strict=False).bake,
        switched=row.switch_epoch is not None,
        switched_back=row.switch_back_epoch is not None,
        outcome=row.outcome,
        outcome_reason=row.outcome_reason,
    )
