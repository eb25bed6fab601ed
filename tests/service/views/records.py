"""Records of a deployment with two replicas, with which tests of views begin."""

from datetime import timedelta
from typing import Any

from celadon.domain.language.messages import RolloutStatus, Timer
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteId, RouteSetId
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.policy import OnNewRevision, resolve_policy
from celadon.domain.language.states import (
    Colour,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteStatus,
)
from celadon.service.rollout_view import RolloutView, WorkflowAnswer
from celadon.table.records.deployments import FailureView, ReplicaView, RouterView, SetView
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord
from tests import sample_views
from tests.client.statuses import rollout_status
from tests.sample_views import NOW


def record(phase: RolloutPhase = RolloutPhase.AWAITING_PROMOTION, **changes: Any) -> RolloutRecord:
    """Return rollout 7 from r1 to r2."""
    ended = phase is RolloutPhase.COMPLETED
    fields: dict[str, Any] = {
        "blue_set": RouteSetId(1),
        "green_set": RouteSetId(2),
        "replicas": 2,
        "policy": resolve_policy(),
        "run_id": "0a1b",
        "phase_since": NOW - timedelta(minutes=4),
        "started_at": NOW - timedelta(minutes=10),
        "outcome": RolloutOutcome.PROMOTED if ended else None,
        "completed_at": NOW if ended else None,
    }
    return sample_views.rollout(phase, **{**fields, **changes})


def replica(
    port: int, health: RouteHealthStatus = RouteHealthStatus.HEALTHY, error: str = "", **changes: Any
) -> ReplicaView:
    """Return a running replica that was healthy."""
    fields: dict[str, Any] = {
        "route": RouteId(f"route-{port}"),
        "port": port,
        "health": health,
        "created_at": NOW,
        "started_at": NOW,
        "ready_at": NOW,
        "last_error": error,
    }
    return sample_views.replica(port, **{**fields, **changes})


def failure(port: int, error: str, output: str, **changes: Any) -> FailureView:
    """Return a replica that never was healthy and ended by itself."""
    one = FailureView(
        route=RouteId(f"route-{port}"),
        port=port,
        status=RouteStatus.FAILED_TO_START,
        ended_at=NOW,
        last_error=error,
        output=output,
    )
    return one.model_copy(update=changes)


def colour(which: Colour, *, is_live: bool, replicas: tuple[ReplicaView, ...] = (), **changes: Any) -> SetView:
    """Return a set of two replicas."""
    number = 1 if which is Colour.BLUE else 2
    members = replicas or (replica(8000 + number), replica(8010 + number))
    fields: dict[str, Any] = {
        "route_set": RouteSetId(number),
        "rollout": RolloutId(number),
        "is_live": is_live,
        "wanted": 2,
        "running": 2,
        "required": None,
    }
    return sample_views.route_set(which, members, **{**fields, **changes})


def router(name: str, epoch: int, *, acknowledged: bool = True, nack: str = "") -> RouterView:
    """Return a live router."""
    shown = sample_views.router(name, epoch, nack=nack)
    return shown.model_copy(update={"gateway": "gateway", "seen_at": NOW, "acknowledged": acknowledged})


def event(kind: str, after: timedelta, **changes: Any) -> AuditEvent:
    """Return a line of the audit log, so long after the rollout's begin."""
    at = NOW - timedelta(minutes=10) + after
    return sample_views.event(1, 0, kind, **{"at": at, **changes})


def view(rollout: RolloutRecord | None = None, status: RolloutStatus | None = None, **changes: Any) -> RolloutView:
    """Return deployment ``chat`` with blue live and green beside it."""
    fields: dict[str, Any] = {
        "labels": {},
        "replicas": 2,
        "epoch": Epoch(11),
        "live_set": RouteSetId(1),
        "rollout": rollout or record(),
        "sets": (colour(Colour.BLUE, is_live=True), colour(Colour.GREEN, is_live=False)),
        "routers": (router("edge-1", 11),),
        "events": (),
    }
    deployment = sample_views.deployment(**{**fields, **changes})
    return RolloutView(deployment=deployment, workflow=WorkflowAnswer(status=status))


def waiting(**changes: Any) -> WaitingRollout:
    """Return r3 by ben, which waits for the end of rollout 7."""
    fields: dict[str, Any] = {
        "id": 3,
        "revision": RevisionNumber(3),
        "replicas": None,
        "mode": OnNewRevision.QUEUE,
        "requested_by": "ben",
        "verified": True,
        "reason": "newer weights",
        "since": NOW,
        "after": RolloutId(7),
        "held": "",
        "waits_for": "the end of rollout 7",
    }
    return WaitingRollout(**{**fields, **changes})


def awaiting(*timers: Timer) -> RolloutStatus:
    """Return what the workflow of a rollout says that awaits its promotion."""
    return rollout_status(since=NOW - timedelta(minutes=4), timers=timers)
