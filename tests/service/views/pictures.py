"""What the table and the workflow could know of a deployment, for tests of views."""

from datetime import UTC, datetime, timedelta
from typing import Any

from celadon.client.rollout_view import RolloutView, WorkflowAnswer
from celadon.domain.language.messages import RolloutStatus, Timer
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.policy import OnNewRevision, resolve_policy
from celadon.domain.language.states import (
    Colour,
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    SetCondition,
)
from celadon.table.records.deployments import DeploymentView, FailureView, ReplicaView, RouterView, SetView
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord
from tests.client.statuses import rollout_status

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def record(phase: RolloutPhase = RolloutPhase.AWAITING_PROMOTION, **changes: Any) -> RolloutRecord:
    """Return rollout 7 from r1 to r2."""
    ended = phase is RolloutPhase.COMPLETED
    fields: dict[str, Any] = {
        "rollout": RolloutId(7),
        "deployment": "chat",
        "workflow_id": "rollout-chat",
        "run_id": "0a1b",
        "from_revision": RevisionNumber(1),
        "to_revision": RevisionNumber(2),
        "blue_set": RouteSetId(1),
        "green_set": RouteSetId(2),
        "replicas": 2,
        "policy": resolve_policy(),
        "gated": True,
        "requested_by": "ann",
        "reason": "new weights",
        "phase": phase,
        "phase_since": NOW - timedelta(minutes=4),
        "started_at": NOW - timedelta(minutes=10),
        "switched_at": None,
        "switch_epoch": None,
        "switched_back_at": None,
        "switch_back_epoch": None,
        "awaits_epoch": None,
        "outcome": RolloutOutcome.PROMOTED if ended else None,
        "outcome_reason": "",
        "evidence": {},
        "completed_at": NOW if ended else None,
        "requests_cut": 0,
    }
    return RolloutRecord(**{**fields, **changes})


def replica(
    port: int, health: RouteHealthStatus = RouteHealthStatus.HEALTHY, error: str = "", **changes: Any
) -> ReplicaView:
    """Return a running replica that was healthy."""
    one = ReplicaView(
        route=RouteId(f"route-{port}"),
        host="127.0.0.1",
        port=port,
        status=RouteStatus.RUNNING,
        health=health,
        created_at=NOW,
        started_at=NOW,
        ready_at=NOW,
        last_error=error,
    )
    return one.model_copy(update=changes)


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
        "revision": RevisionNumber(number),
        "rollout": RolloutId(number),
        "colour": which,
        "is_live": is_live,
        "state": RouteSetState.OPEN,
        "condition": SetCondition.READY,
        "wanted": 2,
        "running": 2,
        "healthy": sum(one.health is RouteHealthStatus.HEALTHY for one in members),
        "required": None,
        "replacements": 0,
        "last_error": "",
        "replicas": members,
        "failures": (),
        "drain_deadline": None,
        "load": (),
        "requests_cut": 0,
    }
    return SetView(**{**fields, **changes})


def router(name: str, epoch: int, *, acknowledged: bool = True, nack: str = "") -> RouterView:
    """Return a live router."""
    return RouterView(
        router=RouterNode(name),
        gateway="gateway",
        seen_at=NOW,
        epoch=Epoch(epoch),
        acknowledged=acknowledged,
        nack=nack,
    )


def event(kind: str, after: timedelta, **changes: Any) -> AuditEvent:
    """Return a line of the audit log, so long after the rollout's begin."""
    fields: dict[str, Any] = {
        "id": 1,
        "rollout": RolloutId(7),
        "at": NOW - timedelta(minutes=10) + after,
        "kind": kind,
        "actor": "",
        "door": None,
        "reason": "",
        "evidence": {},
    }
    return AuditEvent.model_validate({**fields, **changes})


def view(rollout: RolloutRecord | None = None, status: RolloutStatus | None = None, **changes: Any) -> RolloutView:
    """Return deployment ``chat`` with blue live and green beside it."""
    fields: dict[str, Any] = {
        "deployment": "chat",
        "at": NOW,
        "lifecycle": DeploymentLifecycle.DEPLOYING,
        "replicas": 2,
        "frozen": False,
        "epoch": Epoch(11),
        "live_set": RouteSetId(1),
        "live_revision": RevisionNumber(1),
        "panic": False,
        "keeper_alive": True,
        "rollout": rollout or record(),
        "sets": (colour(Colour.BLUE, is_live=True), colour(Colour.GREEN, is_live=False)),
        "routers": (router("edge-1", 11),),
        "events": (),
    }
    return RolloutView(deployment=DeploymentView(**{**fields, **changes}), workflow=WorkflowAnswer(status=status))


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
