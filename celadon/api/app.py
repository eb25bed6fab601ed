"""The application: every door of the API, its limits, and its errors as problem details."""

import json
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from strawberry.fastapi import GraphQLRouter

from celadon.api import rest
from celadon.api.bodies import body_schemas
from celadon.api.console import asking, pages
from celadon.api.console.outages import OutagePages
from celadon.api.console.rendering import STATIC
from celadon.api.context import ApiParts, Caller, parts_of
from celadon.api.graphql_context import GraphContext, graph_context
from celadon.api.graphql_schema import make_schema
from celadon.api.limits import BodyLimit, SecurityHeaders
from celadon.api.measured import Measured
from celadon.api.probes import Ready
from celadon.api.problems import (
    HttpRefusal,
    Problem,
    not_migrated_yet,
    problem_of,
    problem_with,
    response_of,
    table_away,
)
from celadon.api.request_guard import RequestGuard
from celadon.api.rest_commands import command_router
from celadon.api.rest_words import problem_for
from celadon.api.settings import ApiSettings
from celadon.api.times import USUAL_TIMES
from celadon.domain.language.error_words import what_is_wrong
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.permissions import Verb
from celadon.table.core.outages import NotMigratedError, TableAwayError

TITLE: Final = "Celadon"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"

log = structlog.get_logger()


def make_app(settings: ApiSettings, parts: ApiParts | None = None) -> FastAPI:
    """Return the application; without ``parts`` it can only be described, not called."""
    app = FastAPI(
        title=TITLE,
        version=version("celadon"),
        summary="Blue-green rollouts of model-serving deployments.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.parts = parts
    app.include_router(rest.router)
    app.include_router(command_router(rest.router))
    # Before the decisions of a deployment, whose addresses would take theirs.
    app.include_router(asking.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.include_router(
        _GraphQL(
            make_schema(settings.api_max_depth, settings.api_max_cost),
            context_getter=graph_context,
            graphql_ide=None,
            allow_queries_via_get=False,
            subscription_protocols=(),
            include_in_schema=False,
        ),
        prefix="/graphql",
    )
    _add_probes(app)
    _add_errors(app)
    app.add_middleware(Measured)
    app.add_middleware(
        BodyLimit,
        most=settings.api_max_body,
        longest_seconds=settings.api_body_timeout.total_seconds(),
        grace_seconds=(USUAL_TIMES if parts is None else parts.times).body_grace.total_seconds(),
    )
    app.add_middleware(RequestGuard, hosts=settings.answered_hosts)
    app.add_middleware(OutagePages)
    app.add_middleware(SecurityHeaders)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]  # FastAPI's own way to say more
    return app


class _GraphQL(GraphQLRouter[GraphContext, None]):
    """GraphQL over HTTP, where every body that cannot be read is told so."""

    def decode_json(self, data: str | bytes) -> object:
        """Return the content of a body; raises ``JSONDecodeError`` when it is no JSON object in UTF-8."""
        try:
            content = json.loads(data.decode() if isinstance(data, bytes) else data)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict | list):
            # Strawberry answers this one with 400, and knows no other.
            raise json.JSONDecodeError("the body is no JSON object in UTF-8", "", 0)
        return content


def _add_probes(app: FastAPI) -> None:
    """Add what asks after the process itself; only these two let anybody in."""

    @app.get("/healthz", tags=["probes"])
    async def healthz() -> dict[str, str]:
        """Tell that the process serves."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["probes"], responses={503: {"model": Ready, "description": "A part is not reached."}})
    async def readyz(request: Request) -> JSONResponse:
        """Tell whether Postgres and Temporal are reached."""
        readiness = await parts_of(request).readiness.look()
        status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse(readiness.model_dump(mode="json"), status_code=status.value)

    @app.get("/metrics", tags=["probes"], response_class=PlainTextResponse, responses=rest.ERRORS)
    async def metrics(request: Request, who: Caller) -> Response:
        """Give Prometheus what this process counts."""
        who.require([Verb.SCRAPE])
        return Response(parts_of(request).metrics.text(), media_type=_METRICS)


def _add_errors(app: FastAPI) -> None:
    """Let every error be a problem that says what to do, and none tell of the inside."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return response_of(problem_for(request, problem_of(error.refusal)))

    @app.exception_handler(HttpRefusal)
    async def at_the_door(request: Request, error: HttpRefusal) -> JSONResponse:
        headers = error.headers
        if error.problem.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        return response_of(problem_for(request, error.problem), headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in one['loc'][1:])}: {what_is_wrong(one)}" for one in error.errors()
        )
        return response_of(
            problem_with(HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID_PAYLOAD", problems, "see the OpenAPI file")
        )

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        problem = problem_with(status, status.name, str(error.detail), "see the OpenAPI file")
        return response_of(problem, error.headers)

    @app.exception_handler(TableAwayError)
    async def away(_: Request, error: TableAwayError) -> JSONResponse:
        log.warning("table_away", why=str(error))
        return response_of(table_away().problem, table_away().headers)

    @app.exception_handler(NotMigratedError)
    async def not_migrated(request: Request, error: NotMigratedError) -> JSONResponse:
        log.error("not_migrated", why=str(error))
        return response_of(problem_for(request, not_migrated_yet().problem))


def _describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI file: what FastAPI knows, the bodies that our own parser reads, and how callers show who."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version="1", summary=app.summary, routes=app.routes)
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        # Of a policy that is told FastAPI says nothing but that it is an object: it is written by a function of ours.
        schemas.update(body_schemas())
        schemas["Problem"] = Problem.model_json_schema()
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if path in {"/healthz", "/readyz"} else [{"bearer": []}]
        app.openapi_schema = document
    return app.openapi_schema
