"""The condition of a set: what it is by its replicas, and how its rollout hears of a change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, and_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.verification import set_condition
from celadon.domain.language.contracts import GREEN_CHANGED
from celadon.domain.language.messages import GreenChanged
from celadon.domain.language.names import RolloutId, RouteSetId
from celadon.domain.language.policy import BlueGreenPolicy, required_healthy
from celadon.domain.language.states import RouteHealthStatus, RouteSetState, RouteStatus, SetCondition
from celadon.table.core.clock import database_now
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import Rollout, Route, RouteSet
from celadon.table.core.owed_signals import owe_signal
from celadon.table.core.policies import read_policy
from celadon.table.core.replica_rules import runs_and_counts
from celadon.table.rollouts.pending_aborts import forget_lost_green

_POLICY_KEY: Final = "failover_rollback"
_told: Final = (
    select(
        Rollout.id,
        Rollout.workflow_id,
        Rollout.policy,
        Rollout.outcome,
        Rollout.green_set,
        Rollout.switch_epoch,
        func.count(Route.id).label("running"),
        func.count(Route.id).filter(Route.health == RouteHealthStatus.HEALTHY).label("healthy"),
        func.count(Route.id).filter(Route.health == RouteHealthStatus.DEGRADED).label("degraded"),
    )
    .outerjoin(Route, and_(Route.set_id == bindparam("set"), runs_and_counts))
    .where(Rollout.id == bindparam("rollout"))
    .group_by(Rollout.id)
)


@dataclass(frozen=True, slots=True)
class Census:
    """How many replicas of a set run, and how many of them are healthy and degraded."""

    running: int
    healthy: int
    degraded: int

    @classmethod
    def of(cls, routes: Iterable[Row[*tuple[Any, ...]]]) -> "Census":
        """Count replicas that have not ended and were not told to leave."""
        counted = (route for route in routes if route.leaving_epoch is None)
        health = [route.health for route in counted if route.status is RouteStatus.RUNNING]
        return cls(len(health), health.count(RouteHealthStatus.HEALTHY), health.count(RouteHealthStatus.DEGRADED))

    def ready(self, told: SetCondition) -> int:
        """Count the replicas that make a set ready: a degraded one does not end that, but it does not begin it."""
        return self.healthy + (self.degraded if told is SetCondition.READY else 0)


def due_condition(row: RouteSet, policy: BlueGreenPolicy, census: Census, *, switch_epoch: int | None) -> SetCondition:
    """Return the condition that a set's rollout should have been told, which may be the one that it was.

    ``switch_epoch`` is that of the rollout that opened the set.
    """
    before = row.condition
    condition = set_condition(
        running=census.running,
        ready=census.ready(before),
        required=required_healthy(row.wanted, policy.min_healthy),
        wanted=row.wanted,
        failed=before is SetCondition.FAILED or (switch_epoch is None and row.replacements > policy.max_replacements),
        before=before,
    )
    # A green that flaps for ever: after max_regressions a person decides, and the switch re-checks. The last that its
    # rollout hears is ready; were it anything else, the rollout would refuse that person for ever.
    regressed = before is SetCondition.READY and condition is SetCondition.RUNNING and not row.growing
    told_enough = row.seq - row.scaled_edges >= 2 * (policy.max_regressions + 2)
    return before if regressed and told_enough else condition


async def tell_rollout(tx: AsyncSession, _lock: DeploymentLock, row: RouteSet, *, scaled: bool = False) -> None:
    """Owe the rollout of a set the set's condition when it is another than told last.

    When the set was just ``scaled`` up, its condition is told in any case: green gets the time of a new one to start.
    """
    if row.state is not RouteSetState.OPEN:
        return
    rollout = (await tx.execute(_told, {"set": row.id, "rollout": row.rollout})).one()
    policy = read_policy(rollout.policy)
    census = Census(rollout.running, rollout.healthy, rollout.degraded)
    loses_or_regains = await _is_lost_otherwise(tx, row, rollout, census)
    before = row.condition
    condition = due_condition(row, policy, census, switch_epoch=rollout.switch_epoch)
    row.growing = row.growing and condition is not SetCondition.READY
    if condition is before and not scaled and not loses_or_regains:
        return
    if scaled:
        # With the edge by which it will be ready again, if it was.
        row.scaled_edges += 2 if before is SetCondition.READY and condition is not before else 1
    row.condition = condition
    row.seq += 1
    await tx.flush()
    is_green = rollout.outcome is None and rollout.green_set == row.id
    if not is_green or (rollout.switch_epoch is not None and not loses_or_regains):
        return
    edge = GreenChanged(
        route_set=RouteSetId(row.id),
        seq=row.seq,
        condition=condition,
        running=census.running,
        ready=census.ready(before),
        required=required_healthy(row.wanted, policy.min_healthy),
        wanted=row.wanted,
        failed=condition is SetCondition.FAILED,
        last_error=row.last_error,
        scaled=scaled,
        rollout=RolloutId(rollout.id),
        lost_since=row.lost_since,
    )
    await owe_signal(tx, rollout.workflow_id, GREEN_CHANGED, edge)


async def _is_lost_otherwise(tx: AsyncSession, row: RouteSet, rollout: Row[*tuple[Any, ...]], census: Census) -> bool:
    """Write down since when no replica of a live green is healthy, or that one is again; return whether that changed.

    A green that is back takes with it the abort that the policy asked for because it was lost. One that grows, from no
    replica maybe, has the time to start them. A rollout that began before there was such a policy hears nothing of it.
    """
    if _POLICY_KEY not in rollout.policy or rollout.outcome is not None or rollout.switch_epoch is None:
        return False
    is_lost = row.wanted > 0 and not row.growing and not census.healthy + census.degraded
    if is_lost == (row.lost_since is not None):
        return False
    row.lost_since = await database_now(tx) if is_lost else None
    if not is_lost:
        await forget_lost_green(tx, rollout.id)
    return True
