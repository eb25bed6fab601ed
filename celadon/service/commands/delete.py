"""Take a deployment away."""

# ruff: noqa: PLC0415 - declaring a command needs neither a database nor Temporal

from celadon.domain.language.base_models import Record, StrictModel
from celadon.domain.language.commands import AbortCommand, Reason
from celadon.domain.language.contracts import schedule_id
from celadon.domain.language.names import Epoch
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import DeploymentLifecycle
from celadon.service.change_log import log_change
from celadon.service.command import Call, Command, Graph, Line, Option, Rest, Scope, Terminal, Tone
from celadon.service.deciding import sent_command


class DeleteRequest(StrictModel):
    """Asks for a deployment to be taken away."""

    reason: Reason = ""
    abort: bool = False
    """Also asks a rollout that is under way to end; until it has ended, the delete is refused."""


class DeleteResult(Record):
    """The answer to a delete."""

    deployment: str
    """The deployment's name."""
    lifecycle: DeploymentLifecycle
    """Destroying while replicas drain, then destroyed."""
    epoch: Epoch
    """Routers that serve this epoch answer 404 at its address."""
    changed: bool
    """False when it was being deleted already; then nothing was written."""
    schedules: tuple[str, ...] = ()
    """Names of its schedules: none fires any more."""
    schedules_left: tuple[str, ...] = ()
    """Those of them that Temporal still has, since it did not answer; each of their firings fails."""


_ENDING = (Verb.ABORT, Verb.PROMOTE)
"""With the right to promote: should blue be sick, the bake is finished instead of rolled back."""


async def delete(call: Call[DeleteRequest]) -> DeleteResult:
    """Take a deployment away. Twice does it once."""
    from celadon.table.rollouts.deletion import DeleteOrder
    from celadon.table.rollouts.deletion import delete as delete_deployment

    if call.request.abort:
        await _end_rollout(call)
    author = call.service.author(call.who, call.request.reason)
    async with call.service.serving(call, [Verb.DELETE]) as tx:
        deleted = await delete_deployment(tx, DeleteOrder(deployment=call.subject, **dict(author)))
    if deleted.changed:
        log_change(
            "deleted",
            deployment=call.subject,
            by=call.who.name,
            reason=call.request.reason,
            epoch=deleted.epoch,
        )
    left = await _delete_schedules(call, deleted.schedules)
    return DeleteResult(**dict(deleted), schedules_left=left)


async def _delete_schedules(call: Call[DeleteRequest], names: tuple[str, ...]) -> tuple[str, ...]:
    """Delete a deleted deployment's schedules in Temporal too, and return those that it still has."""
    from celadon.client.connection import TemporalUnreachableError
    from celadon.client.patience import NoAnswerError

    left: list[str] = []
    for name in names:
        try:
            await (await call.service.rollout_client()).schedules.delete(schedule_id(call.subject, name))
        except (NoAnswerError, TemporalUnreachableError):
            left.append(name)
    return tuple(left)


def told_schedules(result: DeleteResult) -> tuple[Line, ...]:
    """Return what is said of the schedules of a deleted deployment; nothing when it had none."""
    lines: list[Line] = []
    if result.schedules:
        lines.append(Line(text=f"Its schedules are deleted: {', '.join(result.schedules)}."))
    if result.schedules_left:
        names = " ".join(schedule_id(result.deployment, name) for name in result.schedules_left)
        text = f"Temporal still has {names}; delete them there with 'temporal schedule delete -s ID'."
        lines.append(Line(text=text, tone=Tone.WARN))
    return tuple(lines)


def _summary(result: DeleteResult) -> tuple[Line, ...]:
    return (Line(text=f"{result.deployment} is {result.lifecycle.value}."), *told_schedules(result))


async def _end_rollout(call: Call[DeleteRequest]) -> None:
    """Ask a rollout that is under way to end, since its deployment is to go."""
    from celadon.client.ending import end_rollout
    from celadon.table.read.history import latest_rollout

    async with call.service.serving(call, [Verb.DELETE, *_ENDING]) as tx:
        latest = await latest_rollout(tx, call.subject)
    if latest is None or latest.outcome is not None:
        return
    reason = call.request.reason
    why = f"the deployment is deleted: {reason}" if reason else "the deployment is deleted"
    command = sent_command(call, AbortCommand, _ENDING).model_copy(
        update={"rollout": latest.rollout, "reason": why},
    )
    await end_rollout(await call.service.rollout_client(), call.subject, command)


COMMAND = Command(
    verb="delete",
    scope=Scope.DEPLOYMENT,
    place=90,
    about="Take a deployment away; refused while a rollout is unfinished.",
    right=Verb.DELETE,
    more_rights=lambda request: _ENDING if request.abort else (),
    request=DeleteRequest,
    result=DeleteResult,
    run=delete,
    summary=_summary,
    asks=lambda name, _: f"{name} then answers 404 and its replicas stop. Delete it?",
    rest=Rest(
        method="DELETE",
        path="/deployments/{name}",
        name="delete_deployment",
        in_query=True,
        takes_id=False,
        twice_is_once=True,
        about="""Take a deployment away: its address answers 404, its replicas drain, then it is destroyed.

        With ``abort`` a rollout that is under way is asked to end; ask again until it has ended.
        """,
    ),
    graph=Graph(
        about_input="Asks for a deployment to be taken away; with abort a rollout is asked to end: ask again until it "
        "has.",
        about_payload="A deployment goes, or is gone.",
        about_answer="How far the delete went, or why it was refused.",
        shown={
            "deployment_id": "deployment",
            "lifecycle": "lifecycle",
            "epoch": "epoch",
            "changed": "changed",
            "schedules": "schedules",
            "schedules_left": "schedules_left",
        },
    ),
    terminal=Terminal(
        words=("deployment", "delete"),
        wait="Wait until its last replica has stopped.",
        timeout="With --wait or --abort: how long to wait at most; what was begun goes on.",
        hook="celadon.cli.deletion:delete",
        check=lambda typed: (
            ("it has no effect without --wait or --abort", "--timeout")
            if typed["timeout"] is not None and not (typed["wait"] or typed["abort"])
            else None
        ),
        options={
            "abort": Option(help="End the rollout under way first; refused while there is one otherwise."),
        },
        help="""Delete a deployment: its address answers 404, running requests are finished, its replicas stop.

        Its history, audit log and revisions stay. A new rollout under the same name starts it anew, once it is
        destroyed.

        Examples:
        ```console
        celadon deployment delete chat --reason "replaced by chat-large"
        celadon deployment delete chat --abort --wait --timeout 20m
        ```
        """,
    ),
)
