"""Let a schedule fire no more."""

# ruff: noqa: PLC0415 - declaring a command needs neither a database nor Temporal

from typing import Annotated

from pydantic import Field

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import Reason
from celadon.domain.language.contracts import schedule_id
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.limits import quoted
from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal


class DeleteScheduleRequest(StrictModel):
    """Asks for a schedule to fire no more."""

    schedule: Annotated[str, Field(min_length=1, max_length=200)]
    """The schedule's name, or the id in Temporal of one that was made there."""
    reason: Reason = ""


class DeleteScheduleResult(Record):
    """The answer to the end of a schedule."""

    deployment: str
    """The deployment's name."""
    schedule: str
    """The schedule's name, or its id in Temporal."""
    was_kept: bool
    """Whether Celadon knew its author."""
    was_in_temporal: bool
    """Whether Temporal had it."""


async def delete_schedule(call: Call[DeleteScheduleRequest]) -> DeleteScheduleResult:
    """Delete a schedule here and in Temporal, wherever it still is."""
    from celadon.table.rollouts.schedules import delete_schedule as forget_schedule

    name = call.request.schedule
    schedules = (await call.service.rollout_client()).schedules
    author = call.service.author(call.who, call.request.reason)
    # First the row: from then on no firing counts, whatever Temporal does.
    async with call.service.serving(call, [Verb.SCHEDULE]) as tx:
        was_kept = await forget_schedule(tx, call.subject, name, author)
    identity = schedule_id(call.subject, name)
    was_there = await schedules.delete(identity)
    if not was_kept and not was_there and await schedules.find(name, call.subject) is not None:
        was_there = await schedules.delete(name)
    if not was_kept and not was_there:
        raise refuse(
            RefusalCode.NO_SUCH_SCHEDULE,
            f"{call.subject} has no schedule {quoted(name)}",
            f"list them with: celadon schedule list {call.subject}",
        )
    return DeleteScheduleResult(
        deployment=call.subject,
        schedule=name,
        was_kept=was_kept,
        was_in_temporal=was_there,
    )


def _summary(result: DeleteScheduleResult) -> tuple[Line, ...]:
    already = "" if result.was_in_temporal else "; Temporal had it no more"
    return (Line(text=f"Schedule {result.schedule} of {result.deployment} is deleted{already}."),)


COMMAND = Command(
    verb="delete_schedule",
    scope=Scope.DEPLOYMENT,
    place=120,
    about="Let a schedule fire no more, also one that is left in Temporal alone or here alone.",
    right=Verb.SCHEDULE,
    request=DeleteScheduleRequest,
    result=DeleteScheduleResult,
    run=delete_schedule,
    summary=_summary,
    rest=Rest(
        method="DELETE",
        path="/deployments/{name}/schedules",
        in_query=True,
        takes_id=False,
    ),
    graph=Graph(
        mutation="delete_schedule",
        about_input="Asks for a schedule to fire no more.",
        about_payload="A schedule is gone.",
        about_answer="Where the schedule was, or why it was not deleted.",
        shown={
            "deployment": "@deployment",
            "schedule": "schedule",
            "was_kept": "was_kept",
            "was_in_temporal": "was_in_temporal",
        },
    ),
    terminal=Terminal(
        words=("schedule", "delete"),
        options={
            "schedule": Option(
                help="The schedule's name, or its id in Temporal.", metavar="SCHEDULE", is_argument=True
            ),
        },
        help="""Delete a schedule; one that was made in Temporal, or is left there, is named by its id.

        Examples:
        ```console
        celadon schedule delete chat nightly --reason "we promote by hand again"
        celadon schedule delete chat their-own-id
        ```
        """,
    ),
)
