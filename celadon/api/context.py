"""What every request of the API has at hand."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from celadon.api.authentication import Authenticator, BearerScheme
from celadon.api.console.sessions import Sessions
from celadon.api.feed import ChangeFeed
from celadon.api.guessing import Guessing
from celadon.api.metrics import ApiMetrics
from celadon.api.probes import Readiness
from celadon.api.serving import ApiService
from celadon.api.settings import ApiSettings
from celadon.api.streams import Streams
from celadon.api.times import ApiTimes
from celadon.api.workflow_watch import WorkflowWatch
from celadon.service.principal import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """The parts of a running API."""

    service: ApiService
    authenticator: Authenticator
    bearer: BearerScheme
    feed: ChangeFeed
    guessing: Guessing
    metrics: ApiMetrics
    readiness: Readiness
    sessions: Sessions
    settings: ApiSettings
    streams: Streams
    times: ApiTimes
    workflow_watch: WorkflowWatch
    workflows_url: str
    """The address of Temporal's UI for our namespace; empty when it is not known."""


def parts_of(request: HTTPConnection) -> ApiParts:
    """Return the parts of the API that serves ``request``."""
    parts: ApiParts = request.app.state.parts
    return parts


async def authenticated(request: Request) -> Principal:
    """Return who calls.

    Raises:
        HttpRefusal: nobody who is known, or somebody who asks too often.

    """
    return await parts_of(request).authenticator.principal(request)


def service_of(request: Request) -> ApiService:
    """Return the service for callers."""
    return parts_of(request).service


Caller = Annotated[Principal, Depends(authenticated)]
ServiceOf = Annotated[ApiService, Depends(service_of)]
