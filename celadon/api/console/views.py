"""What the console's pages show, from what the table and the workflow know: pure functions, no HTML."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Final, assert_never

from celadon.client.rollout_view import NO_WORKFLOW, RolloutView, who_must_act
from celadon.client.wording import WAY, describe_event, event_detail, event_title, in_words, move_name, revision_name
from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.messages import RefusedMessage, Timer
from celadon.domain.language.moments import span
from celadon.domain.language.names import Epoch
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import (
    Colour,
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
)
from celadon.service.command import AnyCommand, Scope, Standing
from celadon.service.registry import commands
from celadon.table.records.deployments import (
    DeploymentLine,
    DeploymentView,
    FailureView,
    ReplicaView,
    RouterView,
    SetView,
)
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord

SHOWN_REPLICAS: Final = 24
SHOWN_REFUSALS: Final = 3

_GOOD_EVENTS: Final = frozenset({"switched", "switched_back", "awaiting_promotion"})
_BAD_EVENTS: Final = frozenset(
    {"replica_failed", "port_taken", "regressed", "message_refused", "promotion_refused", "failed"},
)


class LinePage(Record):
    """A deployment in the list."""

    name: str
    lifecycle: str
    frozen: bool
    live: str
    healthy: int
    wanted: int
    full: bool
    rollout: int | None
    move: str
    phase: str
    tone: str
    since: datetime | None
    waits_for: str
    needs_person: bool


class Step(Record):
    """One phase on a rollout's way: ``passed``, ``present`` or ``ahead``."""

    name: str
    state: str


class RolloutSummary(Record):
    """A rollout in a line or two."""

    number: int
    move: str
    requested_by: str
    reason: str
    phase: str
    since: datetime
    started_at: datetime
    took: str
    outcome: str
    outcome_reason: str
    tone: str
    way: tuple[Step, ...]


class ReplicaPage(Record):
    """A replica of a colour."""

    address: str
    status: str
    health: str
    mark: str
    tone: str
    error: str


class FailurePage(Record):
    """A replica that ended by itself."""

    title: str
    output: str


class SetPage(Record):
    """One colour."""

    title: str
    colour: str
    traffic: str
    tone: str
    healthy: int
    wanted: int
    required: int | None
    is_draining: bool
    running_requests: str
    drain_deadline: datetime | None
    requests_cut: int
    replacements: int
    last_error: str
    replicas: tuple[ReplicaPage, ...]
    more: int
    failures: tuple[FailurePage, ...]


class RouterPage(Record):
    """A router and what it serves."""

    name: str
    epoch: str
    state: str
    tone: str


class EventPage(Record):
    """One line of the audit log."""

    at: datetime
    text: str


class FormField(Record):
    """A number that a person types, and what it is now."""

    name: str
    title: str
    value: str


class Decision(Record):
    """Something that a person can decide now, and whether this person may."""

    verb: str
    title: str
    what: str
    button: str
    tone: str
    allowed: bool
    why_not: str
    request_id: str
    """Under which the decision is sent: sent twice, it is taken once."""
    means: dict[str, str]
    """Which rollout and revision are meant, sent along so that another one is refused."""
    fields: tuple[FormField, ...] = ()
    """Numbers that the person types."""


class DeploymentPage(Record):
    """A deployment with both colours."""

    name: str
    live: str
    lifecycle: str
    replicas: int
    epoch: int
    waits_for: str
    rollout: RolloutSummary | None
    timers: tuple[Timer, ...]
    no_timer: bool
    holding: str
    decision: str
    warnings: tuple[str, ...]
    sets: tuple[SetPage, ...]
    routers: tuple[RouterPage, ...]
    events: tuple[EventPage, ...]
    refused: tuple[EventPage, ...]
    """The last messages that changed nothing; the audit log has them with the rollout's next step."""
    decisions: tuple[Decision, ...]
    decisions_key: str
    """Changes when other decisions are possible, and only then."""
    nothing_to_decide: str
    temporal: str


class StoryEvent(Record):
    """One event of a rollout's story; ``after`` counts from its begin."""

    at: datetime
    after: str
    title: str
    text: str
    tone: str


class StoryPage(Record):
    """A rollout's story, from the audit log."""

    deployment: str
    number: int
    move: str
    requested_by: str
    reason: str
    phase: str
    outcome: str
    outcome_reason: str
    tone: str
    started_at: datetime
    took: str
    switched_at: datetime | None
    switch_epoch: Epoch | None
    requests_cut: int
    events: tuple[StoryEvent, ...]
    temporal: str


def list_page(lines: Collection[DeploymentLine]) -> tuple[LinePage, ...]:
    """Return the list: deployments that wait for a person first, then by name."""
    pages = [_line(line) for line in lines]
    return tuple(sorted(pages, key=lambda page: (not page.needs_person, page.name)))


def deployment_page(view: RolloutView, rights: Collection[Verb], temporal_ui: str, now: datetime) -> DeploymentPage:
    """Return a deployment's page.

    Args:
        view: what is known; its deployment is registered.
        rights: what this person may do.
        temporal_ui: the address of Temporal's UI and namespace, empty when it is not known.
        now: the moment to which spans are counted.

    Raises:
        ValueError: the deployment is not registered yet.

    """
    deployment = view.deployment
    if deployment is None:
        raise ValueError("a deployment that is not registered has no page")
    record, status = deployment.rollout, view.status
    under_way = record is not None and record.outcome is None
    decisions = _decisions(view, deployment, rights)
    return DeploymentPage(
        name=deployment.deployment,
        live=revision_name(deployment.live_revision),
        lifecycle=in_words(deployment.lifecycle.value),
        replicas=deployment.replicas,
        epoch=deployment.epoch,
        waits_for=who_must_act(record) if view.stuck is None else "an operator: the rollout does not get on",
        rollout=None if record is None else summary(record, now, phase=view.phase, since=view.phase_since),
        timers=status.timers if status is not None else (),
        no_timer=status is not None
        and not status.timers
        and not status.holding
        and status.phase is RolloutPhase.AWAITING_PROMOTION,
        holding="" if status is None else status.holding,
        decision="" if status is None else status.decision,
        warnings=tuple(_warnings(view, deployment)),
        sets=tuple(_set(one, under_way=under_way) for one in deployment.sets),
        routers=tuple(_router(one) for one in deployment.routers),
        events=tuple(EventPage(at=event.at, text=describe_event(event)) for event in deployment.events),
        refused=() if status is None else tuple(_refused(one) for one in status.refused[-SHOWN_REFUSALS:]),
        decisions=decisions,
        decisions_key=" ".join(f"{one.verb}:{'.'.join(one.means.values())}" for one in decisions),
        nothing_to_decide=_nothing_to_decide(deployment, under_way=under_way),
        temporal=_workflow_link(temporal_ui, record),
    )


def story_page(record: RolloutRecord, events: Collection[AuditEvent], temporal_ui: str, now: datetime) -> StoryPage:
    """Return a rollout's story as a timeline."""
    told = summary(record, now)
    return StoryPage(
        deployment=record.deployment,
        number=record.rollout,
        move=told.move,
        requested_by=record.requested_by,
        reason=record.reason,
        phase=told.phase,
        outcome=told.outcome,
        outcome_reason=record.outcome_reason,
        tone=told.tone,
        started_at=record.started_at,
        took=told.took,
        switched_at=record.switched_at,
        switch_epoch=record.switch_epoch,
        requests_cut=record.requests_cut,
        events=tuple(
            StoryEvent(
                at=event.at,
                after=span(event.at - record.started_at),
                title=event_title(event),
                text=event_detail(event),
                tone=_event_tone(event),
            )
            for event in events
        ),
        temporal=_workflow_link(temporal_ui, record),
    )


def summary(
    record: RolloutRecord,
    now: datetime,
    *,
    phase: RolloutPhase | None = None,
    since: datetime | None = None,
) -> RolloutSummary:
    """Return a rollout in short; ``phase`` and ``since`` are the workflow's, where it knows more than the table."""
    present = phase or record.phase
    return RolloutSummary(
        number=record.rollout,
        move=move_name(record.from_revision, record.to_revision),
        requested_by=record.requested_by,
        reason=record.reason,
        phase=in_words(present.value),
        since=since or record.phase_since,
        started_at=record.started_at,
        took=span((record.completed_at or now) - record.started_at),
        outcome="" if record.outcome is None else in_words(record.outcome.value),
        outcome_reason=record.outcome_reason,
        tone=_outcome_tone(record.outcome),
        way=_way(present),
    )


def _line(line: DeploymentLine) -> LinePage:
    record = line.rollout
    waits_for = who_must_act(record)
    shown = "none" if record is None else in_words((record.outcome or record.phase).value)
    return LinePage(
        name=line.deployment,
        lifecycle=line.lifecycle.value,
        frozen=line.frozen,
        live=revision_name(line.live_revision),
        healthy=line.healthy,
        wanted=line.wanted,
        full=line.healthy >= line.wanted,
        rollout=None if record is None else record.rollout,
        move="" if record is None else f"{record.rollout}: {move_name(record.from_revision, record.to_revision)}",
        phase=shown,
        tone="" if record is None else _outcome_tone(record.outcome),
        since=None if record is None else record.phase_since,
        waits_for=waits_for,
        needs_person=waits_for.startswith("a person"),
    )


def _way(present: RolloutPhase) -> tuple[Step, ...]:
    way = WAY if present in WAY else (present,)
    place = way.index(present)
    return tuple(
        Step(
            name=in_words(phase.value),
            state="passed" if number < place else "present" if number == place else "ahead",
        )
        for number, phase in enumerate(way)
    )


def _outcome_tone(outcome: RolloutOutcome | None) -> str:
    match outcome:
        case None:
            return "warn"
        case RolloutOutcome.PROMOTED:
            return "good"
        case (
            RolloutOutcome.ROLLED_BACK
            | RolloutOutcome.ABORTED
            | RolloutOutcome.EXPIRED
            | RolloutOutcome.SUPERSEDED
            | RolloutOutcome.FAILED
        ):
            return "bad"
        case _ as unreachable:
            assert_never(unreachable)


def _event_tone(event: AuditEvent) -> str:
    if event.kind == "completed":
        return "good" if event.evidence.get("outcome") == RolloutOutcome.PROMOTED.value else "bad"
    if event.kind in _BAD_EVENTS:
        return "bad"
    return "good" if event.kind in _GOOD_EVENTS else ""


def _set(one: SetView, *, under_way: bool) -> SetPage:
    name, colour = _colour(one, under_way=under_way)
    traffic, tone = _traffic(one)
    running = one.running_requests
    shown = one.replicas[:SHOWN_REPLICAS]
    return SetPage(
        title=f"{name}: {revision_name(one.revision)}",
        colour=colour,
        traffic=traffic,
        tone=tone,
        healthy=one.healthy,
        wanted=one.wanted,
        required=one.required if one.required != one.wanted else None,
        is_draining=one.state is RouteSetState.DRAINING,
        running_requests="unknown" if running is None else str(running),
        drain_deadline=one.drain_deadline,
        requests_cut=one.requests_cut,
        replacements=one.replacements,
        last_error=one.last_error if one.healthy < one.wanted else "",
        replicas=tuple(_replica(replica) for replica in shown),
        more=len(one.replicas) - len(shown),
        failures=tuple(_failure(failure) for failure in one.failures),
    )


def _colour(one: SetView, *, under_way: bool) -> tuple[str, str]:
    """Return what a set is called, and its colour; once the rollout has ended, what is live is just that."""
    if one.is_live and not under_way:
        return "Live", "green"
    match one.colour:
        case Colour.BLUE:
            return "Blue", "blue"
        case Colour.GREEN:
            return "Green", "green"
        case None:
            return "Earlier", "earlier"
        case _ as unreachable:
            assert_never(unreachable)


def _traffic(one: SetView) -> tuple[str, str]:
    match one.state:
        case RouteSetState.OPEN:
            return ("takes traffic", "good") if one.is_live else ("no traffic", "")
        case RouteSetState.DRAINING:
            return "draining", "warn"
        case RouteSetState.GONE:
            return "gone", ""
        case _ as unreachable:
            assert_never(unreachable)


def _replica(one: ReplicaView) -> ReplicaPage:
    if one.status is RouteStatus.RUNNING and one.health is RouteHealthStatus.HEALTHY:
        mark, tone = "✔", "good"
    elif one.health is RouteHealthStatus.UNHEALTHY:
        mark, tone = "✘", "bad"
    else:
        mark, tone = "◌", "warn"
    return ReplicaPage(
        address=f"{one.host}:{one.port}",
        status=in_words(one.status.value),
        health=in_words(one.health.value),
        mark=mark,
        tone=tone,
        error=one.last_error if one.health is not RouteHealthStatus.HEALTHY else "",
    )


def _failure(one: FailureView) -> FailurePage:
    why = f": {one.last_error}" if one.last_error else ""
    return FailurePage(title=f"The replica on port {one.port} {in_words(one.status.value)}{why}", output=one.output)


def _router(one: RouterView) -> RouterPage:
    if one.nack:
        state, tone = f"refused its configuration: {one.nack}", "bad"
    elif one.acknowledged:
        state, tone = "serves what is live", "good"
    else:
        state, tone = "silent", "warn"
    return RouterPage(
        name=one.router,
        epoch="none yet" if one.epoch is None else str(one.epoch),
        state=state,
        tone=tone,
    )


def _refused(one: RefusedMessage) -> EventPage:
    by = f" by {one.by}" if one.by else ""
    return EventPage(at=one.at, text=f"{one.message}{by} ({one.door.value}): {one.refusal}")


def _warnings(view: RolloutView, deployment: DeploymentView) -> list[str]:
    record = deployment.rollout
    found = []
    if deployment.panic:
        found.append("Too few live replicas are healthy: unhealthy ones get traffic too.")
    if not deployment.keeper_alive:
        found.append("No keeper is at work: nothing starts, stops or is replaced until a worker runs.")
    if record is not None and view.stuck is not None:
        found.append(f"The rollout does not get on: {view.stuck.told}. What helps: {view.stuck.next_step}.")
    elif record is not None and record.outcome is None and view.workflow.unanswered_because:
        found.append(
            "The rollout's workflow is gone from Temporal: the keeper ends the rollout and cleans up within a minute."
            if view.workflow.unanswered_because == NO_WORKFLOW
            else f"Only the table is shown, the workflow is silent: {view.workflow.unanswered_because}.",
        )
    if record is not None and record.awaits_epoch is not None:
        found.append("Blue is kept: routers have not acknowledged the switch yet.")
    return found


def _decisions(view: RolloutView, deployment: DeploymentView, rights: Collection[Verb]) -> tuple[Decision, ...]:
    """Return what can be decided in the present phase, as the commands declare it."""
    record, status = deployment.rollout, view.status
    under_way = record if record is not None and record.outcome is None else None
    standing = Standing(
        deployment=deployment,
        record=under_way,
        phase=None if under_way is None else view.phase,
        abort_pending=status is not None and status.abort_requested != "",
    )
    return tuple(_decision(command, standing, rights) for command in commands() if command.is_offered(standing))


def _decision(command: AnyCommand, standing: Standing, rights: Collection[Verb]) -> Decision:
    form, record = command.form, standing.record
    if form is None:
        raise ValueError(f"{command.verb} has no form")
    names = {
        "green": "" if record is None else revision_name(record.to_revision),
        "blue": "" if record is None else revision_name(record.from_revision),
    }
    means: dict[str, str] = {}
    what = form.what.format_map(names)
    if record is not None and command.scope is Scope.ROLLOUT:
        means["rollout"] = str(record.rollout)
        if "revision" in command.request.model_fields:
            means["revision"] = str(record.to_revision)
            what = f"{what} {_while_it_bakes(record)}".rstrip()
    allowed = command.right in rights
    return Decision(
        verb=command.verb,
        title=form.title.format_map(names),
        what=what,
        button=form.button.format_map(names),
        tone=form.tone,
        allowed=allowed,
        why_not="" if allowed else f"Your token may not {command.verb}. Ask somebody whose role allows it.",
        request_id=str(uuid.uuid4()),
        means=means,
        fields=tuple(
            FormField(name=one, title=in_words(one).capitalize(), value=str(getattr(standing.deployment, one, "")))
            for one in form.fields
        ),
    )


def _while_it_bakes(record: RolloutRecord) -> str:
    return f"For {span(record.policy.bake)} you can go back at once." if record.blue_set is not None else ""


def _nothing_to_decide(deployment: DeploymentView, *, under_way: bool) -> str:
    if deployment.lifecycle in {DeploymentLifecycle.DESTROYING, DeploymentLifecycle.DESTROYED}:
        return "The deployment is being deleted."
    return "Nothing can be decided in this phase." if under_way else "No rollout is under way."


def _workflow_link(temporal_ui: str, record: RolloutRecord | None) -> str:
    """Return where Temporal's UI shows a rollout: whichever run it goes on in, or the one that began what has ended."""
    if not temporal_ui or record is None:
        return ""
    workflow = f"{temporal_ui.rstrip('/')}/workflows/{workflow_id(record.deployment)}"
    return workflow if record.outcome is None else f"{workflow}/{record.run_id}/history"
