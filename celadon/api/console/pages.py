"""The console's pages: each reads a request, calls one view of the service, and renders the answer."""

import base64
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute

from celadon.api.console.forms import read_form, request_of
from celadon.api.console.rendering import Person, render
from celadon.api.console.sessions import csrf_of, is_own_form
from celadon.api.console.views import deployment_page, workflow_link
from celadon.api.context import ApiParts, parts_of
from celadon.api.problems import HttpRefusal, problem_of
from celadon.api.stream import ChangeResponse, ChangeStream
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.names import MAX_NAME_LENGTH
from celadon.domain.language.permissions import rights_of
from celadon.service.command import Notice, Tone
from celadon.service.principal import Principal
from celadon.service.registry import command_named
from celadon.service.views.deployment import read_deployment
from celadon.service.views.deployments import deployment_row, read_deployments
from celadon.service.views.events import errors_told
from celadon.service.views.rollout import read_rollout, read_rollout_events, rollout_event_rows, rollout_summary
from celadon.service.views.rollouts import read_rollouts_of
from celadon.table.records.rollouts import RolloutFilter

SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SHOWN_DEPLOYMENTS: Final = 100
SHOWN_ROLLOUTS: Final = 100
SHOWN_EVENTS: Final = 500

_FETCH_SITE: Final = "sec-fetch-site"
_OWN_SITES: Final = frozenset({"same-origin", "none"})
"""What browsers say of a request that no page, or one of this very address, has made."""

_NOTICE_SECONDS: Final = 60
LONGEST_NOTICE: Final = 1500

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


class LoginNeededError(Exception):
    """Nobody who is known looks at the page."""


class ConsoleRoute(APIRoute):
    """A page: what is refused becomes a page too, and whoever is unknown is asked to log in."""

    def get_route_handler(self) -> Handler:
        """Return the handler with its errors told as pages."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                response = await handle(request)
            except LoginNeededError:
                response = _to_login(request)
            except RefusedError as error:
                problem = problem_of(error.refusal)
                response = _error_page(problem.status, problem.detail, problem.next_step)
            except HttpRefusal as error:
                response = _error_page(error.problem.status, error.problem.detail, error.problem.next_step)
                response.headers.update(error.headers)
            response.headers["Content-Security-Policy"] = SECURITY_POLICY
            response.headers["Cache-Control"] = "no-store"
            # Without any referrer, browsers would not say either where a form comes from.
            response.headers["Referrer-Policy"] = "same-origin"
            return response

        return told


router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)


@router.get("/")
async def list_deployments(
    request: Request,
    after: Annotated[str | None, Query(max_length=MAX_NAME_LENGTH)] = None,
) -> HTMLResponse:
    """Show the deployments that this person may see, page after page."""
    who, person = await looking(request)
    page = await read_deployments(parts_of(request).service, who, after=after, limit=SHOWN_DEPLOYMENTS)
    return HTMLResponse(
        render(
            "list",
            person,
            "/changes",
            lines=tuple(deployment_row(line, page.at) for line in page.items),
            is_first=after is None,
            next_after=page.cursor,
        ),
    )


@router.get("/changes")
async def changes(request: Request, deployment: str | None = None) -> ChangeResponse:
    """Tell a page when to look again."""
    who, _ = await looking(request)
    parts = parts_of(request)
    if deployment is not None:
        await parts.service.see(who, deployment)
    stream = ChangeStream(
        parts.service, parts.feed, who, deployment, lambda: parts.sessions.principal(request), parts.times
    )
    return ChangeResponse(stream.events(None, parts.streams), parts.times)


@router.get("/login")
async def show_login(request: Request, code: str | None = None) -> Response:
    """Ask for a token, or for one press of a button after a one-time link: a link alone changes nothing."""
    return HTMLResponse(render("login", None, code=code, next=_local(request.query_params.get("next", "/"))))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Open a session."""
    _check_origin(request)
    form = await read_form(request)
    after = _local(form.get("next", "/"))
    try:
        session = await _opened(request, form)
    except HttpRefusal as error:
        return _login_page(error.problem.detail, after, error.problem.status)
    if session is None:
        message = (
            "This link was used already, or is too old: ask for another one with 'celadon console'."
            if "code" in form
            else "This token is unknown, expired or revoked."
        )
        return _login_page(message, after, HTTPStatus.UNAUTHORIZED)
    response = RedirectResponse(after, status_code=HTTPStatus.SEE_OTHER)
    await parts_of(request).sessions.begin(request, response, session)
    return response


async def _opened(request: Request, form: dict[str, str]) -> str | None:
    """Return the session that a link's code or a token opens; nothing when it is none.

    Raises:
        HttpRefusal: it is none, and the address has shown too many such.

    """
    parts = parts_of(request)
    if "code" in form:
        return await parts.guessing.check(request, form["code"], parts.sessions.redeem)
    proof = await parts.guessing.check(request, form.get("token", "").strip(), parts.bearer.proof)
    return None if proof is None else await parts.sessions.open(proof)


def _login_page(notice: str, after: str, status: int) -> HTMLResponse:
    return HTMLResponse(render("login", None, code=None, notice=notice, next=after), status_code=status)


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session."""
    await own_form(request)
    response = RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
    await parts_of(request).sessions.end(request, response)
    return response


@router.get("/deployments/{name}")
async def show_deployment(request: Request, name: str) -> HTMLResponse:
    """Show a deployment with both colours."""
    who, person = await looking(request)
    parts = parts_of(request)
    view = await read_deployment(parts.service, who, name)
    page = deployment_page(view, rights_of(who.roles), parts.workflows_url, datetime.now(UTC))
    notice = notice_of(request)
    response = HTMLResponse(
        render("deployment", person, f"/changes?deployment={quote(name, safe='')}", page=page, notice=notice),
    )
    if notice is not None:
        parts.sessions.forget_notice(response)
    return response


@router.get("/deployments/{name}/rollouts")
async def list_rollouts(
    request: Request,
    name: str,
    before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> HTMLResponse:
    """Show a deployment's rollouts, newest first, page after page."""
    who, person = await looking(request)
    page = await read_rollouts_of(
        parts_of(request).service, who, name, RolloutFilter(), before=before, limit=SHOWN_ROLLOUTS
    )
    now = datetime.now(UTC)
    return HTMLResponse(
        render(
            "rollouts",
            person,
            name=name,
            rollouts=tuple(rollout_summary(one, now) for one in page.items),
            is_first=before is None,
            next_before=page.cursor,
        ),
    )


@router.get("/deployments/{name}/rollouts/{number}")
async def show_rollout(request: Request, name: str, number: int) -> HTMLResponse:
    """Show a rollout with its events, oldest first."""
    who, person = await looking(request)
    parts = parts_of(request)
    record = await read_rollout(parts.service, who, number, deployment=name)
    events = await read_rollout_events(parts.service, who, record, limit=SHOWN_EVENTS)
    stream = None if record.outcome is not None else f"/changes?deployment={quote(name, safe='')}"
    return HTMLResponse(
        render(
            "rollout",
            person,
            stream,
            rollout=rollout_summary(record, datetime.now(UTC), errors=errors_told(events).get(record.rollout, ())),
            events=rollout_event_rows(record, events),
            workflow=workflow_link(parts.workflows_url, record),
        ),
    )


@router.post("/deployments/{name}/{verb}")
async def decide(request: Request, name: str, verb: str) -> Response:
    """Carry a decision out, and show the deployment with what came of it."""
    form = await own_form(request)
    who, _ = await looking(request)
    try:
        notice = await _carry_out(parts_of(request), who, name, verb, form)
    except RefusedError as error:
        if error.refusal.code is RefusalCode.FORBIDDEN:
            raise
        notice = Notice(tone=Tone.BAD, text=str(error.refusal)[:LONGEST_NOTICE])
    return to_page(request, f"/deployments/{quote(name, safe='')}", notice)


def to_page(request: Request, path: str, notice: Notice) -> Response:
    """Return to a page of the console, which says what came of a form."""
    response = RedirectResponse(path, status_code=HTTPStatus.SEE_OTHER)
    # Without the padding, for which a cookie's value would have to stand in quotes.
    kept = base64.urlsafe_b64encode(notice.model_dump_json().encode()).decode().rstrip("=")
    parts_of(request).sessions.keep_notice(request, response, kept, _NOTICE_SECONDS)
    return response


def page_with_notice(request: Request, template: str, person: Person, **values: object) -> HTMLResponse:
    """Return a page with what came of a form of this session, which is told once."""
    notice = notice_of(request)
    response = HTMLResponse(render(template, person, None, notice=notice, **values))
    if notice is not None:
        parts_of(request).sessions.forget_notice(response)
    return response


async def _carry_out(parts: ApiParts, who: Principal, name: str, verb: str, form: dict[str, str]) -> Notice:
    command = command_named(verb)
    if command is None or command.form is None:
        raise refuse(RefusalCode.UNKNOWN_MESSAGE, "there is no such decision", "look at the deployment's page")
    request_id = form.get("request_id") or None
    request = request_of(command, form, name)
    return command.notice(await parts.service.carry_out(command, who, request, subject=name, request_id=request_id))


async def looking(request: Request) -> tuple[Principal, Person]:
    """Return who looks, for the service and for the page."""
    parts = parts_of(request)
    text = parts.sessions.text(request)
    if not text:
        raise LoginNeededError
    principal = await parts.guessing.check(request, text, parts.sessions.principal_of)
    if principal is None:
        raise LoginNeededError
    who = parts.authenticator.admit(principal)
    return who, Person(name=who.name, roles=tuple(role.value for role in who.roles), csrf=csrf_of(text))


async def own_form(request: Request) -> dict[str, str]:
    """Return the fields of a form that one of the console's own pages has sent in this session.

    Raises:
        HttpRefusal: another site has made the form.
        LoginNeededError: there is no session.

    """
    _check_origin(request)
    text = parts_of(request).sessions.text(request)
    if not text:
        raise LoginNeededError
    form = await read_form(request)
    if not is_own_form(text, form.get("csrf", "")):
        raise _foreign_form()
    return form


def _check_origin(request: Request) -> None:
    """Refuse a form of another site, where the browser says so.

    Another port of the same host is another site too, although cookies are by host: a model's router may stand there.
    """
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    foreign = origin is not None and origin not in {f"http://{host}", f"https://{host}"}
    if foreign or request.headers.get(_FETCH_SITE, "same-origin") not in _OWN_SITES:
        raise _foreign_form()


def _foreign_form() -> HttpRefusal:
    return HttpRefusal(
        HTTPStatus.FORBIDDEN,
        "FOREIGN_FORM",
        "the form was not made by this console for this session",
        "open the page again and send it from there",
    )


def notice_of(request: Request) -> Notice | None:
    """Return what came of a decision of this session; what another page or server has put there is left out."""
    kept = parts_of(request).sessions.notice(request)
    padding = "=" * (-len(kept) % 4)
    return Notice.model_validate_json(base64.urlsafe_b64decode(kept + padding)) if kept else None


def _to_login(request: Request) -> Response:
    """Ask whoever is unknown to log in.

    A browser that follows another site's link leaves the cookie out of the first request. So it is shown a page that
    leads to the same address once more, which is then asked for from here.
    """
    if request.method == "GET" and request.headers.get(_FETCH_SITE, "same-origin") not in _OWN_SITES:
        return HTMLResponse(render("again", None, address=quote(_local(request.url.path))))
    path = request.url.path if request.method == "GET" else "/"
    response = RedirectResponse(f"/login?next={quote(path, safe='')}", status_code=HTTPStatus.SEE_OTHER)
    sessions = parts_of(request).sessions
    if sessions.text(request):
        sessions.forget(response)
    return response


def _local(path: str) -> str:
    """Return a path of this console; anything that leads elsewhere becomes the list."""
    leads_elsewhere = path.startswith(("//", "/\\")) or not path.isprintable()
    return path if path.startswith("/") and not leads_elsewhere else "/"


def _error_page(status: int, text: str, next_step: str) -> HTMLResponse:
    title = "Not found" if status == HTTPStatus.NOT_FOUND else "Refused"
    return HTMLResponse(
        render("error", None, title=title, text=text, next_step=next_step, back="/"),
        status_code=status,
    )
