"""Moments in the life of a deployment, with every kind of thing that people are shown, at a fixed time."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from celadon.domain.decisions.workflow_condition import (
    PendingTask,
    StepFailure,
    TaskFailure,
    TaskFault,
    TaskReading,
    judge_workflow,
)
from celadon.domain.language.approval import Approval, ApprovalRule
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.growth import Growth
from celadon.domain.language.messages import RefusedMessage, RolloutStatus, Timer
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.language.notification import DeliveryState
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.states import (
    Channel,
    Colour,
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    SetCondition,
)
from celadon.service.rollout_view import RolloutView, WorkflowAnswer, table_next_step, who_must_act
from celadon.service.views.deployments import DeploymentList, ListedDeployment
from celadon.service.views.history import History
from celadon.service.views.revisions import RevisionList
from celadon.service.views.routers import RouterList
from celadon.table.records.deliveries import ToldRecord
from celadon.table.records.deployments import (
    DeploymentView,
    FailureView,
    LoadView,
    ReplicaView,
    RouterView,
    SetView,
)
from celadon.table.records.events import AuditEvent, DeploymentEvent
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutRecord
from celadon.table.records.routers import BehindLine, RouterLine, RouterState
from tests.client.statuses import rollout_status

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BLUE: Final = RouteSetId(11)
GREEN: Final = RouteSetId(12)
HEALTHY: Final = RouteHealthStatus.HEALTHY


def ago(seconds: float) -> datetime:
    """Return a moment before the present one."""
    return NOW - timedelta(seconds=seconds)


def ahead(seconds: float) -> datetime:
    """Return a moment after the present one."""
    return NOW + timedelta(seconds=seconds)


def rollout(phase: RolloutPhase, **changes: Any) -> RolloutRecord:
    """Return rollout 7 of ``chat``, from r1 to r2."""
    record = RolloutRecord(
        rollout=RolloutId(7),
        deployment="chat",
        workflow_id="rollout-chat",
        run_id="run-7",
        from_revision=RevisionNumber(1),
        to_revision=RevisionNumber(2),
        blue_set=BLUE,
        green_set=GREEN,
        replicas=3,
        policy=resolve_policy(BlueGreenPolicy(auto_promote=True, promote_after=timedelta(minutes=5))),
        gated=True,
        requested_by="ann",
        reason="new weights",
        phase=phase,
        phase_since=ago(72),
        started_at=ago(200),
        switched_at=None,
        switch_epoch=None,
        switched_back_at=None,
        switch_back_epoch=None,
        awaits_epoch=None,
        outcome=None,
        outcome_reason="",
        evidence={},
        completed_at=None,
        requests_cut=0,
    )
    return record.model_copy(update=changes)


def replica(number: int, **changes: Any) -> ReplicaView:
    """Return a healthy replica."""
    one = ReplicaView(
        route=RouteId(f"route-{number}"),
        host="127.0.0.1",
        port=40_000 + number,
        status=RouteStatus.RUNNING,
        health=HEALTHY,
        created_at=ago(190),
        started_at=ago(180 - number),
        ready_at=ago(170 - number),
        last_error="",
    )
    return one.model_copy(update=changes)


def route_set(colour: Colour | None, replicas: tuple[ReplicaView, ...], **changes: Any) -> SetView:
    """Return a set of three of which ``replicas`` are there."""
    is_green = colour is Colour.GREEN
    one = SetView(
        route_set=GREEN if is_green else BLUE,
        revision=RevisionNumber(2 if is_green else 1),
        rollout=RolloutId(7 if is_green else 6),
        colour=colour,
        is_live=not is_green,
        state=RouteSetState.OPEN,
        condition=SetCondition.READY,
        wanted=3,
        running=len(replicas),
        healthy=sum(one.health is HEALTHY for one in replicas),
        required=3 if is_green else None,
        replacements=0,
        last_error="",
        replicas=replicas,
        failures=(),
        drain_deadline=None,
        load=(),
        requests_cut=0,
    )
    return one.model_copy(update=changes)


def router(name: str, epoch: int | None, *, present: int = 3, nack: str = "") -> RouterView:
    """Return a live router that serves ``epoch``."""
    return RouterView(
        router=RouterNode(name),
        gateway="gateway-1",
        seen_at=ago(1),
        epoch=None if epoch is None else Epoch(epoch),
        acknowledged=epoch is not None and epoch >= present,
        nack=nack,
    )


def event(number: int, seconds: float, kind: str, **changes: Any) -> AuditEvent:
    """Return a line of the audit log."""
    line = AuditEvent(
        id=number,
        rollout=RolloutId(7),
        at=ago(seconds),
        kind=kind,
        actor="",
        door=None,
        verified=False,
        reason="",
        evidence={},
    )
    return line.model_copy(update=changes)


EVENTS: Final = (
    event(71, 120, "phase", reason="awaiting_promotion"),
    event(70, 200, "rollout_started", actor="ann", door=Channel.CLI, verified=True, reason="new weights"),
)


def deployment(**changes: Any) -> DeploymentView:
    """Return ``chat`` with a healthy blue."""
    one = DeploymentView(
        deployment="chat",
        labels={"team": "search"},
        at=NOW,
        lifecycle=DeploymentLifecycle.DEPLOYING,
        replicas=3,
        frozen=False,
        epoch=Epoch(3),
        live_set=BLUE,
        live_revision=RevisionNumber(1),
        panic=False,
        keeper_alive=True,
        rollout=None,
        sets=(route_set(Colour.BLUE, THREE),),
        routers=(router("edge-1", 3), router("edge-2", 3)),
        events=EVENTS,
        policy=BlueGreenPolicy(bake=timedelta(minutes=7)),
    )
    return one.model_copy(update=changes)


def status(record: RolloutRecord, **changes: Any) -> RolloutStatus:
    """Return what the workflow of ``record`` answers."""
    of_record = {
        "rollout": record.rollout,
        "phase": record.phase,
        "since": record.phase_since,
        "from_revision": record.from_revision,
        "to_revision": record.to_revision,
        "policy": record.policy,
        "next_step": table_next_step(record),
    }
    return rollout_status(**(of_record | changes))


def view(record: RolloutRecord, *sets: SetView, answer: Any = None, **changes: Any) -> RolloutView:
    """Return ``chat`` in the middle of ``record``; ``answer`` is what the workflow says more."""
    shown = deployment(rollout=record, sets=sets, **changes)
    if isinstance(answer, WorkflowAnswer):
        return RolloutView(deployment=shown, workflow=answer)
    return RolloutView(deployment=shown, workflow=WorkflowAnswer(status=status(record, **(answer or {}))))


THREE: Final = (replica(1), replica(2), replica(3))
_NEW: Final = (replica(4), replica(5), replica(6))


def _timer(name: str, seconds: float) -> Timer:
    return Timer(name=name, fires_at=ahead(seconds), remaining=timedelta(seconds=seconds))


def _provisioning() -> RolloutView:
    starting = (
        replica(
            4, health=RouteHealthStatus.NOT_CHECKED, status=RouteStatus.PROVISIONING, started_at=None, ready_at=None
        ),
        replica(5, health=RouteHealthStatus.UNHEALTHY, last_error="GET /health answered 503"),
        replica(6),
    )
    green = route_set(
        Colour.GREEN,
        starting,
        condition=SetCondition.STARTING,
        last_error="GET /health answered 503; ended with exit status 1: loading weights / CUDA out of memory",
        replacements=1,
        failures=(
            FailureView(
                route=RouteId("route-9"),
                port=40_009,
                status=RouteStatus.FAILED_TO_START,
                ended_at=ago(30),
                last_error="ended with exit status 1",
                output="loading weights\nCUDA out of memory",
            ),
        ),
    )
    record = rollout(RolloutPhase.PROVISIONING)
    return view(
        record, route_set(Colour.BLUE, THREE), green, answer={"timers": (_timer("provisioning deadline", 528),)}
    )


def _awaiting() -> RolloutView:
    timed = BlueGreenPolicy(auto_promote=True, promote_after=timedelta(minutes=5), approvals=ApprovalRule(count=2))
    policy = resolve_policy(timed)
    record = rollout(RolloutPhase.AWAITING_PROMOTION, policy=policy)
    cyd = Approval(by="cyd", issuer="https://id.example", door=Channel.API, at=ago(11))
    refused = RefusedMessage(
        at=ago(20),
        message="promote",
        door=Channel.SIGNAL,
        by="ben",
        refusal=Refusal(code=RefusalCode.WRONG_REVISION, message="r3 was named, but r2 waits", next_step="name r2"),
    )
    answer = {
        "timers": (_timer("promotion", 228), _timer("promotion deadline", 3528)),
        "approvals": 1,
        "approvals_needed": 2,
        "refused": (refused,),
        "refused_total": 1,
    }
    sets = route_set(Colour.BLUE, THREE), route_set(Colour.GREEN, _NEW)
    return view(record, *sets, answer=answer, approvals=(cyd,))


def _switching() -> RolloutView:
    record = rollout(RolloutPhase.SWITCHING, phase_since=ago(2.4), switched_at=ago(2.3), switch_epoch=Epoch(4))
    return view(
        record,
        route_set(Colour.BLUE, THREE, is_live=False),
        route_set(Colour.GREEN, _NEW, is_live=True),
        answer={"decision": "promotion by ann", "epoch": Epoch(4)},
        epoch=Epoch(4),
        live_set=GREEN,
        live_revision=RevisionNumber(2),
        routers=(router("edge-1", 4, present=4), router("edge-2", 3, present=4, nack="no such cluster")),
    )


def _baking() -> RolloutView:
    record = rollout(
        RolloutPhase.BAKING, switched_at=ago(80), switch_epoch=Epoch(4), awaits_epoch=Epoch(4), phase_since=ago(72)
    )
    return view(
        record,
        route_set(Colour.BLUE, THREE, is_live=False),
        route_set(Colour.GREEN, (*_NEW[:2], replica(6, health=RouteHealthStatus.DEGRADED)), is_live=True),
        answer={"timers": (_timer("bake", 228),), "silent_routers": ("edge-2",)},
        epoch=Epoch(4),
        live_set=GREEN,
        live_revision=RevisionNumber(2),
        panic=True,
        keeper_alive=False,
        routers=(router("edge-1", 4, present=4), router("edge-2", None, present=4)),
    )


def _pending_abort() -> RolloutView:
    record = rollout(RolloutPhase.BAKING, switched_at=ago(400), switch_epoch=Epoch(4), phase_since=ago(400))
    return view(
        record,
        route_set(Colour.BLUE, THREE, is_live=False),
        route_set(Colour.GREEN, _NEW, is_live=True),
        answer={
            "abort_requested": "ben: wrong weights",
            "holding": "an abort by ben is pending since 2026-03-01 11:58:00 UTC: blue cannot take the traffic for the "
            "moment (1 of 3 healthy, 3 required); traffic goes back as soon as blue can take it",
        },
        epoch=Epoch(4),
        live_set=GREEN,
        live_revision=RevisionNumber(2),
    )


def _held() -> RolloutView:
    return view(
        rollout(RolloutPhase.AWAITING_PROMOTION, phase_since=ago(400)),
        route_set(Colour.BLUE, THREE, is_live=True),
        route_set(Colour.GREEN, _NEW),
        answer={
            "holding": "since 2026-03-01 11:58:00 UTC: deployment chat is frozen; no timer promotes until the freeze "
            "has ended",
        },
    )


def _growing() -> RolloutView:
    policy = resolve_policy(BlueGreenPolicy(preview_replicas=1))
    grows = Growth(by="ann", door=Channel.CLI, reason="reviewed", at=ago(8), wanted=3, seq=4)
    record = rollout(RolloutPhase.VERIFYING, policy=policy, phase_since=ago(8))
    answer = {
        "timers": (_timer("provisioning deadline", 592),),
        "decision": "promotion by ann (cli)",
        "growth": grows,
        "next_step": "wait until green has grown to 3, or abort: celadon abort chat",
    }
    return view(record, route_set(Colour.BLUE, THREE, is_live=True), route_set(Colour.GREEN, _NEW[:1]), answer=answer)


def _without_room() -> RolloutView:
    return view(
        rollout(RolloutPhase.PROVISIONING, phase_since=ago(400), green_set=None, awaits_signal="room_changed"),
        route_set(Colour.BLUE, THREE, is_live=True),
        answer={
            "holding": "since 2026-03-01 11:53:20 UTC: no room for 3 more replicas of chat: its sets have 5, and "
            "max_total_replicas is 6; green is opened as soon as there is room",
        },
    )


def _draining() -> RolloutView:
    record = rollout(RolloutPhase.DRAINING, switched_at=ago(400), switch_epoch=Epoch(4), phase_since=ago(40))
    drained = route_set(
        Colour.BLUE,
        THREE[:2],
        is_live=False,
        state=RouteSetState.DRAINING,
        drain_deadline=ahead(860),
        load=(
            LoadView(router=RouterNode("edge-1"), running=3, reported_at=ago(1)),
            LoadView(router=RouterNode("edge-2"), running=None, reported_at=None),
        ),
        requests_cut=2,
    )
    return view(
        record,
        drained,
        route_set(Colour.GREEN, _NEW, is_live=True),
        answer=WorkflowAnswer(unanswered_because="Temporal did not answer"),
        epoch=Epoch(4),
        live_set=GREEN,
        live_revision=RevisionNumber(2),
        routers=(router("edge-1", 4, present=4), router("edge-2", 4, present=4)),
    )


def _rolling_back() -> RolloutView:
    record = rollout(RolloutPhase.ROLLING_BACK, phase_since=ago(5))
    green = route_set(
        Colour.GREEN, _NEW[:1], state=RouteSetState.DRAINING, drain_deadline=ahead(895), condition=SetCondition.STARTING
    )
    return view(
        record, route_set(Colour.BLUE, THREE), green, answer={"abort_requested": "ben: wrong weights"}, events=()
    )


def _ended() -> RolloutView:
    record = rollout(
        RolloutPhase.COMPLETED,
        outcome=RolloutOutcome.PROMOTED,
        outcome_reason="promotion by ann",
        completed_at=ago(60),
        switched_at=ago(500),
        requests_cut=2,
    )
    live = route_set(
        Colour.GREEN,
        (*_NEW, replica(7, leaving_deadline=ahead(600), running_requests=4)),
        is_live=True,
        healthy=3,
    )
    return view(
        record,
        live,
        answer=WorkflowAnswer(),
        lifecycle=DeploymentLifecycle.READY,
        live_set=GREEN,
        live_revision=RevisionNumber(2),
        routers=(),
        frozen=True,
    )


def _first() -> RolloutView:
    record = rollout(RolloutPhase.VERIFYING, from_revision=None, blue_set=None, gated=False)
    many = tuple(replica(number) for number in range(1, 15))
    return view(
        record,
        route_set(Colour.GREEN, many, wanted=14, required=14),
        live_set=None,
        live_revision=None,
        lifecycle=DeploymentLifecycle.PENDING,
    )


def _stuck() -> RolloutView:
    reading = TaskReading(
        pending=PendingTask(attempt=7, scheduled_at=ago(20), taken=True),
        failure=TaskFailure(fault=TaskFault.FAILURE, message="KeyError: 'green'", at=ago(900)),
        polled_at=ago(5),
    )
    return _not_getting_on(reading)


def _failing_step() -> RolloutView:
    step = StepFailure(
        step="enter_phase",
        attempt=7,
        message='NotMigratedError: the database lacks what this version of Celadon uses: column "x" does not exist',
        is_outage=False,
        at=ago(9),
    )
    return _not_getting_on(TaskReading(steps=(step,), polled_at=ago(5)))


def _not_getting_on(reading: TaskReading) -> RolloutView:
    condition = judge_workflow("rollout-chat", reading, NOW)
    record = rollout(RolloutPhase.AWAITING_PROMOTION, phase_since=ago(1000))
    return view(
        record,
        route_set(Colour.BLUE, THREE, is_live=True),
        route_set(Colour.GREEN, _NEW),
        answer=WorkflowAnswer(unanswered_because=condition.told, condition=condition),
    )


VIEWS: Final = {
    "provisioning": _provisioning(),
    "verifying-first": _first(),
    "awaiting-promotion": _awaiting(),
    "switching": _switching(),
    "baking-silent-router": _baking(),
    "baking-pending-abort": _pending_abort(),
    "awaiting-promotion-held": _held(),
    "growing": _growing(),
    "no-room-for-green": _without_room(),
    "draining": _draining(),
    "rolling-back": _rolling_back(),
    "ended": _ended(),
    "failing-task": _stuck(),
    "failing-step": _failing_step(),
    "not-registered": RolloutView(deployment=None, workflow=WorkflowAnswer(unanswered_because="no worker answered")),
}
"""By name: one of every phase, and every kind of thing that a tree shows."""


def _line(name: str, record: RolloutRecord | None, **changes: Any) -> ListedDeployment:
    under_way = record is not None and record.outcome is None
    line = ListedDeployment(
        deployment=name,
        lifecycle=DeploymentLifecycle.DEPLOYING if under_way else DeploymentLifecycle.READY,
        frozen=False,
        epoch=Epoch(3),
        replicas=3,
        live_revision=RevisionNumber(1),
        wanted=3,
        healthy=3,
        rollout=record,
        waits_for=who_must_act(record),
        next_step=table_next_step(record) if under_way and record is not None else "",
    )
    return line.model_copy(update=changes)


_PROMOTED: Final = rollout(
    RolloutPhase.COMPLETED,
    outcome=RolloutOutcome.PROMOTED,
    outcome_reason="promotion by ann",
    completed_at=ago(60),
    switched_at=ago(500),
    started_at=ago(900),
    requests_cut=2,
)

LISTED: Final = DeploymentList(
    at=NOW,
    items=(
        _line("chat", rollout(RolloutPhase.AWAITING_PROMOTION)),
        _line("embed", _PROMOTED, healthy=2, frozen=True),
        _line("new", None, live_revision=None, wanted=0, healthy=0),
        _line("search", rollout(RolloutPhase.DRAINING)),
    ),
)

PAST: Final = History(
    deployment="chat",
    items=(
        rollout(RolloutPhase.BAKING, rollout=RolloutId(8), switched_at=ago(80)),
        _PROMOTED,
        rollout(
            RolloutPhase.COMPLETED,
            rollout=RolloutId(6),
            from_revision=None,
            to_revision=RevisionNumber(1),
            outcome=RolloutOutcome.FAILED,
            outcome_reason="green could not start: ended with exit status 1",
            completed_at=ago(86_400),
            started_at=ago(86_700),
        ),
    ),
    events=(
        event(73, 10, "router_forgotten", actor="ben", door=Channel.CLI, rollout=None, reason="scaled in"),
        event(
            72,
            80,
            "switched",
            actor="ann",
            door=Channel.API,
            verified=True,
            reason="reviewed with ben",
            evidence={"epoch": "4", "acknowledged_by": "edge-1"},
        ),
        *EVENTS,
    ),
    notified=(
        ToldRecord(
            notification="n-1",
            rollout=7,
            kind="celadon.rollout.switched",
            at=ago(80),
            target="team-chat",
            state=DeliveryState.WAITING,
            attempts=3,
            last_status=503,
            last_error="answered 503",
            due_at=ago(80),
            delivered_at=None,
            next_attempt_at=ahead(20),
        ),
    ),
)


def _router_line(name: str, state: RouterState, **changes: Any) -> RouterLine:
    line = RouterLine(
        router=RouterNode(name),
        state=state,
        gateway="gateway-1",
        stream_is_up=state in {RouterState.NEW, RouterState.LIVE},
        stream_started_at=ago(4000),
        seen_at=ago(1.2),
        acknowledged_at=None if state is RouterState.NEW else ago(3999),
        gone_at=None,
        enrolled_at=ago(5000),
        identity=f"spiffe://celadon/router/{name}",
        certificate_expires_at=ahead(200 * 86_400),
        nack="",
        behind=(),
    )
    return line.model_copy(update=changes)


_BEHIND: Final = tuple(
    BehindLine(deployment=name, epoch=Epoch(4), serves=serves)
    for name, serves in (("chat", Epoch(3)), ("embed", None), ("search", Epoch(2)), ("speech", Epoch(3)))
)

ROUTERS: Final = RouterList(
    at=NOW,
    items=(
        _router_line("edge-1", RouterState.LIVE),
        _router_line("edge-2", RouterState.LIVE, behind=_BEHIND),
        _router_line("edge-3", RouterState.CUT_OFF, seen_at=ago(130), behind=_BEHIND[:1]),
        _router_line("edge-4", RouterState.GONE, gone_at=ago(3600), seen_at=ago(3700), enrolled_at=None),
        _router_line("edge-5", RouterState.GONE, seen_at=ago(900), certificate_expires_at=ago(60)),
        _router_line("edge-6", RouterState.NEW, certificate_expires_at=ahead(20 * 86_400)),
        _router_line("edge-7", RouterState.LIVE, nack="unknown field 'lb_policy'"),
        _router_line("edge-8", RouterState.ENROLLED, gateway="", seen_at=None, stream_started_at=None),
        _router_line("local", RouterState.LIVE, identity=None, certificate_expires_at=None),
    ),
)

LINES: Final = tuple(DeploymentEvent(**one.model_dump(), deployment="chat") for one in PAST.events)

REVISIONS: Final = RevisionList(
    items=(
        RevisionRecord(
            deployment="chat",
            number=RevisionNumber(2),
            digest="9f2c51d0aa47b3e6",
            content={"provisioner": "static", "endpoints": ["10.0.0.1:8000", "10.0.0.2:8000"]},
            created_at=ago(80),
        ),
        RevisionRecord(
            deployment="chat",
            number=RevisionNumber(1),
            digest="03bb7e1c5d90f2a8",
            content={"command": ["python", "-m", "my_server", "--port", "{port}"]},
            created_at=ago(86_400),
        ),
    )
)
