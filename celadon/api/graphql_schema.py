"""The GraphQL schema: queries, and mutations that answer with what happened or with a typed refusal."""

from collections.abc import AsyncIterator, Awaitable
from functools import cache
from typing import Annotated, Any, Final, TypeVar

import strawberry
import structlog
from graphql import GraphQLError
from pydantic import BaseModel
from strawberry.extensions import MaskErrors, MaxTokensLimiter, SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionContext
from strawberry.types.graphql import OperationType

from celadon.api.graphql_commands import SCALARS, mutation_type, number_of
from celadon.api.graphql_descriptions import describe, described_by
from celadon.api.graphql_limits import QueryLimit
from celadon.api.graphql_pages import (
    Asked,
    Connection,
    ContextInfo,
    Cursor,
    First,
    NodeT,
    page_length,
    page_of,
    read_name,
    read_number,
    shown_page,
)
from celadon.api.graphql_types import (
    Deployment,
    Event,
    Freeze,
    Policy,
    Revision,
    Rollout,
    Route,
    Router,
    Schedule,
    event_page,
    revision_page,
    route_page,
)
from celadon.api.problems import HttpRefusal, not_migrated_yet, problem_at, table_away
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.logs import trace_of
from celadon.service.door_words import Door, said_at
from celadon.service.views.deployments import read_deployments
from celadon.service.views.freezes import read_freezes_of_all
from celadon.service.views.policy import read_default_policy, read_policy_of
from celadon.service.views.rollout import read_rollout
from celadon.service.views.rollouts import read_rollouts
from celadon.service.views.routers import read_routers
from celadon.service.views.schedules import read_schedules
from celadon.table.core.outages import NotMigratedError, TableAwayError
from celadon.table.records.rollouts import RolloutFilter

_MOST_TOKENS: Final = 4000

OfDeployment = Annotated[strawberry.ID, strawberry.argument(description="The deployment's name.")]
ModelT = TypeVar("ModelT", bound=BaseModel)
AnswerT = TypeVar("AnswerT")

log = structlog.get_logger()


@described_by(RolloutFilter)
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
        page = await _told(read_deployments(info.context.service, info.context.who, after=name, limit=limit))
        return await shown_page(
            info, page, Asked("deployment", first, after), Deployment.of, lambda one: one.deployment
        )

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
        page = await _told(read_rollouts(info.context.service, info.context.who, wanted, before=before, limit=limit))
        return await shown_page(info, page, Asked("rollout", first, after), Rollout.of, lambda one: one.rollout)

    @strawberry.field(description="One rollout; nothing when there is none that the caller may see.")
    async def rollout(
        self,
        info: ContextInfo,
        id: Annotated[strawberry.ID, strawberry.argument(description="The rollout's number.")],  # noqa: A002 - as above
    ) -> Rollout | None:
        """Read one rollout."""
        try:
            return Rollout.of(await read_rollout(info.context.service, info.context.who, number_of(id)))
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

    @strawberry.field(
        description="A deployment's policy, with the layer of each value; the installation's defaults without a "
        "deployment. Nothing of a deployment that the caller may not see."
    )
    async def policy(
        self,
        info: ContextInfo,
        deployment_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="The deployment's name; the installation's defaults without one."),
        ] = None,
    ) -> Policy | None:
        """Read a policy."""
        service, who = info.context.service, info.context.who
        if deployment_id is None:
            return Policy.of(await _told(read_default_policy(service, who)))
        if await _deployment(info, str(deployment_id)) is None:
            return None
        return Policy.of(await _told(read_policy_of(service, who, str(deployment_id))))

    @strawberry.field(
        description="Schedules of a deployment, by name: those that people made through Celadon, and those that were "
        "made in Temporal. None when the caller may not see the deployment."
    )
    async def schedules(
        self,
        info: ContextInfo,
        deployment_id: OfDeployment,
        first: First = 20,
        after: Cursor = None,
    ) -> Connection[Schedule]:
        """Read a page of the schedules of a deployment."""
        name, limit = read_name("schedule", after), page_length(first)
        if await _deployment(info, str(deployment_id)) is None:
            return await _nothing(info, Asked("schedule", first, after))
        service, who = info.context.service, info.context.who
        page = await _told(read_schedules(service, who, str(deployment_id), after=name, limit=limit))
        return await shown_page(info, page, Asked("schedule", first, after), Schedule.of, lambda one: one.schedule)

    @strawberry.field(description="Freezes of all deployments that hold or are to come, newest first.")
    async def freezes(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Freeze]:
        """Read a page of the freezes of all deployments."""
        before, limit = read_number("freeze", after), page_length(first)
        page = await _told(read_freezes_of_all(info.context.service, info.context.who, before=before, limit=limit))
        return await shown_page(info, page, Asked("freeze", first, after), Freeze.of, lambda one: one.id)

    @strawberry.field(description="Routers that the table knows, by name.")
    async def routers(self, info: ContextInfo, first: First = 20, after: Cursor = None) -> Connection[Router]:
        """Read a page of routers."""
        name, limit = read_name("router", after), page_length(first)
        page = await _told(
            read_routers(info.context.service, info.context.who, after=name, limit=limit, tells_behind=False)
        )
        return await shown_page(info, page, Asked("router", first, after), Router.of, lambda one: one.router)

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


async def _told(answer: Awaitable[AnswerT]) -> AnswerT:
    """Return the answer of a query; a refusal becomes an error with its code."""
    try:
        return await answer
    except RefusedError as error:
        raise _as_error(error.refusal) from error


async def _deployment(info: ContextInfo, name: str) -> Deployment | None:
    line = await _told(info.context.loaders.lines.load(name))
    return None if line is None else Deployment.of(line)


def _as_error(refusal: Refusal) -> GraphQLError:
    message = said_at(Door.GRAPHQL, refusal.message)
    next_step = said_at(Door.GRAPHQL, refusal.next_step)
    return GraphQLError(message, extensions={"code": refusal.code.value, "nextStep": next_step})


def _invalid(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": RefusalCode.INVALID_PAYLOAD.value})


class _QueryTurn(SchemaExtension):
    """Carries out one query of a caller at a time; changes do not wait."""

    async def on_execute(self) -> AsyncIterator[None]:
        """Wait for the turn."""
        context = self.execution_context.context
        if context is None or self.execution_context.operation_type is not OperationType.QUERY:
            yield
            return
        async with context.service.whole_query(context.who):
            yield


def _is_a_bug(error: GraphQLError) -> bool:
    """Whether an error was not meant for the caller; it is logged, and the caller learns nothing of it."""
    match error.original_error:
        case None | GraphQLError():
            return False
        case RefusedError() as refused:
            error.extensions = dict(_as_error(refused.refusal).extensions or {})
            return False
        case HttpRefusal() as refused:
            problem = problem_at(Door.GRAPHQL, refused.problem)
            error.extensions = {"code": problem.code, "nextStep": problem.next_step}
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


def _told_as(error: GraphQLError, told: HttpRefusal) -> bool:
    """Tell a caller of an error in other words; it is no bug."""
    problem = problem_at(Door.GRAPHQL, told.problem)
    error.message = problem.detail
    error.extensions = {"code": problem.code, "nextStep": problem.next_step}
    return False


class _Schema(strawberry.Schema):
    """A schema that logs no query: what a caller wrote is told to that caller alone, and bugs are logged above."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing."""


@cache
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
        mutation=mutation_type(),
        extensions=extensions,
        config=StrawberryConfig(auto_camel_case=True, scalar_map=SCALARS),
    )
    describe(schema)
    return schema
