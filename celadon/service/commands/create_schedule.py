"""Let a command be given at a moment, or again and again."""

# ruff: noqa: PLC0415 - declaring a command needs neither a database nor Temporal

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AwareDatetime, Field, JsonValue

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.contracts import schedule_id
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.moments import utc
from celadon.domain.language.permissions import Verb
from celadon.domain.language.scheduling import Argument, CommandName, ScheduleName
from celadon.domain.language.utc_moment import UtcMoment
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal, Tone
from celadon.service.scheduled import scheduled_command, scheduled_request
from celadon.service.typed import pairs_typed

if TYPE_CHECKING:
    from celadon.client.schedules import ScheduleClient
    from celadon.domain.decisions.timetable import Timetable

_SETTLES_WITHIN: Final = 3.0
_LOOKS_AGAIN: Final = 0.1
"""Seconds: how long, and how often, Temporal is asked for a firing of a schedule that fires at this moment."""

_MISSED: Final = "its moment passed while it was made"


class CreateScheduleRequest(StrictModel):
    """A schedule that is to be; give ``at`` or ``cron``."""

    schedule: ScheduleName
    """The schedule's name among those of its deployment."""
    command: CommandName
    """The command that it gives, such as ``promote``."""
    argument: Argument | None = None
    """What the command says, by key, as its own request does."""
    at: UtcMoment | None = None
    """The one moment at which it fires, with the zone."""
    cron: Annotated[str, Field(max_length=200)] = ""
    """Its minutes, as a cron expression of five fields; it then fires again and again."""
    zone: Annotated[str, Field(max_length=100)] = "UTC"
    """The time zone of ``cron``, by its name in the IANA database."""
    reason: Reason = ""


class CreateScheduleResult(Record):
    """The answer to a new schedule."""

    deployment: str
    """The deployment's name."""
    schedule: str
    """The schedule's name."""
    schedule_id: str
    """The schedule's id in Temporal."""
    command: str
    """The command that it gives."""
    created: bool
    """False when there was the same one already."""
    signed: bool
    """Whether it fires as its author; else each firing is judged as an unsigned message is."""
    next_at: AwareDatetime | None
    """When it fires next, as Temporal has it; nothing when it does not say."""


async def create_schedule(call: Call[CreateScheduleRequest]) -> CreateScheduleResult:
    """Keep a schedule for its author, and let Temporal fire it. Twice creates it once."""
    from celadon.table.records.schedules import NewSchedule
    from celadon.table.rollouts.schedules import create_schedule as keep_schedule
    from celadon.table.rollouts.schedules import delete_schedule as forget_schedule
    from celadon.table.rollouts.schedules import forget_fired

    request, service, who = call.request, call.service, call.who
    command, argument = scheduled_command(request.command), request.argument or {}
    asked = scheduled_request(command, call.subject, argument)
    rights = command.rights_for(asked)
    who.require(rights)
    timetable = _timetable(request)
    wanted = NewSchedule(
        deployment=call.subject,
        name=request.schedule,
        command=command.verb,
        argument=argument,
        at=None if request.at is None else request.at.replace(microsecond=0),
        cron=request.cron,
        zone="UTC" if timetable is None else timetable.zone.key,
    )
    author = service.author_of_schedule(who, request.reason)
    async with service.serving(call, [Verb.SCHEDULE, *rights]) as tx:
        created = await keep_schedule(
            tx,
            wanted,
            author,
            roles=who.roles,
            scope=who.scope,
            told=service.author(who, request.reason),
        )
        forgotten = await forget_fired(tx, call.subject)
    schedules, identity = (await service.rollout_client()).schedules, schedule_id(call.subject, request.schedule)
    ask: dict[str, JsonValue] = {
        "deployment": call.subject,
        "command": command.verb,
        "argument": argument,
    }
    # The row comes first: a schedule that Temporal fires without one does nothing.
    await schedules.create(
        identity,
        ask,
        at=wanted.at,
        timetable=timetable,
        told=f"{command.verb} {call.subject}, for {author.by}",
        replace=created,
    )
    for name in forgotten:
        # Where that fails, Temporal removes it by itself 7 days after it has fired.
        await schedules.delete(schedule_id(call.subject, name))
    known = await schedules.find(identity, call.subject)
    if (
        wanted.at is not None
        and wanted.at <= datetime.now(UTC)
        and await _has_missed(schedules, identity, call.subject)
    ):
        async with service.serving(call, [Verb.SCHEDULE]) as tx:
            await forget_schedule(tx, call.subject, request.schedule, service.author(who, _MISSED))
        await schedules.delete(identity)
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the moment {utc(wanted.at)} passed while the schedule was made, so that it never fires",
            "name a later one, or give the command itself",
        )
    return CreateScheduleResult(
        deployment=call.subject,
        schedule=request.schedule,
        schedule_id=identity,
        command=command.verb,
        created=created,
        signed=author.verified,
        next_at=None if known is None else known.next_at,
    )


async def _has_missed(schedules: "ScheduleClient", identity: str, deployment: str) -> bool:
    """Whether a schedule's one moment had passed before Temporal knew it: it fires no more, and has never fired."""
    patience = time.monotonic() + _SETTLES_WITHIN
    while time.monotonic() < patience:
        known = await schedules.find(identity, deployment)
        if known is None or known.paused or known.next_at is not None or known.last is not None:
            return False
        # One that fires at this moment says neither for a while.
        await asyncio.sleep(_LOOKS_AGAIN)
    return True


def _timetable(request: CreateScheduleRequest) -> "Timetable | None":
    """Return the timetable of a schedule, or ``None`` for one that fires once.

    Raises:
        RefusedError: it has neither, or both; or it could never fire.

    """
    from celadon.domain.decisions.expiry import refuse_far
    from celadon.domain.decisions.timetable import read_timetable

    if (request.at is None) == (not request.cron):
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            "a schedule fires once or again and again",
            "give 'at', a moment with its zone, or 'cron', such as '0 3 * * mon-fri'",
        )
    if request.at is not None:
        if request.at <= datetime.now(UTC):
            raise refuse(
                RefusalCode.INVALID_PAYLOAD,
                f"the moment {utc(request.at)} has passed",
                "name one that is to come, or give the command itself",
            )
        far = refuse_far("at", request.at, datetime.now(UTC))
        if far is not None:
            raise RefusedError(far)
        return None
    try:
        return read_timetable(request.cron, request.zone)
    except ValueError as error:
        raise refuse(RefusalCode.INVALID_PAYLOAD, f"cron or zone: {error}", "correct it") from error


def _summary(result: CreateScheduleResult) -> tuple[Line, ...]:
    when = "" if result.next_at is None else f"; next at {utc(result.next_at)}"
    done = "is made" if result.created else "is there already, and the same"
    lines = [Line(text=f"Schedule {result.schedule} of {result.deployment} {done}: {result.command}{when}.")]
    if not result.signed:
        text = "Nobody vouches for its author: it may do what an unsigned message may do."
        lines.append(Line(text=text, tone=Tone.WARN))
    lines.append(Line(text=f"See: celadon schedule list {result.deployment}"))
    return tuple(lines)


def _arguments(given: Any) -> dict[str, JsonValue]:  # noqa: ANN401 - what was typed
    """Return what a command says, of words such as ``revision=2``: JSON where it is some, else text."""
    return {
        name: _value(text)
        for name, text in pairs_typed(given, "--argument", "KEY=VALUE, for example revision=2").items()
    }


def _value(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def _wrong(typed: Mapping[str, Any]) -> tuple[str, str] | None:
    if bool(typed["at"]) == bool(typed["cron"]):
        return "give --at for one moment, or --cron for many", ""
    return None


COMMAND = Command(
    verb="create_schedule",
    scope=Scope.DEPLOYMENT,
    place=110,
    about="Let Temporal give a command at a moment, or again and again. Twice creates it once.",
    right=Verb.SCHEDULE,
    more_rights=lambda request: (scheduled_command(request.command).right,),
    request=CreateScheduleRequest,
    result=CreateScheduleResult,
    run=create_schedule,
    summary=_summary,
    rest=Rest(
        path="/deployments/{name}/schedules",
        status=201,
        takes_id=False,
        twice_is_once=True,
        about="""Let Temporal give a command at a moment, or again and again.

        Each firing is judged by what its author may do then. A firing that is more than ten minutes late, and one that
        is refused, fails, and the list of schedules says why.
        """,
    ),
    graph=Graph(
        mutation="create_schedule",
        about_input="A schedule that is to be: ``at`` a moment, or by ``cron`` again and again.",
        about_payload="A schedule is there.",
        about_answer="The schedule that is there, or why it was not created.",
        shown={
            "deployment": "@deployment",
            "schedule": "schedule",
            "schedule_id": "schedule_id",
            "created": "created",
            "signed": "signed",
            "next_at": "next_at",
        },
    ),
    terminal=Terminal(
        words=("schedule", "create"),
        check=_wrong,
        options={
            "schedule": Option(help="The schedule's name.", metavar="SCHEDULE", is_argument=True),
            "command": Option(
                help="The command: abort, finish, pause, promote, reschedule, resume, rollback, scale or start.",
                metavar="COMMAND",
                is_argument=True,
            ),
            "argument": Option(
                help="What the command says, such as revision=2. May be repeated.",
                metavar="KEY=VALUE",
                parse=_arguments,
            ),
            "at": Option(help="Fire once, such as 2026-12-01T03:00:00+01:00.", metavar="MOMENT"),
            "cron": Option(help="Fire again and again, such as '0 3 * * mon-fri'.", metavar="CRON"),
            "zone": Option(help="The time zone of --cron.", metavar="ZONE"),
        },
        help="""Let Temporal give a command at a moment, or again and again.

        Each firing counts for you and is judged by what you may do then. A firing that is more than ten minutes late
        is dropped, and one that is refused fails: 'celadon schedule list' says why.

        Examples:
        ```console
        celadon schedule create chat tonight promote --at "$(date -Iseconds -d 'tomorrow 03:00')"
        celadon schedule create chat evening scale --argument replicas=1 --cron "0 20 * * mon-fri" --zone Europe/Berlin
        celadon schedule create chat nightly start --argument revision=2 --cron "0 3 * * *"
        ```
        """,
    ),
)
