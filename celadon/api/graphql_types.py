"""The types of the GraphQL schema: what is read. Each shows a model, and adds what is fetched when it is selected."""

import strawberry

from celadon.api.graphql_mapper import View
from celadon.api.graphql_pages import (
    Asked,
    Connection,
    ContextInfo,
    Cursor,
    First,
    page_length,
    page_of,
    read_name,
    read_number,
    read_route,
)
from celadon.domain.decisions.workflow_condition import WorkflowCondition as WorkflowConditionRecord
from celadon.domain.language.errors import Refusal
from celadon.domain.language.freeze import Freeze as FreezeRecord
from celadon.domain.language.growth import Growth as GrowthRecord
from celadon.domain.language.messages import RefusedMessage, RolloutStatus
from celadon.domain.language.messages import Timer as StatusTimer
from celadon.domain.language.plan import FieldChange, LayeredKey
from celadon.service.door_words import Door, said_at
from celadon.service.rollout_view import table_next_step, who_must_act
from celadon.service.views.deployments import ListedDeployment
from celadon.service.views.policy import ShownPolicy
from celadon.service.views.schedules import ScheduleView
from celadon.table.records.events import DeploymentEvent
from celadon.table.records.policies import DefaultsChanged
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutRecord
from celadon.table.records.route_sets import RouteRecord, RouteSetRecord
from celadon.table.records.routers import AcknowledgementRecord, BehindLine, RouterLine


@strawberry.type
class Label:
    """A label of a deployment, by which tokens are scoped."""

    name: str
    """The label's name, such as ``team``."""
    value: str
    """The label's value, such as ``search``."""


class Event(
    View[DeploymentEvent],
    first="id deployment_id rollout_id",
    deployment_id="deployment",
    rollout_id="rollout",
):
    """One line of the audit log."""


class Rollout(
    View[RolloutRecord],
    hides="blue_set green_set gated rollback_window next switch_back_epoch awaits_epoch awaits_signal evidence",
    first="id deployment_id from_revision to_revision phase phase_since outcome outcome_reason requested_by reason "
    "replicas policy started_at switched_at switch_epoch switched_back_at completed_at requests_cut next_step",
    id="rollout",
    deployment_id="deployment",
):
    """One move of a deployment from blue to green."""

    @strawberry.field(description="What a person can do now, with the command; empty when it has ended.")
    def next_step(self) -> str:
        """Say what a person can do, by what the table knows."""
        return said_at(Door.GRAPHQL, table_next_step(self.record)) if self.record.outcome is None else ""

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
        line = await info.context.loaders.lines.load(self.record.deployment)
        return None if line is None else Deployment.of(line)


class Revision(View[RevisionRecord], deployment_id="deployment"):
    """An immutable description of what is served; secrets are names in it."""


class Route(
    View[RouteRecord],
    hides="deployment",
    first="id route_set_id revision host port other_ports status health traffic traffic_ratio",
    id="route",
    route_set_id="route_set",
    traffic_ratio="ratio",
):
    """One replica as traffic sees it."""


class RouteSet(View[RouteSetRecord], hides="deployment", id="route_set", rollout_id="rollout"):
    """The replicas that one rollout opened for one revision."""


class Acknowledgement(View[AcknowledgementRecord], hides="deployment"):
    """What a live router serves of a deployment."""


class Behind(View[BehindLine], deployment_id="deployment"):
    """A deployment of which a router does not serve the present epoch."""


class Router(
    View[RouterLine],
    hides="stream_is_up stream_started_at acknowledged_at gone_at identity behind_more",
    id="router",
):
    """An Envoy that takes its routes from a gateway."""

    @strawberry.field(
        description="Deployments of which it does not serve the present epoch, by name; none when it is not live."
    )
    async def behind(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Behind]:
        """Read a page of what it is behind with."""
        loader = info.context.loaders.behind(page_length(first) + 1, read_name("deployment", after))
        lines = await loader.load(self.record.router)
        return await page_of(info, lines, Asked("deployment", first, after), Behind.of, lambda one: one.deployment)


class Freeze(View[FreezeRecord]):
    """A freeze that holds or is to come: while it holds, nothing is switched to green."""


class Timer(View[StatusTimer], hides="remaining"):
    """A timer that runs."""

    @strawberry.field(description="How long it still runs, in seconds.")
    def remaining_seconds(self) -> float:
        """Say how long it still runs."""
        return self.record.remaining.total_seconds()


class Refused(View[Refusal]):
    """Why something was not done, and what to do next."""


class RefusedSignal(View[RefusedMessage]):
    """A message that changed nothing."""


class Growth(View[GrowthRecord], hides="seq"):
    """A decision by which green grows to all its replicas before traffic switches."""


class Workflow(
    View[RolloutStatus],
    hides="deployment rollout from_revision to_revision policy abort_requested paused_since paused_until timers_set "
    "green epoch refused_total outcome",
):
    """What a rollout's workflow knows itself; each is a question to Temporal and to a worker."""


class WorkflowCondition(View[WorkflowConditionRecord]):
    """Whether a rollout's workflow gets on, by what Temporal says of its tasks."""


class PolicyKey(View[LayeredKey], hides="otherwise"):
    """A key of a policy, with the layer that gives its value."""


class PolicyKeyChange(View[FieldChange]):
    """A key for which another value, or another layer, counts."""


class DefaultPolicyChange(View[DefaultsChanged]):
    """One change of the installation's defaults."""


class Policy(View[ShownPolicy], deployment_id="deployment", keys="policy"):
    """A policy as rollouts have it that say nothing themselves."""


class Schedule(View[ScheduleView], first="id", name="schedule", id="schedule_id"):
    """A command that Temporal gives at a moment, or again and again."""


class Deployment(
    View[ListedDeployment],
    hides="paused next_step",
    first="id name labels hosts traffic lifecycle frozen epoch replicas live_revision wanted healthy "
    "phase phase_since waits_for",
    id="deployment",
    name="deployment",
    phase="phase",
    phase_since="phase_since",
):
    """A named model-serving service."""

    @strawberry.field
    def labels(self) -> list[Label]:
        """List them by name."""
        return [Label(name=name, value=value) for name, value in sorted(self.record.labels.items())]

    @strawberry.field(description="Replicas that have not ended, by set and oldest first.")
    async def routes(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Route]:
        """Read a page of the replicas."""
        return await route_page(info, self.record.deployment, first, after)

    @strawberry.field(description="Sets that are not gone, oldest first: what is live, what comes, what drains.")
    async def route_sets(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[RouteSet]:
        """Read a page of the sets."""
        loader = info.context.loaders.route_sets(page_length(first) + 1, read_number("set", after))
        sets = await loader.load(self.record.deployment)
        return await page_of(info, sets, Asked("set", first, after), RouteSet.of, lambda one: one.route_set)

    @strawberry.field(description="Its revisions, newest first.")
    async def revisions(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Revision]:
        """Read a page of the revisions."""
        return await revision_page(info, self.record.deployment, first, after)

    @strawberry.field(description="What each live router serves of it, by the router's name.")
    async def acknowledgements(
        self,
        info: ContextInfo,
        first: First = 20,
        after: Cursor = None,
    ) -> Connection[Acknowledgement]:
        """Read a page of the acknowledgements."""
        loader = info.context.loaders.acknowledgements(page_length(first) + 1, read_name("router", after))
        acks = await loader.load(self.record.deployment)
        return await page_of(info, acks, Asked("router", first, after), Acknowledgement.of, lambda one: one.router)

    @strawberry.field(description="Its audit log, newest first.")
    async def events(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Event]:
        """Read a page of the audit log."""
        return await event_page(info, self.record.deployment, first, after)

    @strawberry.field(description="Its rollouts, newest first.")
    async def rollouts(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Rollout]:
        """Read a page of the rollouts."""
        loader = info.context.loaders.rollouts(page_length(first) + 1, read_number("rollout", after))
        rollouts = await loader.load(self.record.deployment)
        return await page_of(info, rollouts, Asked("rollout", first, after), Rollout.of, lambda one: one.rollout)

    @strawberry.field(description="What the workflow of its rollout knows; nothing when none runs or none answers.")
    async def workflow(self, info: ContextInfo) -> Workflow | None:
        """Ask the workflow; it is asked once, however often it is selected."""
        answer = await info.context.loaders.workflows.load(self.record.deployment)
        return None if answer.status is None else Workflow.of(answer.status)

    @strawberry.field(description="Whether the workflow of its rollout gets on; nothing when none runs.")
    async def workflow_condition(self, info: ContextInfo) -> WorkflowCondition | None:
        """Ask Temporal, together with the workflow."""
        answer = await info.context.loaders.workflows.load(self.record.deployment)
        return None if answer.condition is None else WorkflowCondition.of(answer.condition)


async def route_page(info: ContextInfo, deployment: str, first: int, after: str | None) -> Connection[Route]:
    """Return a page of a deployment's replicas."""
    loader = info.context.loaders.routes(page_length(first) + 1, read_route(after))
    return await page_of(
        info, await loader.load(deployment), Asked("route", first, after), Route.of, lambda one: one.route
    )


async def revision_page(info: ContextInfo, deployment: str, first: int, after: str | None) -> Connection[Revision]:
    """Return a page of a deployment's revisions."""
    loader = info.context.loaders.revisions(page_length(first) + 1, read_number("revision", after))
    revisions = await loader.load(deployment)
    return await page_of(info, revisions, Asked("revision", first, after), Revision.of, lambda one: one.number)


async def event_page(info: ContextInfo, deployment: str, first: int, after: str | None) -> Connection[Event]:
    """Return a page of a deployment's audit log."""
    loader = info.context.loaders.events(page_length(first) + 1, read_number("event", after))
    events = await loader.load(deployment)
    return await page_of(info, events, Asked("event", first, after), Event.of, lambda one: one.id)
