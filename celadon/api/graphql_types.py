"""The types of the GraphQL schema: what is read."""

import base64
import binascii
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Final, Generic, NamedTuple, Self, TypeAlias, TypeVar

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON
from strawberry.types import Info

from celadon.api.graphql_context import GraphContext
from celadon.api.graphql_descriptions import shows
from celadon.api.graphql_limits import LONGEST_PAGE
from celadon.client.rollout_view import table_next_step, who_must_act
from celadon.domain.decisions.workflow_condition import TaskFault, WorkflowState
from celadon.domain.decisions.workflow_condition import WorkflowCondition as WorkflowConditionRecord
from celadon.domain.language.approval import Approval as ApprovalRecord
from celadon.domain.language.commands import AbortState, PromoteState
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.growth import Growth as GrowthRecord
from celadon.domain.language.messages import RefusedMessage, RolloutStatus
from celadon.domain.language.messages import Timer as StatusTimer
from celadon.domain.language.next_rollout import StartState
from celadon.domain.language.next_rollout import WaitingRollout as WaitingRolloutRecord
from celadon.domain.language.policy import OnNewRevision
from celadon.domain.language.states import (
    Channel,
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    RouteTrafficStatus,
    SetCondition,
)
from celadon.service.door_words import Door, answer_at, said_at
from celadon.service.pages import Page
from celadon.service.views.deployments import ListedDeployment
from celadon.table.records.deployments import DeploymentLine
from celadon.table.records.events import AuditEvent, DeploymentEvent
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutRecord
from celadon.table.records.route_sets import RouteRecord, RouteSetRecord
from celadon.table.records.routers import AcknowledgementRecord, BehindLine, RouterLine, RouterState

_LARGEST: Final = 2**63 - 1
_LONGEST_PLACE: Final = 300

NodeT = TypeVar("NodeT")
RecordT = TypeVar("RecordT")
PlaceT = TypeVar("PlaceT", int, str)
ContextInfo: TypeAlias = Info[GraphContext, None]

for _kind in (
    DeploymentLifecycle,
    Channel,
    AbortState,
    OnNewRevision,
    StartState,
    PromoteState,
    RefusalCode,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouterState,
    RouteSetState,
    RouteStatus,
    RouteTrafficStatus,
    SetCondition,
    TaskFault,
    WorkflowState,
):
    strawberry.enum(_kind)

First = Annotated[int, strawberry.argument(description=f"How many at most, 1 to {LONGEST_PAGE}.")]
Cursor = Annotated[str | None, strawberry.argument(description="Only what comes after this cursor.")]


@strawberry.type
class Label:
    """A label of a deployment, by which tokens are scoped."""

    name: str
    """The label's name, such as ``team``."""
    value: str
    """The label's value, such as ``search``."""


@strawberry.type
class PageInfo:
    """Where a page stands (Relay)."""

    has_next_page: bool
    """Whether more comes after this page."""
    has_previous_page: bool
    """Whether this page was asked for with a cursor, so that others come before it."""
    start_cursor: str | None
    """The cursor of its first element; nothing when the page is empty."""
    end_cursor: str | None
    """The cursor of its last element, to be given as ``after``; nothing when the page is empty."""


@strawberry.type(description="An element of a list, in a page of it.")
class Edge(Generic[NodeT]):
    """An element of a list, in a page of it."""

    cursor: str = strawberry.field(description="Where the element stands in the list, to be given as ``after``.")
    node: NodeT = strawberry.field(description="The element.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[NodeT]):
    """A page of a list."""

    edges: list[Edge[NodeT]] = strawberry.field(description="Its elements.")
    page_info: PageInfo = strawberry.field(description="Where it stands in the list.")


@shows(DeploymentEvent, deployment_id="deployment", rollout_id="rollout")
@strawberry.type
class Event:
    """One line of the audit log."""

    id: strawberry.ID
    deployment_id: strawberry.ID
    rollout_id: strawberry.ID | None
    at: datetime
    kind: str
    actor: str
    issuer: str
    door: Channel | None
    verified: bool
    reason: str
    evidence: JSON

    @classmethod
    def of(cls, event: AuditEvent, deployment: str) -> Self:
        """Show a line."""
        return cls(
            id=strawberry.ID(str(event.id)),
            deployment_id=strawberry.ID(deployment),
            rollout_id=None if event.rollout is None else strawberry.ID(str(event.rollout)),
            at=event.at,
            kind=event.kind,
            actor=event.actor,
            issuer=event.issuer,
            door=event.door,
            verified=event.verified,
            reason=event.reason,
            evidence=JSON(answer_at(Door.GRAPHQL, event.evidence)),
        )


@shows(RolloutRecord, id="rollout", deployment_id="deployment")
@strawberry.type
class Rollout:
    """One move of a deployment from blue to green."""

    id: strawberry.ID
    deployment_id: strawberry.ID
    from_revision: int | None
    to_revision: int
    phase: RolloutPhase
    phase_since: datetime
    outcome: RolloutOutcome | None
    outcome_reason: str
    requested_by: str
    reason: str
    replicas: int
    policy: JSON
    started_at: datetime
    switched_at: datetime | None
    switch_epoch: int | None
    switched_back_at: datetime | None
    completed_at: datetime | None
    requests_cut: int
    next_step: str
    """What a person can do now, with the command; empty when it has ended."""
    workflow_id: str
    run_id: str
    record: strawberry.Private[RolloutRecord]

    @classmethod
    def of(cls, record: RolloutRecord) -> Self:
        """Show a rollout."""
        return cls(
            id=strawberry.ID(str(record.rollout)),
            deployment_id=strawberry.ID(record.deployment),
            from_revision=record.from_revision,
            to_revision=record.to_revision,
            phase=record.phase,
            phase_since=record.phase_since,
            outcome=record.outcome,
            outcome_reason=record.outcome_reason,
            requested_by=record.requested_by,
            reason=record.reason,
            replicas=record.replicas,
            policy=JSON(record.policy.model_dump(mode="json")),
            started_at=record.started_at,
            switched_at=record.switched_at,
            switch_epoch=record.switch_epoch,
            switched_back_at=record.switched_back_at,
            completed_at=record.completed_at,
            requests_cut=record.requests_cut,
            next_step=_said(table_next_step(record)) if record.outcome is None else "",
            workflow_id=record.workflow_id,
            run_id=record.run_id,
            record=record,
        )

    @strawberry.field(description="Who moves it on; empty when it has ended.")
    async def waits_for(self, info: ContextInfo) -> str:
        """Say who moves it on, by what the table knows of its deployment too."""
        if self.record.outcome is not None:
            return ""
        line = await info.context.loaders.lines.load(self.record.deployment)
        if line is None:
            return who_must_act(self.record)
        return who_must_act(self.record, frozen=line.frozen, paused=line.paused)

    @strawberry.field(description="The deployment that it is of.")
    async def deployment(self, info: ContextInfo) -> "Deployment | None":
        """Read the deployment."""
        line = await info.context.loaders.lines.load(str(self.deployment_id))
        return None if line is None else Deployment.of(line)


@shows(RevisionRecord, deployment_id="deployment")
@strawberry.type
class Revision:
    """An immutable description of what is served; secrets are names in it."""

    deployment_id: strawberry.ID
    number: int
    digest: str
    content: JSON
    created_at: datetime

    @classmethod
    def of(cls, record: RevisionRecord) -> Self:
        """Show a revision."""
        return cls(
            deployment_id=strawberry.ID(record.deployment),
            number=record.number,
            digest=record.digest,
            content=JSON(record.content),
            created_at=record.created_at,
        )


@shows(RouteRecord, id="route", route_set_id="route_set")
@strawberry.type
class Route:
    """One replica as traffic sees it."""

    id: strawberry.ID
    route_set_id: strawberry.ID
    revision: int
    host: str
    port: int
    status: RouteStatus
    health: RouteHealthStatus
    traffic: RouteTrafficStatus
    traffic_ratio: float
    """The share of a replica's weight that traffic gives it: 1.0 when active, else 0.0."""
    created_at: datetime
    started_at: datetime | None
    last_error: str

    @classmethod
    def of(cls, record: RouteRecord) -> Self:
        """Show a replica."""
        return cls(
            id=strawberry.ID(record.route),
            route_set_id=strawberry.ID(str(record.route_set)),
            revision=record.revision,
            host=record.host,
            port=record.port,
            status=record.status,
            health=record.health,
            traffic=record.traffic,
            traffic_ratio=record.ratio,
            created_at=record.created_at,
            started_at=record.started_at,
            last_error=record.last_error,
        )


@shows(RouteSetRecord, id="route_set", rollout_id="rollout")
@strawberry.type
class RouteSet:
    """The replicas that one rollout opened for one revision."""

    id: strawberry.ID
    revision: int
    rollout_id: strawberry.ID
    is_live: bool
    state: RouteSetState
    condition: SetCondition
    wanted: int
    last_error: str
    drain_deadline: datetime | None
    requests_cut: int

    @classmethod
    def of(cls, record: RouteSetRecord) -> Self:
        """Show a set."""
        return cls(
            id=strawberry.ID(str(record.route_set)),
            revision=record.revision,
            rollout_id=strawberry.ID(str(record.rollout)),
            is_live=record.is_live,
            state=record.state,
            condition=record.condition,
            wanted=record.wanted,
            last_error=record.last_error,
            drain_deadline=record.drain_deadline,
            requests_cut=record.requests_cut,
        )


@shows(AcknowledgementRecord)
@strawberry.type
class Acknowledgement:
    """What a live router serves of a deployment."""

    router: str
    epoch: int | None
    acknowledged: bool

    @classmethod
    def of(cls, record: AcknowledgementRecord) -> Self:
        """Show what a router serves."""
        return cls(router=record.router, epoch=record.epoch, acknowledged=record.acknowledged)


@shows(BehindLine, deployment_id="deployment")
@strawberry.type
class Behind:
    """A deployment of which a router does not serve the present epoch."""

    deployment_id: strawberry.ID
    epoch: int
    serves: int | None

    @classmethod
    def of(cls, line: BehindLine) -> Self:
        """Show what a router is behind with."""
        return cls(deployment_id=strawberry.ID(line.deployment), epoch=line.epoch, serves=line.serves)


@shows(RouterLine, id="router")
@strawberry.type
class Router:
    """An Envoy that takes its routes from a gateway."""

    id: strawberry.ID
    state: RouterState
    gateway: str
    seen_at: datetime | None
    enrolled_at: datetime | None
    certificate_expires_at: datetime | None
    nack: str

    @classmethod
    def of(cls, line: RouterLine) -> Self:
        """Show a router."""
        return cls(
            id=strawberry.ID(line.router),
            state=line.state,
            gateway=line.gateway,
            seen_at=line.seen_at,
            enrolled_at=line.enrolled_at,
            certificate_expires_at=line.certificate_expires_at,
            nack=line.nack,
        )

    @strawberry.field(
        description="Deployments of which it does not serve the present epoch, by name; none when it is not live."
    )
    async def behind(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Behind]:
        """Read a page of what it is behind with."""
        loader = info.context.loaders.behind(page_length(first) + 1, read_name("deployment", after))
        found = await loader.load(str(self.id))
        return await page_of(info, found, Asked("deployment", first, after), Behind.of, lambda one: one.deployment)


@shows(StatusTimer)
@strawberry.type
class Timer:
    """A timer that runs."""

    name: str
    fires_at: datetime
    remaining_seconds: float
    """How long it still runs, in seconds."""

    @classmethod
    def of(cls, timer: StatusTimer) -> Self:
        """Show a timer."""
        return cls(name=timer.name, fires_at=timer.fires_at, remaining_seconds=timer.remaining.total_seconds())


def _said(text: str) -> str:
    """Return what Celadon says, with mutations and queries where command lines stand."""
    return said_at(Door.GRAPHQL, text)


@shows(Refusal)
@strawberry.type
class Refused:
    """Why something was not done, and what to do next."""

    code: RefusalCode
    message: str
    next_step: str

    @classmethod
    def of(cls, refusal: Refusal) -> Self:
        """Show a refusal."""
        return cls(code=refusal.code, message=_said(refusal.message), next_step=_said(refusal.next_step))


@shows(RefusedMessage)
@strawberry.type
class RefusedSignal:
    """A message that changed nothing."""

    at: datetime
    message: str
    door: Channel
    by: str
    refusal: Refused

    @classmethod
    def of(cls, refused: RefusedMessage) -> Self:
        """Show a refused message."""
        return cls(
            at=refused.at,
            message=refused.message,
            door=refused.door,
            by=refused.by,
            refusal=Refused.of(refused.refusal),
        )


@shows(ApprovalRecord)
@strawberry.type
class Approval:
    """A promotion that counts as the approval of one verified person."""

    by: str
    issuer: str
    door: Channel
    at: datetime
    force: bool

    @classmethod
    def of(cls, approval: ApprovalRecord) -> Self:
        """Show an approval."""
        return cls(by=approval.by, issuer=approval.issuer, door=approval.door, at=approval.at, force=approval.force)


@shows(GrowthRecord)
@strawberry.type
class Growth:
    """A decision by which green grows to all its replicas before traffic switches."""

    by: str
    door: Channel
    reason: str
    at: datetime
    wanted: int
    no_room: str

    @classmethod
    def of(cls, growth: GrowthRecord) -> Self:
        """Show a growth."""
        return cls(
            by=growth.by,
            door=growth.door,
            reason=growth.reason,
            at=growth.at,
            wanted=growth.wanted,
            no_room=growth.no_room,
        )


@shows(RolloutStatus)
@strawberry.type
class Workflow:
    """What a rollout's workflow knows itself; each is a question to Temporal and to a worker."""

    phase: RolloutPhase
    since: datetime
    timers: list[Timer]
    decision: str
    holding: str
    approvals: int
    approvals_needed: int
    approved: list[Approval]
    growth: Growth | None
    silent_routers: list[str]
    refused: list[RefusedSignal]
    next_step: str

    @classmethod
    def of(cls, status: RolloutStatus) -> Self:
        """Show a workflow's answer."""
        return cls(
            phase=status.phase,
            since=status.since,
            timers=[Timer.of(timer) for timer in status.timers],
            decision=status.decision,
            holding=_said(status.holding),
            approvals=status.approvals,
            approvals_needed=status.approvals_needed,
            approved=[Approval.of(one) for one in status.approved],
            growth=None if status.growth is None else Growth.of(status.growth),
            silent_routers=list(status.silent_routers),
            refused=[RefusedSignal.of(one) for one in status.refused],
            next_step=_said(status.next_step),
        )


@shows(WorkflowConditionRecord)
@strawberry.type
class WorkflowCondition:
    """Whether a rollout's workflow gets on, by what Temporal says of its tasks."""

    state: WorkflowState
    since: datetime | None
    attempt: int
    fault: TaskFault | None
    message: str
    told: str
    next_step: str

    @classmethod
    def of(cls, condition: WorkflowConditionRecord) -> Self:
        """Show a condition."""
        return cls(
            state=condition.state,
            since=condition.since,
            attempt=condition.attempt,
            fault=condition.fault,
            message=condition.message,
            told=_said(condition.told),
            next_step=_said(condition.next_step),
        )


@shows(WaitingRolloutRecord)
@strawberry.type
class WaitingRollout:
    """A rollout that waits for its turn, behind the one that is under way."""

    id: strawberry.ID
    revision: int
    replicas: int | None
    mode: OnNewRevision
    requested_by: str
    verified: bool
    reason: str
    since: datetime
    after: strawberry.ID | None
    held: str
    waits_for: str

    @classmethod
    def of(cls, waiting: WaitingRolloutRecord) -> Self:
        """Show what waits."""
        return cls(
            id=strawberry.ID(str(waiting.id)),
            revision=waiting.revision,
            replicas=waiting.replicas,
            mode=waiting.mode,
            requested_by=waiting.requested_by,
            verified=waiting.verified,
            reason=waiting.reason,
            since=waiting.since,
            after=None if waiting.after is None else strawberry.ID(str(waiting.after)),
            held=_said(waiting.held),
            waits_for=_said(waiting.waits_for),
        )


@shows(ListedDeployment, id="deployment", name="deployment")
@strawberry.type
class Deployment:
    """A named model-serving service."""

    id: strawberry.ID
    name: str
    labels: list[Label]
    lifecycle: DeploymentLifecycle
    frozen: bool
    epoch: int
    replicas: int
    live_revision: int | None
    wanted: int
    healthy: int
    phase: RolloutPhase | None
    """The phase of its latest rollout; nothing when there was none."""
    phase_since: datetime | None
    """When that phase began; nothing when there was no rollout."""
    waits_for: str
    rollout: Rollout | None
    next: WaitingRollout | None

    @classmethod
    def of(cls, line: DeploymentLine) -> Self:
        """Show a deployment."""
        latest = line.rollout
        return cls(
            id=strawberry.ID(line.deployment),
            name=line.deployment,
            labels=[Label(name=name, value=value) for name, value in sorted(line.labels.items())],
            lifecycle=line.lifecycle,
            frozen=line.frozen,
            epoch=line.epoch,
            replicas=line.replicas,
            live_revision=line.live_revision,
            wanted=line.wanted,
            healthy=line.healthy,
            phase=None if latest is None else latest.phase,
            phase_since=None if latest is None else latest.phase_since,
            waits_for=who_must_act(latest, frozen=line.frozen, paused=line.paused),
            rollout=None if latest is None else Rollout.of(latest),
            next=None if line.next is None else WaitingRollout.of(line.next),
        )

    @strawberry.field(description="Replicas that have not ended, by set and oldest first.")
    async def routes(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Route]:
        """Read a page of the replicas."""
        return await route_page(info, self.name, first, after)

    @strawberry.field(description="Sets that are not gone, oldest first: what is live, what comes, what drains.")
    async def route_sets(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[RouteSet]:
        """Read a page of the sets."""
        loader = info.context.loaders.route_sets(page_length(first) + 1, read_number("set", after))
        found = await loader.load(self.name)
        return await page_of(info, found, Asked("set", first, after), RouteSet.of, lambda one: one.route_set)

    @strawberry.field(description="Its revisions, newest first.")
    async def revisions(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Revision]:
        """Read a page of the revisions."""
        return await revision_page(info, self.name, first, after)

    @strawberry.field(description="What each live router serves of it, by the router's name.")
    async def acknowledgements(
        self,
        info: ContextInfo,
        first: First = 20,
        after: Cursor = None,
    ) -> Connection[Acknowledgement]:
        """Read a page of the acknowledgements."""
        loader = info.context.loaders.acknowledgements(page_length(first) + 1, read_name("router", after))
        found = await loader.load(self.name)
        return await page_of(info, found, Asked("router", first, after), Acknowledgement.of, lambda one: one.router)

    @strawberry.field(description="Its audit log, newest first.")
    async def events(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Event]:
        """Read a page of the audit log."""
        return await event_page(info, self.name, first, after)

    @strawberry.field(description="Its rollouts, newest first.")
    async def rollouts(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Rollout]:
        """Read a page of the rollouts."""
        loader = info.context.loaders.rollouts(page_length(first) + 1, read_number("rollout", after))
        found = await loader.load(self.name)
        return await page_of(info, found, Asked("rollout", first, after), Rollout.of, lambda one: one.rollout)

    @strawberry.field(description="What the workflow of its rollout knows; nothing when none runs or none answers.")
    async def workflow(self, info: ContextInfo) -> Workflow | None:
        """Ask the workflow; it is asked once, however often it is selected."""
        answer = await info.context.loaders.workflows.load(self.name)
        return None if answer.status is None else Workflow.of(answer.status)

    @strawberry.field(description="Whether the workflow of its rollout gets on; nothing when none runs.")
    async def workflow_condition(self, info: ContextInfo) -> WorkflowCondition | None:
        """Ask Temporal, together with the workflow."""
        answer = await info.context.loaders.workflows.load(self.name)
        return None if answer.condition is None else WorkflowCondition.of(answer.condition)


class Asked(NamedTuple):
    """Which page was asked for."""

    kind: str
    """What stands in a cursor of the list before its place."""
    first: int
    after: str | None


async def page_of(
    info: ContextInfo,
    found: Sequence[RecordT],
    asked: Asked,
    show: Callable[[RecordT], NodeT],
    place: Callable[[RecordT], PlaceT],
) -> Connection[NodeT]:
    """Return a page when it is its turn: an answer of many pages is made page by page, others between them.

    Args:
        info: of the field.
        found: what was read, with one more than the page when more follow.
        asked: which page was asked for.
        show: returns an element as the schema shows it.
        place: returns where an element stands.

    """
    return await shown_page(info, Page.of(found, asked.first, place), asked, show, place)


async def shown_page(
    info: ContextInfo,
    page: Page[RecordT, PlaceT],
    asked: Asked,
    show: Callable[[RecordT], NodeT],
    place: Callable[[RecordT], PlaceT],
) -> Connection[NodeT]:
    """Return a page that was read as one; arguments as above."""
    await info.context.service.piece(info.context.who)
    edges = [Edge(cursor=write_cursor(asked.kind, place(one)), node=show(one)) for one in page.items]
    return Connection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=page.cursor is not None,
            has_previous_page=asked.after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


async def route_page(info: ContextInfo, deployment: str, first: int, after: str | None) -> Connection[Route]:
    """Return a page of a deployment's replicas."""
    loader = info.context.loaders.routes(page_length(first) + 1, read_route(after))
    return await page_of(
        info, await loader.load(deployment), Asked("route", first, after), Route.of, lambda one: one.route
    )


async def revision_page(info: ContextInfo, deployment: str, first: int, after: str | None) -> Connection[Revision]:
    """Return a page of a deployment's revisions."""
    loader = info.context.loaders.revisions(page_length(first) + 1, read_number("revision", after))
    found = await loader.load(deployment)
    return await page_of(info, found, Asked("revision", first, after), Revision.of, lambda one: one.number)


async def event_page(info: ContextInfo, deployment: str, first: int, after: str | None) -> Connection[Event]:
    """Return a page of a deployment's audit log."""
    loader = info.context.loaders.events(page_length(first) + 1, read_number("event", after))
    found = await loader.load(deployment)
    return await page_of(
        info, found, Asked("event", first, after), lambda one: Event.of(one, one.deployment), lambda one: one.id
    )


def page_length(first: int) -> int:
    """Check how long a page may be.

    Raises:
        GraphQLError: it is outside of 1 to ``LONGEST_PAGE``.

    """
    if not 1 <= first <= LONGEST_PAGE:
        raise GraphQLError(f"first is {first}, but 1 to {LONGEST_PAGE}", extensions={"code": "INVALID_PAYLOAD"})
    return first


def write_cursor(kind: str, place: int | str) -> str:
    """Return an opaque cursor."""
    return base64.urlsafe_b64encode(f"{kind}:{place}".encode()).decode()


def read_number(kind: str, cursor: str | None) -> int | None:
    """Return the number in a cursor.

    Raises:
        GraphQLError: it is none of this kind.

    """
    if cursor is None:
        return None
    number = _read(kind, cursor)
    if not (number.isascii() and number.isdecimal() and int(number) <= _LARGEST):
        raise _no_cursor(cursor)
    return int(number)


def read_name(kind: str, cursor: str | None) -> str | None:
    """Return the name in a cursor; errors as for a number."""
    if cursor is None:
        return None
    name = _read(kind, cursor)
    if not name.isprintable():
        raise _no_cursor(cursor)
    return name


def read_route(cursor: str | None) -> str | None:
    """Return the replica in a cursor; errors as for a number."""
    if cursor is None:
        return None
    try:
        return str(uuid.UUID(_read("route", cursor)))
    except ValueError as error:
        raise _no_cursor(cursor) from error


def _read(kind: str, cursor: str) -> str:
    try:
        name, _, place = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        name, place = "", ""
    if name != kind or not place or len(place) > _LONGEST_PLACE:
        raise _no_cursor(cursor)
    return place


def _no_cursor(cursor: str) -> GraphQLError:
    return GraphQLError(f"{cursor!r} is no cursor of this list", extensions={"code": "INVALID_PAYLOAD"})
