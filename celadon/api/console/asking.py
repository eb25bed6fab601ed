"""Pages that ask and change what no decision of a rollout does: plans, policies, schedules, and freezes of all."""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from celadon.api.console.forms import policy_typed, read_as, reads_as
from celadon.api.console.pages import LONGEST_NOTICE, ConsoleRoute, looking, own_form, page_with_notice, to_page
from celadon.api.context import ApiParts, parts_of
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.permissions import Verb, rights_of
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.service.command import AnyCommand, Line, Notice, Tone
from celadon.service.commands.create_schedule import COMMAND as CREATE_SCHEDULE
from celadon.service.commands.delete_schedule import COMMAND as DELETE_SCHEDULE
from celadon.service.commands.freeze import COMMAND as FREEZE
from celadon.service.commands.plan import COMMAND as PLAN
from celadon.service.commands.set_defaults import COMMAND as SET_DEFAULTS
from celadon.service.commands.set_policy import COMMAND as SET_POLICY
from celadon.service.commands.unfreeze import COMMAND as UNFREEZE
from celadon.service.principal import Principal
from celadon.service.registry import commands
from celadon.service.views.freezes import freeze_phrases, read_freezes_of_all
from celadon.service.views.policy import (
    ShownPolicy,
    defaults_rows,
    policy_rows,
    read_default_policy,
    read_policy_of,
)
from celadon.service.views.revisions import read_revisions
from celadon.service.views.schedules import read_schedules, schedule_row

_SHOWN_REVISIONS: Final = 50
SHOWN_SCHEDULES: Final = 100
SHOWN_FREEZES: Final = 100
"""More than are possible at once."""
_LONGEST: Final = 10_000

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

Typed = Annotated[str, Query(max_length=_LONGEST)]


@router.get("/deployments/{name}/plan")
async def show_plan(
    request: Request, name: str, revision: Typed = "", replicas: Typed = "", settings: Typed = ""
) -> HTMLResponse:
    """Say what a rollout would do, before anybody asks for it; without a revision only the form is shown."""
    who, person = await looking(request)
    service = parts_of(request).service
    revisions = await read_revisions(service, who, name, before=None, limit=_SHOWN_REVISIONS)
    lines: tuple[Line, ...] = ()
    refused = ""
    if revision:
        try:
            lines = await _plan(parts_of(request), who, name, revision, replicas, settings)
        except RefusedError as error:
            refused = str(error.refusal)
    return page_with_notice(
        request,
        "plan",
        person,
        name=name,
        revisions=tuple(one.number for one in revisions.items),
        asked={"revision": revision, "replicas": replicas, "settings": settings},
        lines=lines,
        refused=refused,
    )


async def _plan(
    parts: ApiParts, who: Principal, name: str, revision: str, replicas: str, settings: str
) -> tuple[Line, ...]:
    asked: dict[str, Any] = {"deployment": name, "revision": reads_as(revision), "policy": policy_typed(settings)}
    if replicas.strip():
        asked["replicas"] = reads_as(replicas)
    request = read_as(PLAN.request, asked)
    return PLAN.summary(await parts.service.carry_out(PLAN, who, request))


@router.get("/deployments/{name}/policy")
async def show_policy(request: Request, name: str) -> HTMLResponse:
    """Show every key of a deployment's policy with its layer, and let admins change it."""
    who, person = await looking(request)
    shown = await read_policy_of(parts_of(request).service, who, name)
    return page_with_notice(request, "policy", person, **_policy(shown, rights_of(who.roles), Verb.SET_POLICY))


@router.post("/deployments/{name}/policy")
async def set_policy(request: Request, name: str) -> Response:
    """Change a deployment's own policy."""
    form = await own_form(request)
    page = f"/deployments/{quote(name, safe='')}/policy"
    return await _told(request, SET_POLICY, name, lambda: _other_keys(form), page)


@router.get("/policy")
async def show_defaults(request: Request) -> HTMLResponse:
    """Show the installation's defaults and their last changes, and let admins change them."""
    who, person = await looking(request)
    shown = await read_default_policy(parts_of(request).service, who)
    return page_with_notice(request, "policy", person, **_policy(shown, rights_of(who.roles), Verb.SET_DEFAULTS))


@router.post("/policy")
async def set_defaults(request: Request) -> Response:
    """Change the installation's defaults."""
    form = await own_form(request)
    return await _told(request, SET_DEFAULTS, "", lambda: _other_keys(form), "/policy")


def _policy(shown: ShownPolicy, rights: Collection[Verb], right: Verb) -> dict[str, object]:
    return {
        "name": shown.deployment,
        "keys": policy_rows(shown.policy),
        "changes": defaults_rows(shown.changes),
        "names": tuple(BlueGreenPolicy.model_fields),
        "may": right in rights,
    }


def _other_keys(form: Mapping[str, str]) -> dict[str, Any]:
    unset = tuple(form.get("unset", "").replace(",", " ").split())
    return {"policy": policy_typed(form.get("settings", "")), "unset": unset, "reason": form.get("reason", "")}


@router.get("/deployments/{name}/schedules")
async def list_schedules(request: Request, name: str, after: Typed | None = None) -> HTMLResponse:
    """Show a deployment's schedules, page after page, and let people make and delete them."""
    who, person = await looking(request)
    listed = await read_schedules(parts_of(request).service, who, name, after=after, limit=SHOWN_SCHEDULES)
    return page_with_notice(
        request,
        "schedules",
        person,
        name=name,
        schedules=tuple(schedule_row(one) for one in listed.items),
        is_first=after is None,
        next_after=listed.cursor,
        left_out=listed.left_out,
        verbs=tuple(one.verb for one in commands() if one.can_be_scheduled),
        may=Verb.SCHEDULE in rights_of(who.roles),
    )


@router.post("/deployments/{name}/schedules")
async def create_schedule(request: Request, name: str) -> Response:
    """Make a schedule."""
    form = await own_form(request)

    def asked() -> dict[str, Any]:
        fields = {key: form[key].strip() for key in ("schedule", "command", "at", "cron", "zone") if form.get(key)}
        argument = policy_typed(form.get("argument", ""))
        return {**fields, **({"argument": argument} if argument else {}), "reason": form.get("reason", "")}

    return await _told(request, CREATE_SCHEDULE, name, asked, _schedules_of(name))


@router.post("/deployments/{name}/schedules/delete")
async def delete_schedule(request: Request, name: str) -> Response:
    """Delete a schedule."""
    form = await own_form(request)
    asked = {"schedule": form.get("schedule", ""), "reason": form.get("reason", "")}
    return await _told(request, DELETE_SCHEDULE, name, lambda: asked, _schedules_of(name))


def _schedules_of(name: str) -> str:
    return f"/deployments/{quote(name, safe='')}/schedules"


@router.get("/freezes")
async def list_freezes(request: Request) -> HTMLResponse:
    """Show the freezes of all deployments, and let people begin and end them; one deployment's stand on its page."""
    who, person = await looking(request)
    read = await read_freezes_of_all(parts_of(request).service, who, limit=SHOWN_FREEZES)
    freezes = freeze_phrases(read.items, "", read.at)
    may = Verb.FREEZE_ALL in rights_of(who.roles) and not who.scope
    return page_with_notice(request, "freezes", person, freezes=freezes, may=may)


@router.post("/freezes")
async def freeze_all(request: Request) -> Response:
    """Freeze all deployments."""
    form = await own_form(request)

    def asked() -> dict[str, Any]:
        moments = {name: form[name].strip() for name in ("begins_at", "ends_at") if form.get(name, "").strip()}
        rollbacks = form.get("rollbacks", "yes") != "no"
        return {"all": True, "rollbacks": rollbacks, **moments, "reason": form.get("reason", "")}

    return await _told(request, FREEZE, "", asked, "/freezes")


@router.post("/freezes/end")
async def unfreeze_all(request: Request) -> Response:
    """End the freezes of all deployments."""
    form = await own_form(request)
    return await _told(request, UNFREEZE, "", lambda: {"all": True, "reason": form.get("reason", "")}, "/freezes")


async def _told(
    request: Request, command: AnyCommand, subject: str, asked: Callable[[], dict[str, Any]], page: str
) -> Response:
    """Give a command that a form asks for, and return to a page that says what came of it.

    Args:
        request: with the form, of a session.
        command: what is given.
        subject: the deployment; empty for a command about none.
        asked: reads the command's request from the form.
        page: where the form stands.

    """
    who, _ = await looking(request)
    try:
        wanted = read_as(command.request, asked())
        result = await parts_of(request).service.carry_out(command, who, wanted, subject=subject)
        notice = command.notice(result)
    except RefusedError as error:
        if error.refusal.code is RefusalCode.FORBIDDEN:
            raise
        notice = Notice(tone=Tone.BAD, text=str(error.refusal))
    return to_page(request, page, notice.model_copy(update={"text": notice.text[:LONGEST_NOTICE]}))
