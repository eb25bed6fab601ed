"""The GraphQL schema: queries, and mutations that answer with what happened or with a typed refusal."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import strawberry
import structlog
from graphql import GraphQLError
from pydantic import BaseModel
from strawberry.extensions import MaskErrors, MaxTokensLimiter, SchemaExtension
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionContext
from strawberry.types.graphql import OperationType

from celadon.api.graphql_descriptions import describe, shows
from celadon.api.graphql_limits import QueryLimit
from celadon.api.graphql_types import (
    Asked,
    Connection,
    ContextInfo,
    Cursor,
    Deployment,
    Event,
    First,
    NodeT,
    Refused,
    Revision,
    Rollout,
    Route,
    Router,
    event_page,
    page_length,
    page_of,
    read_name,
    read_number,
    revision_page,
    route_page,
)
from celadon.api.orders import (
    AddRevisionOrder,
    BackOrder,
    Created,
    CreateOrder,
    DeleteRequest,
    Labelled,
    LabelOrder,
    Promoted,
    PromoteOrder,
    RequestId,
    Rescaled,
    RevisionAdded,
    ScaleRequest,
    Started,
    TakenAway,
    WentBack,
)
from celadon.api.problems import DoorError, not_migrated_yet, table_away
from celadon.api.traces import trace_of
from celadon.domain.errors import Refusal, RefusalCode, RefusedError, refuse
from celadon.domain.messages import AbortAnswer, AbortState, PromoteAnswer, PromoteState, Reason, RolloutRequest
from celadon.domain.payload import parse_payload
from celadon.domain.states import DeploymentLifecycle, RolloutOutcome, RolloutPhase
from celadon.domain.strictness import StrictModel
from celadon.table.outages import NotMigratedError, TableAwayError
from celadon.table.records.changes import Forgotten
from celadon.table.records.rollouts import RolloutFilter
from celadon.table.records.routers import RouterState

_MOST_TOKENS: Final = 4000

OfDeployment = Annotated[strawberry.ID, strawberry.argument(description="The deployment's name.")]
ModelT = TypeVar("ModelT", bound=BaseModel)
AnswerT = TypeVar("AnswerT")

log = structlog.get_logger()


class _WithRequestId(StrictModel):
    request_id: RequestId


class _WithReason(StrictModel):
    reason: Reason


@shows(RolloutFilter)
@strawberry.input
class RolloutsFilter:
    """Which rollouts are meant; what is not said restricts nothing."""

    deployment_id: strawberry.ID | None = None
    """Only of this deployment."""
    phase: RolloutPhase | None = None
    outcome: RolloutOutcome | None = None
    unfinished: bool | None = None


@strawberry.type
class Query:
    """What can be read. A refusal is an error, whose extensions hold its ``code`` and often a ``nextStep``."""

    @strawberry.field(description="Deployments that the caller may see, by name.")
    async def deployments(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Deployment]:
        """Read a page of deployments."""
        name, limit = read_name("deployment", after), page_length(first)
        found = await _told(info.context.desk.lines(info.context.who, after=name, limit=limit + 1))
        return await page_of(info, found, Asked("deployment", first, after), Deployment.of, lambda one: one.deployment)

    @strawberry.field(description="One deployment, by ``id`` or by ``name``; nothing when the caller may see none.")
    async def deployment(
        self,
        info: ContextInfo,
        id: Annotated[  # noqa: A002 - the field's name in the schema
            strawberry.ID | None,
            strawberry.argument(description="The deployment's name; give this or ``name``."),
        ] = None,
        name: Annotated[
            str | None,
            strawberry.argument(description="The deployment's name; give this or ``id``."),
        ] = None,
    ) -> Deployment | None:
        """Read one deployment."""
        if (id is None) == (name is None):
            raise _invalid("name the deployment by 'id' or by 'name'")
        return await _deployment(info, str(id if name is None else name))

    @strawberry.field(description="Rollouts, newest first.")
    async def rollouts(
        self,
        info: ContextInfo,
        filter: RolloutsFilter | None = None,  # noqa: A002 - the argument's name in the schema
        first: First = 20,
        after: Cursor = None,
    ) -> Connection[Rollout]:
        """Read a page of rollouts."""
        asked = filter or RolloutsFilter()
        wanted = RolloutFilter(
            deployments=None if asked.deployment_id is None else (str(asked.deployment_id),),
            phase=asked.phase,
            outcome=asked.outcome,
            unfinished=asked.unfinished,
        )
        before, limit = read_number("rollout", after), page_length(first)
        page = await _told(info.context.desk.rollouts(info.context.who, wanted, before=before, limit=limit + 1))
        return await page_of(info, page.rollouts, Asked("rollout", first, after), Rollout.of, lambda one: one.rollout)

    @strawberry.field(description="One rollout; nothing when there is none that the caller may see.")
    async def rollout(
        self,
        info: ContextInfo,
        id: Annotated[strawberry.ID, strawberry.argument(description="The rollout's number.")],  # noqa: A002 - as above
    ) -> Rollout | None:
        """Read one rollout."""
        try:
            return Rollout.of(await info.context.desk.rollout(info.context.who, _number(id)))
        except RefusedError as error:
            if error.refusal.code is RefusalCode.NO_SUCH_ROLLOUT:
                return None
            raise _as_error(error.refusal) from error

    @strawberry.field(
        description="A deployment's replicas that have not ended, by set and oldest first; none of one out of scope."
    )
    async def routes(
        self,
        info: ContextInfo,
        deployment_id: OfDeployment,
        first: First = 20,
        after: Cursor = None,
    ) -> Connection[Route]:
        """Read a page of the replicas of a deployment."""
        if await _deployment(info, str(deployment_id)) is None:
            return await _nothing(info, Asked("route", first, after))
        return await route_page(info, str(deployment_id), first, after)

    @strawberry.field(description="Revisions of a deployment, newest first; none when the caller may not see it.")
    async def revisions(
        self,
        info: ContextInfo,
        deployment_id: OfDeployment,
        first: First = 20,
        after: Cursor = None,
    ) -> Connection[Revision]:
        """Read a page of the revisions of a deployment."""
        if await _deployment(info, str(deployment_id)) is None:
            return await _nothing(info, Asked("revision", first, after))
        return await revision_page(info, str(deployment_id), first, after)

    @strawberry.field(description="Routers that the table knows, by name.")
    async def routers(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Router]:
        """Read a page of routers."""
        name, limit = read_name("router", after), page_length(first)
        fleet = await _told(info.context.desk.routers(info.context.who, after=name, limit=limit + 1, most_behind=0))
        return await page_of(info, fleet.routers, Asked("router", first, after), Router.of, lambda one: one.router)

    @strawberry.field(description="A deployment's audit log, newest first; empty when the caller may not see it.")
    async def events(
        self,
        info: ContextInfo,
        deployment_id: OfDeployment,
        first: First = 20,
        after: Cursor = None,
    ) -> Connection[Event]:
        """Read a page of the audit log."""
        if await _deployment(info, str(deployment_id)) is None:
            return await _nothing(info, Asked("event", first, after))
        return await event_page(info, str(deployment_id), first, after)


async def _nothing(info: ContextInfo, asked: Asked) -> Connection[NodeT]:
    """Return an empty page, of a list that the caller may not see."""
    page_length(asked.first)
    nothing: tuple[NodeT, ...] = ()
    return await page_of(info, nothing, asked, lambda one: one, str)


@shows(PromoteAnswer, milliseconds="ms")
@strawberry.type
class Switch:
    """What a switch of traffic came to."""

    epoch: int | None
    acknowledged_by: list[str]
    silent: list[str]
    milliseconds: float


@shows(PromoteAnswer, approvals_needed="needed")
@shows(Promoted, rollout_id="rollout")
@strawberry.type
class PromotePayload:
    """A promotion was accepted."""

    deployment: Deployment
    """The deployment as it is after that."""
    rollout_id: strawberry.ID | None
    state: PromoteState
    approvals: int
    approvals_needed: int
    switch: Switch
    """How far traffic and routers went while the caller waited."""


@shows(AbortAnswer)
@shows(WentBack, rollout_id="rollout")
@strawberry.type
class BackPayload:
    """An abort or a rollback was accepted."""

    deployment: Deployment
    """The deployment as it is after that."""
    rollout_id: strawberry.ID | None
    state: AbortState
    outcome: RolloutOutcome | None
    why: str
    switch: Switch
    """How far traffic and routers went while the caller waited."""


@shows(Created)
@strawberry.type
class CreateDeploymentPayload:
    """A deployment is there."""

    deployment: Deployment
    """The deployment as it is after that."""
    created: bool


@shows(RevisionAdded)
@strawberry.type
class AddRevisionPayload:
    """A revision is registered."""

    deployment: Deployment
    """The deployment as it is after that."""
    revision: int


@shows(Started)
@strawberry.type
class StartRolloutPayload:
    """A rollout is started."""

    deployment: Deployment | None
    """The deployment as it is after that; nothing while no worker has taken the rollout up."""
    rollout: Rollout | None
    """The rollout; nothing while no worker has taken it up."""
    workflow_id: str
    run_id: str


@shows(Rescaled)
@strawberry.type
class ScaleDeploymentPayload:
    """A deployment wants another number of replicas."""

    deployment: Deployment
    """The deployment as it is after that."""
    before: int
    epoch: int
    changed: bool


@shows(TakenAway, deployment_id="deployment")
@strawberry.type
class DeleteDeploymentPayload:
    """A deployment goes, or is gone."""

    deployment_id: strawberry.ID
    lifecycle: DeploymentLifecycle
    epoch: int
    changed: bool


@shows(Labelled)
@strawberry.type
class LabelDeploymentPayload:
    """A deployment has these labels."""

    deployment: Deployment
    """The deployment as it is after that."""
    changed: bool


@shows(Forgotten, router_id="router")
@strawberry.type
class ForgetRouterPayload:
    """Nobody waits for a router any more."""

    router_id: strawberry.ID
    was: RouterState
    changed: bool
    """Whether anybody had waited for it until then."""


@strawberry.input
class LabelInput:
    """A label."""

    name: str
    """The label's name, such as ``team``."""
    value: str
    """The label's value, such as ``search``."""


@shows(CreateOrder, name="deployment")
@strawberry.input
class CreateDeploymentInput:
    """A deployment that is to exist."""

    name: str
    replicas: int = 1
    policy: JSON | None = None
    labels: list[LabelInput] = strawberry.field(default_factory=list)
    reason: str = ""


@shows(AddRevisionOrder)
@strawberry.input
class AddRevisionInput:
    """A revision that is to be registered, as a deployment file writes it."""

    deployment_id: strawberry.ID
    """The deployment's name."""
    revision: JSON
    reason: str = ""
    allow_plain_secrets: bool = False


@shows(RolloutRequest)
@shows(_WithRequestId)
@strawberry.input
class StartRolloutInput:
    """A rollout that is to be started: ``revision`` names one that there is, ``content`` describes one."""

    deployment_id: strawberry.ID
    """The deployment's name."""
    revision: int | None = None
    """The number of a revision that the deployment has; give this or ``content``."""
    content: JSON | None = None
    """What is to be served and how, as a deployment file writes it; give this or ``revision``."""
    replicas: int | None = None
    policy: JSON | None = None
    labels: list[LabelInput] | None = None
    reason: str = ""
    allow_plain_secrets: bool = False
    request_id: str | None = None


@shows(PromoteOrder, rollout_id="rollout")
@shows(_WithRequestId)
@strawberry.input
class PromoteDeploymentInput:
    """Asks for the switch to a revision; any other that waits is refused."""

    deployment_id: strawberry.ID
    """The deployment's name."""
    revision: int
    rollout_id: strawberry.ID | None = None
    reason: str = ""
    force: bool = False
    request_id: str | None = None


@shows(BackOrder, rollout_id="rollout")
@shows(_WithRequestId)
@strawberry.input
class BackInput:
    """Asks to go back."""

    deployment_id: strawberry.ID
    """The deployment's name."""
    rollout_id: strawberry.ID | None = None
    reason: str = ""
    request_id: str | None = None


@shows(ScaleRequest)
@shows(_WithRequestId)
@strawberry.input
class ScaleDeploymentInput:
    """Asks for another number of replicas."""

    deployment_id: strawberry.ID
    """The deployment's name."""
    replicas: int
    reason: str = ""
    request_id: str | None = None


@shows(DeleteRequest)
@strawberry.input
class DeleteDeploymentInput:
    """Asks for a deployment to be taken away; with abort a rollout is asked to end: ask again until it has."""

    deployment_id: strawberry.ID
    """The deployment's name."""
    reason: str = ""
    abort: bool = False


@shows(LabelOrder)
@strawberry.input
class LabelDeploymentInput:
    """Asks for other labels; the whole set is replaced."""

    deployment_id: strawberry.ID
    """The deployment's name."""
    labels: list[LabelInput]
    reason: str = ""


@strawberry.input
class ForgetRouterInput:
    """Says that a router is gone for good; with force also one that is connected."""

    router_id: strawberry.ID
    """The router's name: its node id in Envoy."""
    reason: str = ""
    """Why, for the audit log."""
    force: bool = False
    """Also when it is connected."""


CreateDeploymentAnswer = Annotated[
    CreateDeploymentPayload | Refused,
    strawberry.union("CreateDeploymentAnswer", description="The deployment that is there, or why it was not created."),
]
AddRevisionAnswer = Annotated[
    AddRevisionPayload | Refused,
    strawberry.union("AddRevisionAnswer", description="The revision's number, or why it was not registered."),
]
StartRolloutAnswer = Annotated[
    StartRolloutPayload | Refused,
    strawberry.union("StartRolloutAnswer", description="The rollout that was started, or why none was."),
]
PromoteDeploymentAnswer = Annotated[
    PromotePayload | Refused,
    strawberry.union("PromoteDeploymentAnswer", description="How far the promotion went, or why it was refused."),
]
BackAnswer = Annotated[
    BackPayload | Refused,
    strawberry.union("BackAnswer", description="How the rollout ends, or why there is no way back."),
]
ScaleDeploymentAnswer = Annotated[
    ScaleDeploymentPayload | Refused,
    strawberry.union("ScaleDeploymentAnswer", description="What changed, or why the number of replicas stays."),
]
DeleteDeploymentAnswer = Annotated[
    DeleteDeploymentPayload | Refused,
    strawberry.union("DeleteDeploymentAnswer", description="How far the delete went, or why it was refused."),
]
ForgetRouterAnswer = Annotated[
    ForgetRouterPayload | Refused,
    strawberry.union("ForgetRouterAnswer", description="What the router was, or why it is not forgotten."),
]
LabelDeploymentAnswer = Annotated[
    LabelDeploymentPayload | Refused,
    strawberry.union("LabelDeploymentAnswer", description="Whether the labels changed, or why they stay."),
]


@strawberry.type
class Mutation:
    """What can be changed. Each answers with what happened, or with ``Refused``."""

    @strawberry.mutation(description="Create a deployment without a rollout. Twice creates it once.")
    async def create_deployment(self, info: ContextInfo, input: CreateDeploymentInput) -> CreateDeploymentAnswer:  # noqa: A002
        """Create a deployment."""

        async def work() -> CreateDeploymentPayload:
            order = _read(
                CreateOrder,
                deployment=input.name,
                replicas=input.replicas,
                policy=input.policy or {},
                labels=_labels(input.labels),
                reason=input.reason,
            )
            created = await info.context.desk.create(info.context.who, order)
            return CreateDeploymentPayload(
                deployment=await _after(info, created.deployment),
                created=created.created,
            )

        return await _or_refused(work)

    @strawberry.mutation(description="Register a revision without rolling it out.")
    async def add_revision(self, info: ContextInfo, input: AddRevisionInput) -> AddRevisionAnswer:  # noqa: A002
        """Register a revision."""

        async def work() -> AddRevisionPayload:
            order = _read(
                AddRevisionOrder,
                revision=input.revision,
                reason=input.reason,
                allow_plain_secrets=input.allow_plain_secrets,
            )
            added = await info.context.desk.add_revision(info.context.who, str(input.deployment_id), order)
            return AddRevisionPayload(deployment=await _after(info, added.deployment), revision=added.revision)

        return await _or_refused(work)

    @strawberry.mutation(description="Start a rollout; answers when it is registered.")
    async def start_rollout(self, info: ContextInfo, input: StartRolloutInput) -> StartRolloutAnswer:  # noqa: A002
        """Start a rollout."""

        async def work() -> StartRolloutPayload:
            if (input.revision is None) == (input.content is None):
                raise refuse(
                    RefusalCode.INVALID_PAYLOAD,
                    "a rollout is of one revision",
                    "give 'revision', the number of one that there is, or 'content', what it is",
                )
            given = {
                "deployment": str(input.deployment_id),
                "revision": input.content if input.revision is None else input.revision,
                "replicas": input.replicas,
                "policy": input.policy,
                "labels": None if input.labels is None else _labels(input.labels),
                "reason": input.reason,
                "allow_plain_secrets": input.allow_plain_secrets,
            }
            order = _read(RolloutRequest, **{name: value for name, value in given.items() if value is not None})
            started = await info.context.desk.start(info.context.who, order, _request_id(input.request_id))
            line = None if started.rollout is None else await _deployment(info, started.deployment)
            rollout = None
            if started.rollout is not None:
                rollout = Rollout.of(await info.context.desk.rollout(info.context.who, started.rollout))
            return StartRolloutPayload(
                deployment=line,
                rollout=rollout,
                workflow_id=started.workflow_id,
                run_id=started.run_id,
            )

        return await _or_refused(work)

    @strawberry.mutation(description="Switch traffic to green now; answers when the routers serve it.")
    async def promote_deployment(
        self,
        info: ContextInfo,
        input: PromoteDeploymentInput,  # noqa: A002
    ) -> PromoteDeploymentAnswer:
        """Promote the green that waits."""

        async def work() -> PromotePayload:
            order = _read(
                PromoteOrder,
                revision=input.revision,
                rollout=None if input.rollout_id is None else _number(input.rollout_id),
                reason=input.reason,
                force=input.force,
            )
            done = await info.context.desk.promote(
                info.context.who,
                str(input.deployment_id),
                order,
                _request_id(input.request_id),
            )
            return PromotePayload(
                deployment=await _after(info, done.deployment),
                rollout_id=None if done.rollout is None else strawberry.ID(str(done.rollout)),
                state=done.answer.state,
                approvals=done.answer.approvals,
                approvals_needed=done.answer.needed,
                switch=Switch(
                    epoch=done.answer.epoch,
                    acknowledged_by=list(done.answer.acknowledged_by),
                    silent=list(done.answer.silent),
                    milliseconds=done.answer.ms,
                ),
            )

        return await _or_refused(work)

    @strawberry.mutation(description="Go back: before the switch green is closed, after it traffic returns to blue.")
    async def abort_rollout(self, info: ContextInfo, input: BackInput) -> BackAnswer:  # noqa: A002
        """Abort the rollout."""
        return await _or_refused(lambda: _go_back(info, input, info.context.desk.abort))

    @strawberry.mutation(description="Return traffic to blue after the switch.")
    async def rollback_deployment(self, info: ContextInfo, input: BackInput) -> BackAnswer:  # noqa: A002
        """Roll back."""
        return await _or_refused(lambda: _go_back(info, input, info.context.desk.rollback))

    @strawberry.mutation(description="Let a deployment have another number of replicas.")
    async def scale_deployment(self, info: ContextInfo, input: ScaleDeploymentInput) -> ScaleDeploymentAnswer:  # noqa: A002
        """Scale a deployment."""

        async def work() -> ScaleDeploymentPayload:
            order = _read(ScaleRequest, replicas=input.replicas, reason=input.reason)
            name = str(input.deployment_id)
            scaled = await info.context.desk.scale(info.context.who, name, order, _request_id(input.request_id))
            return ScaleDeploymentPayload(
                deployment=await _after(info, name),
                before=scaled.before,
                epoch=scaled.epoch,
                changed=scaled.changed,
            )

        return await _or_refused(work)

    @strawberry.mutation(description="Take a deployment away; refused while a rollout is unfinished.")
    async def delete_deployment(
        self,
        info: ContextInfo,
        input: DeleteDeploymentInput,  # noqa: A002
    ) -> DeleteDeploymentAnswer:
        """Delete a deployment."""

        async def work() -> DeleteDeploymentPayload:
            order = _read(DeleteRequest, reason=input.reason, abort=input.abort)
            deleted = await info.context.desk.delete(info.context.who, str(input.deployment_id), order)
            return DeleteDeploymentPayload(
                deployment_id=input.deployment_id,
                lifecycle=deleted.lifecycle,
                epoch=deleted.epoch,
                changed=deleted.changed,
            )

        return await _or_refused(work)

    @strawberry.mutation(description="Give a deployment other labels, by which tokens are scoped.")
    async def label_deployment(self, info: ContextInfo, input: LabelDeploymentInput) -> LabelDeploymentAnswer:  # noqa: A002
        """Label a deployment."""

        async def work() -> LabelDeploymentPayload:
            order = _read(LabelOrder, labels=_labels(input.labels), reason=input.reason)
            labelled = await info.context.desk.label(info.context.who, str(input.deployment_id), order)
            return LabelDeploymentPayload(
                deployment=await _after(info, labelled.deployment),
                changed=labelled.changed,
            )

        return await _or_refused(work)

    @strawberry.mutation(description="Hold a router for gone, so that nobody waits for its acknowledgements.")
    async def forget_router(self, info: ContextInfo, input: ForgetRouterInput) -> ForgetRouterAnswer:  # noqa: A002
        """Forget a router."""

        async def work() -> ForgetRouterPayload:
            forgotten = await info.context.desk.forget_router(
                info.context.who,
                str(input.router_id),
                _read(_WithReason, reason=input.reason).reason,
                force=input.force,
            )
            return ForgetRouterPayload(router_id=input.router_id, was=forgotten.was, changed=forgotten.changed)

        return await _or_refused(work)


async def _go_back(
    info: ContextInfo,
    given: BackInput,
    ask: Callable[..., Awaitable[WentBack]],
) -> BackPayload:
    order = _read(
        BackOrder,
        rollout=None if given.rollout_id is None else _number(given.rollout_id),
        reason=given.reason,
    )
    done = await ask(info.context.who, str(given.deployment_id), order, _request_id(given.request_id))
    return BackPayload(
        deployment=await _after(info, done.deployment),
        rollout_id=None if done.rollout is None else strawberry.ID(str(done.rollout)),
        state=done.answer.state,
        outcome=done.answer.outcome,
        why=done.answer.why,
        switch=Switch(
            epoch=done.answer.epoch,
            acknowledged_by=list(done.answer.acknowledged_by),
            silent=list(done.answer.silent),
            milliseconds=done.answer.ms,
        ),
    )


async def _or_refused(work: Callable[[], Awaitable[AnswerT]]) -> AnswerT | Refused:
    """Return what a mutation did, or why it did nothing."""
    try:
        return await work()
    except RefusedError as error:
        refusal = error.refusal
        return Refused(code=refusal.code, message=refusal.message, next_step=refusal.next_step)


async def _told(answer: Awaitable[AnswerT]) -> AnswerT:
    """Return the answer of a query; a refusal becomes an error with its code."""
    try:
        return await answer
    except RefusedError as error:
        raise _as_error(error.refusal) from error


async def _deployment(info: ContextInfo, name: str) -> Deployment | None:
    line = await _told(info.context.loaders.lines.load(name))
    return None if line is None else Deployment.of(line)


async def _after(info: ContextInfo, name: str) -> Deployment:
    """Return a deployment as it is after a change."""
    info.context.renew()
    line = await info.context.loaders.lines.load(name)
    if line is None:
        raise refuse(
            RefusalCode.DEPLOYMENT_DELETED,
            f"it was done, but deployment {name} has been destroyed meanwhile",
            "nothing is left to be done",
        )
    return Deployment.of(line)


def _as_error(refusal: Refusal) -> GraphQLError:
    return GraphQLError(refusal.message, extensions={"code": refusal.code.value, "nextStep": refusal.next_step})


def _invalid(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": RefusalCode.INVALID_PAYLOAD.value})


def _read(model: type[ModelT], **given: object) -> ModelT:
    return parse_payload(model, given)


def _request_id(given: str | None) -> str | None:
    return None if given is None else parse_payload(_WithRequestId, {"request_id": given}).request_id


def _labels(given: list[LabelInput]) -> dict[str, str]:
    return {label.name: label.value for label in given}


def _number(given: strawberry.ID) -> int:
    text = str(given)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**31):
        raise refuse(RefusalCode.NO_SUCH_ROLLOUT, f"{text!r} is no rollout's id", "list them with 'rollouts'")
    return int(text)


class _QueryTurn(SchemaExtension):
    """Carries out one query of a caller at a time; changes do not wait."""

    async def on_execute(self) -> AsyncIterator[None]:
        """Wait for the turn."""
        context = self.execution_context.context
        if context is None or self.execution_context.operation_type is not OperationType.QUERY:
            yield
            return
        async with context.desk.whole_query(context.who):
            yield


def _is_a_bug(error: GraphQLError) -> bool:
    """Whether an error was not meant for the caller; it is logged, and the caller learns nothing of it."""
    match error.original_error:
        case None | GraphQLError():
            return False
        case RefusedError() as refused:
            error.extensions = dict(_as_error(refused.refusal).extensions or {})
            return False
        case DoorError() as refused:
            error.extensions = {"code": refused.problem.code, "nextStep": refused.problem.next_step}
            return False
        case TableAwayError() as away:
            log.warning("table_away", why=str(away))
            return _told_as(error, table_away())
        case NotMigratedError() as lacking:
            log.error("not_migrated", why=str(lacking))
            return _told_as(error, not_migrated_yet())
        case _:
            pass
    log.error("graphql_fault", path=error.path, trace=trace_of(error.original_error))
    return True


def _told_as(error: GraphQLError, told: DoorError) -> bool:
    """Tell a caller of an error in other words; it is no bug."""
    error.message = told.problem.detail
    error.extensions = {"code": told.problem.code, "nextStep": told.problem.next_step}
    return False


class _Schema(strawberry.Schema):
    """A schema that logs no query: what a caller wrote is told to that caller alone, and bugs are logged above."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing."""


def make_schema(most_depth: int, most_cost: int) -> strawberry.Schema:
    """Return the schema with its limits."""

    class Limit(QueryLimit):
        pass

    Limit.most_depth, Limit.most_cost = most_depth, most_cost
    extensions: list[Any] = [
        lambda: MaxTokensLimiter(max_token_count=_MOST_TOKENS),
        Limit,
        _QueryTurn,
        lambda: MaskErrors(should_mask_error=_is_a_bug, error_message="an internal error; the API's log has it"),
    ]
    schema = _Schema(
        query=Query,
        mutation=Mutation,
        extensions=extensions,
        config=StrawberryConfig(auto_camel_case=True),
    )
    describe(schema)
    return schema
