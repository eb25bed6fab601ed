"""REST under ``/v1``: what pipelines do."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import StreamingResponse

from celadon.api.context import Caller, ServiceOf, parts_of
from celadon.api.problems import MEDIA_TYPE
from celadon.api.rest_commands import Name
from celadon.api.rest_words import RestRoute, events_for
from celadon.api.stream import ChangeResponse, ChangeStream
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.service.principal import Principal
from celadon.service.rollout_view import RolloutView
from celadon.service.views.deployment import read_deployment
from celadon.service.views.deployments import DeploymentList, read_deployments
from celadon.service.views.events import EventList, read_events
from celadon.service.views.freezes import FreezeList, read_freezes_of_all
from celadon.service.views.history import History, read_history
from celadon.service.views.policy import ShownPolicy, read_default_policy, read_policy_of
from celadon.service.views.revisions import RevisionList, read_revisions
from celadon.service.views.rollout import read_rollout
from celadon.service.views.rollouts import RolloutList, read_rollouts, read_rollouts_of
from celadon.service.views.routers import RouterList, read_routers
from celadon.service.views.schedules import ScheduleList, read_schedules
from celadon.table.core.paging import LONGEST_PAGE
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord

LONGEST_HISTORY: Final = 1_000

_LARGEST: Final = 2**63 - 1

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status.value: {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for status, text in (
        (HTTPStatus.BAD_REQUEST, "The body is no JSON, or the address no text."),
        (HTTPStatus.UNAUTHORIZED, "The request does not show who asks."),
        (HTTPStatus.FORBIDDEN, "The caller may not."),
        (HTTPStatus.NOT_FOUND, "It is not there, or not in the caller's scope."),
        (HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time."),
        (HTTPStatus.CONFLICT, "It does not fit how things stand."),
        (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large."),
        (HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long."),
        (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not declared as JSON."),
        (HTTPStatus.MISDIRECTED_REQUEST, "The host name is none of the API's."),
        (HTTPStatus.UNPROCESSABLE_ENTITY, "The request is wrong in itself."),
        (HTTPStatus.TOO_MANY_REQUESTS, "The caller asks too often."),
        (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too long."),
        (HTTPStatus.SERVICE_UNAVAILABLE, "A part that the API stands on is away."),
        (HTTPStatus.GATEWAY_TIMEOUT, "Nobody answered in time."),
    )
}

router = APIRouter(prefix="/v1", responses=ERRORS, route_class=RestRoute)

Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE, description="How many at most.")]
Before = Annotated[int | None, Query(ge=1, le=_LARGEST, description="Only older ones.")]
After = Annotated[
    int | None,
    Query(
        ge=0, le=_LARGEST, description="Go on from this line: those that come after it, as they came; 0 is the begin."
    ),
]
AfterName = Annotated[str | None, Query(max_length=200, description="Only those whose names come after this one.")]
LastEventId = Annotated[
    int | None,
    Header(alias="Last-Event-ID", ge=0, le=_LARGEST, description="Resume after this line of the audit log."),
]
_STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
}


def _wanted(
    phase: Annotated[RolloutPhase | None, Query(description="Only those in this phase.")] = None,
    outcome: Annotated[RolloutOutcome | None, Query(description="Only those that ended so.")] = None,
    unfinished: Annotated[
        bool | None,
        Query(description="Only those under way when true, only those that have ended when false."),
    ] = None,
) -> RolloutFilter:
    return RolloutFilter(phase=phase, outcome=outcome, unfinished=unfinished)


Wanted = Annotated[RolloutFilter, Depends(_wanted)]


@router.get("/whoami")
async def whoami(who: Caller) -> Principal:
    """Tell the caller who it is, which roles it has and what it is scoped to."""
    return who


@router.get("/deployments")
async def list_deployments(
    who: Caller, service: ServiceOf, after: AfterName = None, limit: Limit = 100
) -> DeploymentList:
    """List deployments by name: what is live, where the latest rollout stands, and who must act."""
    return await read_deployments(service, who, after=after, limit=limit)


@router.get("/deployments/{name}")
async def show_deployment(who: Caller, service: ServiceOf, name: Name) -> RolloutView:
    """Show both colours, replicas, timers, acknowledgements, running requests and the last events."""
    return await read_deployment(service, who, name)


@router.get("/deployments/{name}/revisions")
async def list_revisions(
    who: Caller,
    service: ServiceOf,
    name: Name,
    before: Before = None,
    limit: Limit = 50,
) -> RevisionList:
    """List the revisions of a deployment, newest first; secrets are names in them."""
    return await read_revisions(service, who, name, before=before, limit=limit)


@router.get("/deployments/{name}/policy")
async def show_policy(who: Caller, service: ServiceOf, name: Name) -> ShownPolicy:
    """Show every key of a deployment's policy, and the layer that gives its value."""
    return await read_policy_of(service, who, name)


@router.get("/policy")
async def show_defaults(who: Caller, service: ServiceOf) -> ShownPolicy:
    """Show the installation's defaults: every key with its layer, and the last changes."""
    return await read_default_policy(service, who)


@router.get("/deployments/{name}/schedules")
async def list_schedules(
    who: Caller, service: ServiceOf, name: Name, after: AfterName = None, limit: Limit = 50
) -> ScheduleList:
    """List the schedules of a deployment by name: what they ask for, when, and what came of their last firing."""
    return await read_schedules(service, who, name, after=after, limit=limit)


@router.get("/rollouts")
async def list_rollouts(
    who: Caller,
    service: ServiceOf,
    wanted: Wanted,
    before: Before = None,
    limit: Limit = 50,
) -> RolloutList:
    """List rollouts of all deployments, newest first."""
    return await read_rollouts(service, who, wanted, before=before, limit=limit)


@router.get("/rollouts/{rollout}")
async def show_rollout(
    who: Caller,
    service: ServiceOf,
    rollout: Annotated[int, Path(ge=1, le=_LARGEST, description="The rollout's number.")],
) -> RolloutRecord:
    """Show one rollout."""
    return await read_rollout(service, who, rollout)


@router.get("/deployments/{name}/rollouts")
async def list_rollouts_of(
    who: Caller,
    service: ServiceOf,
    name: Name,
    wanted: Wanted,
    before: Before = None,
    limit: Limit = 50,
) -> RolloutList:
    """List one deployment's rollouts, newest first."""
    return await read_rollouts_of(service, who, name, wanted, before=before, limit=limit)


@router.get("/deployments/{name}/history")
async def show_history(
    who: Caller,
    service: ServiceOf,
    name: Name,
    rollout: Annotated[int | None, Query(ge=1, le=_LARGEST, description="This rollout alone.")] = None,
    before: Before = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST_HISTORY, description="How many of each at most.")] = 50,
) -> History:
    """Tell the past, newest first: rollouts, the audit log's lines of their time, and who was told of what."""
    return await read_history(service, who, name, rollout=rollout, before=before, limit=limit)


@router.get("/deployments/{name}/events")
async def list_events_of(
    who: Caller,
    service: ServiceOf,
    name: Name,
    before: Before = None,
    after: After = None,
    limit: Limit = 100,
) -> EventList:
    """Read one deployment's audit log: newest first, or with ``after`` what comes after a line, as it came."""
    return await read_events(service, who, name, before=before, after=after, limit=limit)


@router.get("/events")
async def list_events(
    who: Caller,
    service: ServiceOf,
    before: Before = None,
    after: After = None,
    limit: Limit = 100,
) -> EventList:
    """Read the audit log of all deployments: newest first, or with ``after`` what comes after a line, as it came."""
    return await read_events(service, who, None, before=before, after=after, limit=limit)


@router.get("/freezes")
async def list_freezes(who: Caller, service: ServiceOf, before: Before = None, limit: Limit = 100) -> FreezeList:
    """List the freezes of all deployments that hold or are to come, newest first; those of one stand in its view."""
    return await read_freezes_of_all(service, who, before=before, limit=limit)


@router.get("/routers")
async def list_routers(who: Caller, service: ServiceOf, after: AfterName = None, limit: Limit = 100) -> RouterList:
    """List routers by name, and what they are behind with."""
    return await read_routers(service, who, after=after, limit=limit)


@router.get("/stream", response_class=StreamingResponse, responses=_STREAMED)
async def stream_all(request: Request, who: Caller, last_event_id: LastEventId = None) -> ChangeResponse:
    """Follow all deployments live: ``audit`` and ``deployments`` events."""
    return _streaming(request, who, None, last_event_id)


@router.get("/deployments/{name}/stream", response_class=StreamingResponse, responses=_STREAMED)
async def stream_one(
    request: Request,
    who: Caller,
    service: ServiceOf,
    name: Name,
    last_event_id: LastEventId = None,
) -> ChangeResponse:
    """Follow one deployment live: ``audit`` and ``deployment`` events."""
    await service.see(who, name)
    return _streaming(request, who, name, last_event_id)


def _streaming(request: Request, who: Principal, name: str | None, after: int | None) -> ChangeResponse:
    parts = parts_of(request)
    who.require([Verb.READ])
    changes = ChangeStream(
        parts.service, parts.feed, who, name, lambda: parts.authenticator.known(request), parts.times
    )
    return ChangeResponse(events_for(request, changes.events(after, parts.streams)), parts.times)
