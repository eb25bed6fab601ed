"""``celadon deployment delete``: ends the rollout under way if told so, deletes, and waits if told so."""

from celadon.cli.access.opening import open_access
from celadon.cli.access.protocol import Access
from celadon.cli.faults import CommandError
from celadon.cli.giving import CommandArguments, as_text, request_of
from celadon.cli.output import OutputFormat, print_note, print_object, print_text
from celadon.cli.patience import Patience, a_moment, outlasting
from celadon.cli.target import TargetChoice
from celadon.client.patience import NoAnswerError
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import RolloutId
from celadon.domain.language.states import DeploymentLifecycle
from celadon.ending import ExitCode
from celadon.service.command import AnyCommand
from celadon.service.commands.delete import DeleteResult, told_schedules
from celadon.table.records.deployments import DeploymentView


async def delete(
    command: AnyCommand, arguments: CommandArguments, target: TargetChoice, output: OutputFormat
) -> ExitCode:
    """Delete a deployment.

    Raises:
        CommandError: Celadon is not there, nobody answered, or it took longer than the person would wait.
        RefusedError: there is no such deployment, or a rollout is under way and was not to be aborted.

    """
    name = arguments.subject
    patience = Patience(arguments.timeout)
    async with open_access(target) as access:
        by = await access.person(arguments.by)
        answer = await _delete(access, command, arguments, by, patience)
        view = await access.deployment(name)
        if not view.keeper_alive and view.lifecycle is not DeploymentLifecycle.DESTROYED:
            print_note("no keeper is at work: start a worker ('celadon worker'), or its replicas run on")
        async with patience.waiting(f"the replicas of {name} did not stop", f"it goes on: {_see(name)}"):
            while arguments.wait and view.lifecycle is DeploymentLifecycle.DESTROYING:
                await a_moment()
                view = await outlasting(lambda: access.deployment(name))
    if output.is_for_programs:
        print_object(answer.model_copy(update={"lifecycle": view.lifecycle}), output)
    else:
        print_text(_describe(answer, view), *as_text(told_schedules(answer)))
    return ExitCode.DONE


async def _delete(
    access: Access, command: AnyCommand, arguments: CommandArguments, by: str, patience: Patience
) -> DeleteResult:
    """Delete; a rollout that is under way is ended before, and so is one that began meanwhile."""
    name, abort = arguments.subject, bool(arguments.values.get("abort"))
    request = request_of(command, arguments.values)
    while True:
        try:
            result: DeleteResult = await access.give(command, name, request, by=by)
        except RefusedError as error:
            if not abort or error.refusal.code is not RefusalCode.ROLLOUT_RUNNING:
                raise
        except NoAnswerError as error:
            raise CommandError(f"{error}; the same command can be given again") from error
        else:
            return result
        rollout = (await access.deployment(name)).rollout
        if rollout is not None:
            what = f"rollout {rollout.rollout} of {name} did not end"
            async with patience.waiting(what, "it was asked to, but nothing was deleted; give the command again"):
                await _until_ended(access, name, rollout.rollout)


async def _until_ended(access: Access, name: str, rollout: RolloutId) -> None:
    while True:
        record = await outlasting(lambda: access.rollout(name, rollout))
        if record is None or record.outcome is not None:
            return
        await a_moment()


def _see(name: str) -> str:
    return f"celadon deployment show {name}"


def _describe(answer: DeleteResult, view: DeploymentView) -> str:
    name = answer.deployment
    if view.lifecycle is DeploymentLifecycle.DESTROYED:
        done = "is destroyed" if answer.changed else "was destroyed already"
        return f"{name} {done}; its history stays: celadon rollout history {name}"
    if view.lifecycle is not DeploymentLifecycle.DESTROYING:
        return f"{name} was destroyed, and somebody has started it anew since."
    begun = "is being deleted" if answer.changed else "is being deleted already"
    left = sum(len(one.replicas) for one in view.sets)
    return (
        f"{name} {begun}: its address answers 404 once routers serve epoch {answer.epoch}; {left} replicas stop when "
        f"their running requests have ended. See: {_see(name)}"
    )
