"""What the invariants look at: the whole table at one moment, and what routers are told of it."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, text

from celadon.domain.decisions.publication import Publication, publish
from celadon.domain.language.states import (
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
)
from celadon.table.core.engine import Table
from celadon.table.core.models import Router
from celadon.table.core.router_rules import is_live
from celadon.table.routers.traffic import read_traffic


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DeploymentRow(_Row):
    """The deployment."""

    name: str
    replicas: int
    live_set: int | None
    epoch: int
    lifecycle: DeploymentLifecycle
    policy: dict[str, Any]


class SetRow(_Row):
    """A route set."""

    id: int
    rollout: int
    revision: int
    wanted: int
    state: RouteSetState
    drain_epoch: int | None
    preview: bool


class RouteRow(_Row):
    """A replica."""

    id: str
    set_id: int
    host: str
    port: int
    status: RouteStatus
    health: RouteHealthStatus

    @property
    def has_ended(self) -> bool:
        """Whether it is no more."""
        return self.status in {RouteStatus.TERMINATED, RouteStatus.FAILED_TO_START}


class RolloutRow(_Row):
    """A rollout."""

    id: int
    run_id: str
    next: int | None
    from_revision: int | None
    to_revision: int
    policy: dict[str, Any]
    gated: bool
    replicas: int
    scaled_to: int | None
    growth: dict[str, object] | None
    blue_set: int | None
    green_set: int | None
    phase: RolloutPhase
    awaits_signal: str | None
    pending_abort: dict[str, object] | None
    switch_epoch: int | None
    switch_back_epoch: int | None
    rollback_window: str | None
    outcome: RolloutOutcome | None
    spent_decisions: int
    requested_by: str
    requester_issuer: str

    @property
    def excluded(self) -> tuple[str, str] | None:
        """Who may not approve its switch; nobody when its policy does not say."""
        rule = self.policy.get("approvals") or {}
        return (self.requester_issuer, self.requested_by) if rule.get("exclude_requester") else None

    @property
    def needed(self) -> int:
        """How many people must approve its switch; 0 when its policy does not say."""
        rule = self.policy.get("approvals")
        return 0 if rule is None else int(rule["count"])


class WaitingRow(_Row):
    """What waits for its turn."""

    id: int
    revision: int
    held: str
    due_at: str | None


class ApprovedRow(_Row):
    """A person's approval."""

    rollout: int
    decision: int
    issuer: str
    subject: str


class LineRow(_Row):
    """A line of the audit log."""

    id: int
    rollout: int | None


class SpentRow(_Row):
    """A signed message that has counted."""

    verb: str
    request_id: str
    rollout: int


class Tables(_Row):
    """All rows that matter."""

    deployments: tuple[DeploymentRow, ...]
    sets: tuple[SetRow, ...]
    routes: tuple[RouteRow, ...]
    rollouts: tuple[RolloutRow, ...]
    approvals: tuple[ApprovedRow, ...]
    waiting: tuple[WaitingRow, ...]
    active_sets: tuple[int, ...]
    """Sets that have active replicas, as the view of traffic says."""
    completed: tuple[int, ...]
    """The rollouts of all lines ``completed`` of the audit log."""
    revisions: tuple[int, ...]
    lines: tuple[LineRow, ...]
    spent: tuple[SpentRow, ...]
    epoch_floor: int
    """Above every epoch of deployments that were pruned."""


class Snapshot(_Row):
    """One moment."""

    tables: Tables
    publication: Publication | None
    live_routers: tuple[str, ...]

    @property
    def deployment(self) -> DeploymentRow | None:
        """The one deployment, once it exists."""
        return self.tables.deployments[0] if self.tables.deployments else None

    def route_set(self, route_set: int) -> SetRow:
        """Return a set that exists."""
        return next(one for one in self.tables.sets if one.id == route_set)

    def state_of(self, route_set: int) -> RouteSetState:
        """Return the state of a set; one that was pruned is gone."""
        return next((one.state for one in self.tables.sets if one.id == route_set), RouteSetState.GONE)

    def routes_of(self, route_set: int) -> list[RouteRow]:
        """Return the replicas of a set that have not ended."""
        return [one for one in self.tables.routes if one.set_id == route_set and not one.has_ended]

    def rollout(self, rollout: int) -> RolloutRow | None:
        """Return a rollout, if it is there."""
        return next((one for one in self.tables.rollouts if one.id == rollout), None)

    def was_live(self, route_set: int) -> bool:
        """Whether a set is or has been its deployment's live one."""
        opened_by = self.rollout(self.route_set(route_set).rollout)
        return opened_by is not None and opened_by.switch_epoch is not None

    def approvals_of(self, rollout: RolloutRow) -> list[ApprovedRow]:
        """Return the approvals of a rollout's decision that stands."""
        return [
            one for one in self.tables.approvals if (one.rollout, one.decision) == (rollout.id, rollout.spent_decisions)
        ]

    def traffic(self) -> tuple[object, ...]:
        """Return what only an attempt that still counts may change."""
        return (
            self.deployment,
            self.tables.sets,
            self.tables.routes,
            [(one.id, one.switch_epoch, one.switch_back_epoch, one.outcome) for one in self.tables.rollouts],
            [(one.id, one.spent_decisions) for one in self.tables.rollouts],
            self.tables.approvals,
        )


_TABLES = text("""
    select json_build_object(
        'deployments', (select coalesce(json_agg(d order by name), '[]') from deployments d),
        'sets', (select coalesce(json_agg(s order by id), '[]') from route_sets s),
        'routes', (select coalesce(json_agg(r order by id), '[]') from routes r),
        'rollouts', (select coalesce(json_agg(o order by id), '[]') from rollouts o),
        'approvals', (select coalesce(json_agg(a order by rollout, decision, at), '[]') from approvals a),
        'waiting', (select coalesce(json_agg(n order by id), '[]') from next_rollouts n),
        'active_sets', (select coalesce(json_agg(distinct route_set), '[]')
                        from route_traffic where traffic_status = 'active'),
        'completed', (select coalesce(json_agg(rollout order by id), '[]')
                      from rollout_events where kind = 'completed'),
        'revisions', (select coalesce(json_agg(number order by number), '[]') from revisions),
        'lines', (select coalesce(json_agg(json_build_object('id', id, 'rollout', rollout) order by id), '[]')
                  from rollout_events),
        'spent', (select coalesce(json_agg(q order by verb, request_id), '[]') from spent_requests q),
        'epoch_floor', (select coalesce(max(epoch_floor), 0) from pruning)
    )
""")


async def take_snapshot(table: Table, deployment: str) -> Snapshot:
    """Read everything in one transaction."""
    async with table.transaction() as tx:
        tables = Tables.model_validate((await tx.execute(_TABLES)).scalar_one())
        routers = (await tx.scalars(select(Router.node).where(is_live).order_by(Router.node))).all()
        traffic = await read_traffic(tx, deployment)
    return Snapshot(
        tables=tables,
        publication=None if traffic is None else publish(traffic),
        live_routers=tuple(routers),
    )
