"""REST under ``/v1``: what pipelines do."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator

from celadon.api.bodies import body_of, described
from celadon.api.context import Caller, DeskOf, parts_of
from celadon.api.orders import (
    AddRevisionOrder,
    BackOrder,
    Created,
    CreateOrder,
    DeleteRequest,
    DeploymentList,
    EventPage,
    Labelled,
    LabelOrder,
    Promoted,
    PromoteOrder,
    RequestId,
    Rescaled,
    RevisionAdded,
    RevisionList,
    RolloutPage,
    ScaleRequest,
    Started,
    TakenAway,
    WentBack,
)
from celadon.api.principal import Principal
from celadon.api.problems import MEDIA_TYPE
from celadon.api.stream import ChangeResponse, ChangeStream
from celadon.client.rollout_view import RolloutView
from celadon.domain.declared_text import check_reason
from celadon.domain.messages import RolloutRequest
from celadon.domain.names import MAX_NAME_LENGTH
from celadon.domain.permissions import Verb
from celadon.domain.states import RolloutOutcome, RolloutPhase
from celadon.table.paging import LONGEST_PAGE
from celadon.table.records.changes import Forgotten
from celadon.table.records.history import History
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord
from celadon.table.records.routers import Fleet

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

router = APIRouter(prefix="/v1", responses=ERRORS)

Name = Annotated[str, Path(max_length=MAX_NAME_LENGTH, description="The deployment's name.")]
Key = Annotated[
    RequestId | None,
    Header(alias="Idempotency-Key", description="A repeat with the same one gets the first answer."),
]
Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE, description="How many at most.")]
Before = Annotated[int | None, Query(ge=1, le=_LARGEST, description="Only older ones.")]
After = Annotated[int, Query(ge=0, le=_LARGEST, description="Only lines that come after this one.")]
Newest = Annotated[bool, Query(description="The last of those lines, instead of the first.")]
AfterName = Annotated[str | None, Query(max_length=200, description="Only those whose names come after this one.")]
LastEventId = Annotated[
    int | None,
    Header(alias="Last-Event-ID", ge=0, le=_LARGEST, description="Resume after this line of the audit log."),
]
Why = Annotated[
    str,
    Query(max_length=2000, description="Why, for the audit log."),
    AfterValidator(check_reason),
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
async def list_deployments(who: Caller, desk: DeskOf, after: AfterName = None, limit: Limit = 100) -> DeploymentList:
    """List deployments by name: what is live, where the latest rollout stands, and who must act."""
    return await desk.deployments(who, after=after, limit=limit)


@router.post("/deployments", status_code=HTTPStatus.CREATED, openapi_extra=described(CreateOrder))
async def create_deployment(
    who: Caller,
    desk: DeskOf,
    order: Annotated[CreateOrder, Depends(body_of(CreateOrder))],
) -> Created:
    """Create a deployment without a rollout. Twice creates it once."""
    return await desk.create(who, order)


@router.get("/deployments/{name}")
async def show_deployment(who: Caller, desk: DeskOf, name: Name) -> RolloutView:
    """Show both colours, replicas, timers, acknowledgements, running requests and the last events."""
    return await desk.deployment(who, name)


@router.delete("/deployments/{name}")
async def delete_deployment(
    who: Caller,
    desk: DeskOf,
    name: Name,
    reason: Why = "",
    abort: Annotated[  # noqa: FBT002 - a query parameter
        bool,
        Query(description="Also ask a rollout that is under way to end; until it has, the delete is refused."),
    ] = False,
) -> TakenAway:
    """Take a deployment away: its address answers 404, its replicas drain, then it is destroyed.

    With ``abort`` a rollout that is under way is asked to end; ask again until it has ended.
    """
    return await desk.delete(who, name, DeleteRequest(reason=reason, abort=abort))


@router.put("/deployments/{name}/labels", openapi_extra=described(LabelOrder))
async def label_deployment(
    who: Caller,
    desk: DeskOf,
    name: Name,
    order: Annotated[LabelOrder, Depends(body_of(LabelOrder))],
) -> Labelled:
    """Give a deployment other labels, by which tokens are scoped."""
    return await desk.label(who, name, order)


@router.post(
    "/deployments/{name}/revisions",
    status_code=HTTPStatus.CREATED,
    openapi_extra=described(AddRevisionOrder),
)
async def add_revision(
    who: Caller,
    desk: DeskOf,
    name: Name,
    order: Annotated[AddRevisionOrder, Depends(body_of(AddRevisionOrder))],
) -> RevisionAdded:
    """Register a revision without rolling it out; the same content has the same number."""
    return await desk.add_revision(who, name, order)


@router.get("/deployments/{name}/revisions")
async def list_revisions(
    who: Caller,
    desk: DeskOf,
    name: Name,
    before: Before = None,
    limit: Limit = 50,
) -> RevisionList:
    """List the revisions of a deployment, newest first; secrets are names in them."""
    return await desk.revisions(who, name, before=before, limit=limit)


@router.post("/rollouts", status_code=HTTPStatus.ACCEPTED, openapi_extra=described(RolloutRequest))
async def start_rollout(
    who: Caller,
    desk: DeskOf,
    order: Annotated[RolloutRequest, Depends(body_of(RolloutRequest))],
    key: Key = None,
) -> Started:
    """Start a rollout; the body is a deployment file as JSON."""
    return await desk.start(who, order, key)


@router.get("/rollouts")
async def list_rollouts(
    who: Caller,
    desk: DeskOf,
    wanted: Wanted,
    before: Before = None,
    limit: Limit = 50,
) -> RolloutPage:
    """List rollouts of all deployments, newest first."""
    return await desk.rollouts(who, wanted, before=before, limit=limit)


@router.get("/rollouts/{rollout}")
async def show_rollout(
    who: Caller,
    desk: DeskOf,
    rollout: Annotated[int, Path(ge=1, le=_LARGEST, description="The rollout's number.")],
) -> RolloutRecord:
    """Show one rollout."""
    return await desk.rollout(who, rollout)


@router.get("/deployments/{name}/rollouts")
async def list_rollouts_of(
    who: Caller,
    desk: DeskOf,
    name: Name,
    wanted: Wanted,
    before: Before = None,
    limit: Limit = 50,
) -> RolloutPage:
    """List one deployment's rollouts, newest first."""
    return await desk.rollouts_of(who, name, wanted, before=before, limit=limit)


@router.get("/deployments/{name}/history")
async def show_history(
    who: Caller,
    desk: DeskOf,
    name: Name,
    rollout: Annotated[int | None, Query(ge=1, le=_LARGEST, description="This rollout alone.")] = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST_HISTORY, description="The last so many of each.")] = 50,
) -> History:
    """Tell the past: rollouts, the audit log's last lines, and who was told of what."""
    return await desk.history(who, name, rollout=rollout, limit=limit)


@router.post("/deployments/{name}/promote", openapi_extra=described(PromoteOrder, optional=True))
async def promote(
    who: Caller,
    desk: DeskOf,
    name: Name,
    order: Annotated[PromoteOrder, Depends(body_of(PromoteOrder, optional=True))],
    key: Key = None,
) -> Promoted:
    """Switch traffic to green now; answers when the routers serve it."""
    return await desk.promote(who, name, order, key)


@router.post("/deployments/{name}/abort", openapi_extra=described(BackOrder, optional=True))
async def abort(
    who: Caller,
    desk: DeskOf,
    name: Name,
    order: Annotated[BackOrder, Depends(body_of(BackOrder, optional=True))],
    key: Key = None,
) -> WentBack:
    """Go back: before the switch green is closed, after it traffic returns to blue."""
    return await desk.abort(who, name, order, key)


@router.post("/deployments/{name}/rollback", openapi_extra=described(BackOrder, optional=True))
async def rollback(
    who: Caller,
    desk: DeskOf,
    name: Name,
    order: Annotated[BackOrder, Depends(body_of(BackOrder, optional=True))],
    key: Key = None,
) -> WentBack:
    """Return traffic to blue after the switch."""
    return await desk.rollback(who, name, order, key)


@router.post("/deployments/{name}/scale", openapi_extra=described(ScaleRequest))
async def scale(
    who: Caller,
    desk: DeskOf,
    name: Name,
    order: Annotated[ScaleRequest, Depends(body_of(ScaleRequest))],
    key: Key = None,
) -> Rescaled:
    """Let a deployment have another number of replicas, inside a rollout or outside."""
    return await desk.scale(who, name, order, key)


@router.get("/deployments/{name}/events")
async def list_events_of(
    who: Caller,
    desk: DeskOf,
    name: Name,
    after: After = 0,
    limit: Limit = 100,
    *,
    newest: Newest = False,
) -> EventPage:
    """Read one deployment's audit log, oldest first."""
    return await desk.events(who, name, after=after, limit=limit, newest=newest)


@router.get("/events")
async def list_events(
    who: Caller,
    desk: DeskOf,
    after: After = 0,
    limit: Limit = 100,
    *,
    newest: Newest = False,
) -> EventPage:
    """Read the audit log of all deployments, oldest first."""
    return await desk.events(who, None, after=after, limit=limit, newest=newest)


@router.get("/routers")
async def list_routers(who: Caller, desk: DeskOf, after: AfterName = None, limit: Limit = 100) -> Fleet:
    """List routers by name, and what they are behind with."""
    return await desk.routers(who, after=after, limit=limit)


@router.delete("/routers/{node}")
async def forget_router(
    who: Caller,
    desk: DeskOf,
    node: Annotated[str, Path(max_length=200, description="The router's name: its node id in Envoy.")],
    reason: Why = "",
    force: Annotated[bool, Query(description="Also when it is connected.")] = False,  # noqa: FBT002 - as above
) -> Forgotten:
    """Hold a router for gone, so that nobody waits for its acknowledgements."""
    return await desk.forget_router(who, node, reason, force=force)


@router.get("/stream", response_class=StreamingResponse, responses=_STREAMED)
async def stream_all(request: Request, who: Caller, last_event_id: LastEventId = None) -> ChangeResponse:
    """Follow all deployments live: ``audit`` and ``deployments`` events."""
    return _streaming(request, who, None, last_event_id)


@router.get("/deployments/{name}/stream", response_class=StreamingResponse, responses=_STREAMED)
async def stream_one(
    request: Request,
    who: Caller,
    desk: DeskOf,
    name: Name,
    last_event_id: LastEventId = None,
) -> ChangeResponse:
    """Follow one deployment live: ``audit`` and ``deployment`` events."""
    await desk.see(who, name)
    return _streaming(request, who, name, last_event_id)


def _streaming(request: Request, who: Principal, name: str | None, after: int | None) -> ChangeResponse:
    parts = parts_of(request)
    who.require([Verb.READ])
    changes = ChangeStream(parts.desk, parts.feed, who, name, lambda: parts.authenticator.known(request))
    return ChangeResponse(changes.events(after, parts.streams))
