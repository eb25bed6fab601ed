"""``celadon deploy`` and ``celadon rollout start``: a request becomes a rollout."""

import uuid

import typer

from celadon.cli.access.opening import open_access
from celadon.cli.access.protocol import Access
from celadon.cli.deployment_file import (
    read_deployment_file,
    read_policy_file,
    request_of_content,
    with_policy,
    with_settings,
)
from celadon.cli.faults import CommandError
from celadon.cli.giving import CommandArguments, as_text
from celadon.cli.output import OutputFormat, confirm, print_note, print_object, print_text
from celadon.cli.patience import Patience
from celadon.cli.planning import look_first, show_plan, tell_already_there
from celadon.cli.target import TargetChoice
from celadon.cli.waiting import until_its_turn
from celadon.cli.watching import watch_until_end
from celadon.client.patience import NoAnswerError
from celadon.domain.language.commands import UNDECLARED
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RolloutId
from celadon.domain.language.next_rollout import StartState
from celadon.domain.language.plan import Plan
from celadon.ending import ExitCode
from celadon.service.command import AnyCommand
from celadon.service.commands.start import COMMAND as START
from celadon.service.commands.start import StartResult
from celadon.service.file_places import Content


async def deploy(
    command: AnyCommand, arguments: CommandArguments, target: TargetChoice, output: OutputFormat
) -> ExitCode:
    """Start a rollout from a deployment file, and say first what it changes; nothing is started when nothing does.

    Raises:
        BadParameter: a setting cannot be written into the file's content.
        CommandError: the file cannot be read, or there is no Celadon.
        RefusedError: the request or the rollout was refused.

    """
    del command
    request = content_request(_file_content(arguments), arguments)
    async with open_access(target) as access:
        request, by = await _asked_by(access, request, arguments)
        if arguments.more["dry_run"]:
            return await show_plan(access, request, by, output)
        plan = await look_first(access, request, by, output)
        # A repeat with the same id gets the first answer, whatever is live meanwhile.
        if plan.already_there and not request.restart and arguments.request_id is None:
            return await _leave(access, plan, arguments, output)
        return await _start(access, request, by, arguments, output)


async def plan_file(
    command: AnyCommand, arguments: CommandArguments, target: TargetChoice, output: OutputFormat
) -> ExitCode:
    """Say what a rollout of a deployment file would do; errors as for a start."""
    del command
    request = content_request(_file_content(arguments), arguments)
    async with open_access(target) as access:
        return await show_plan(access, *await _asked_by(access, request, arguments), output)


async def start_revision(
    command: AnyCommand, arguments: CommandArguments, target: TargetChoice, output: OutputFormat
) -> ExitCode:
    """Start a rollout to a revision that the deployment has had before; errors as for a file."""
    del command
    request = content_request(Content({}, {}), arguments)
    async with open_access(target) as access:
        request, by = await _asked_by(access, request, arguments)
        if arguments.more["dry_run"]:
            return await show_plan(access, request, by, output)
        return await _start(access, request, by, arguments, output)


def _file_content(arguments: CommandArguments) -> Content:
    """Return what the files say, with a policy file under the policy that the deployment file gives itself."""
    content = read_deployment_file(arguments.more["file"])
    policy_file = arguments.more["policy_file"]
    return content if policy_file is None else with_policy(content, read_policy_file(policy_file))


def content_request(content: Content, arguments: CommandArguments) -> RolloutRequest:
    """Return the request: the content, with what the options say instead.

    Raises:
        BadParameter: a setting cannot be written into the content.
        RefusedError: the content is no request.

    """
    try:
        content = with_settings(content, arguments.more["settings"] or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
    # What is only on or off is not switched off by an option that is not given.
    content.update({name: value for name, value in arguments.values.items() if value is not False})
    return request_of_content(content)


async def _asked_by(access: Access, request: RolloutRequest, arguments: CommandArguments) -> tuple[RolloutRequest, str]:
    """Return the request with who asks, and who that is."""
    person = await who_asks(access, request.requested_by, arguments.by)
    return request.model_copy(update={"requested_by": person}), person


async def _start(
    access: Access, request: RolloutRequest, person: str, arguments: CommandArguments, output: OutputFormat
) -> ExitCode:
    """Start a rollout, and follow it to its end if told so."""
    name = request.deployment
    if request.replicas == 0 and not arguments.more["yes"]:
        await _confirm_that_nothing_is_served(access, name)
    request_id = arguments.request_id or str(uuid.uuid4())
    try:
        started = await access.give(START, "", request, by=person, request_id=request_id)
    except NoAnswerError as error:
        raise CommandError(
            f"{error}; to learn what became of it, give the same command with --request-id {request_id}",
        ) from error
    if not arguments.wait or output is OutputFormat.TEXT:
        _tell(started, output)
    if not arguments.wait:
        return ExitCode.DONE
    if started.state is not StartState.STARTED:
        return await _follow_what_is_there(access, started, arguments, output)
    if started.rollout is None:
        raise CommandError(
            f"the rollout of {name} cannot be waited for, because no worker takes it up; start one "
            f"with 'celadon worker', then follow it with 'celadon rollout watch {name}'",
        )
    await _tell_of_gate(access, started)
    return await _follow(access, name, started.rollout, arguments, output)


async def _confirm_that_nothing_is_served(access: Access, name: str) -> None:
    """Ask before a rollout to no replica takes traffic away.

    Raises:
        Abort: the answer is no.
        BadParameter: there is no terminal to ask on.

    """
    try:
        view = await access.deployment(name)
    except RefusedError as error:
        if error.refusal.code is not RefusalCode.NO_SUCH_DEPLOYMENT:
            raise
        return
    if view.live_set is not None and view.replicas > 0:
        confirm(f"{name} then serves nothing: its address answers 503. Roll out 0 replicas?")


async def _follow_what_is_there(
    access: Access, started: StartResult, arguments: CommandArguments, output: OutputFormat
) -> ExitCode:
    """Wait for the end of what waits for its turn, or of what is under way to the same."""
    name, rollout = started.deployment, started.rollout
    if started.waiting is not None:
        what = f"r{started.waiting.revision} of {name} has not begun"
        async with Patience(arguments.timeout).waiting(what, f"it waits on; see 'celadon rollout status {name}'"):
            rollout = await until_its_turn(access, name, started.waiting)
    if rollout is None:
        return ExitCode.DONE
    return await _follow(access, name, rollout, arguments, output)


async def _leave(access: Access, plan: Plan, arguments: CommandArguments, output: OutputFormat) -> ExitCode:
    """Start nothing; whoever waits for the end waits for that of the rollout that is under way to the same."""
    is_followed = arguments.wait and plan.rollout is not None
    if not is_followed or output is OutputFormat.TEXT:
        tell_already_there(plan, output)
    if not is_followed or plan.rollout is None:
        return ExitCode.DONE
    return await _follow(access, plan.deployment, plan.rollout, arguments, output)


async def _follow(
    access: Access, name: str, rollout: RolloutId, arguments: CommandArguments, output: OutputFormat
) -> ExitCode:
    what = f"rollout {rollout} of {name} has not ended"
    instead = f"it goes on; follow it with 'celadon rollout watch {name}'"
    async with Patience(arguments.timeout).waiting(what, instead):
        return await watch_until_end(access, name, rollout, output)


async def _tell_of_gate(access: Access, started: StartResult) -> None:
    """Say that a first revision waits for its promotion, which whoever waits for its end may not expect."""
    if started.rollout is None or started.from_revision is not None:
        return
    record = await access.rollout(started.deployment, started.rollout)
    if record is not None and record.gated and record.outcome is None:
        print_note(
            f"the policy lets this first revision of {started.deployment} wait before it goes live; 'celadon rollout "
            f"status {started.deployment}' says what for, and 'celadon promote {started.deployment}' lets it go live"
        )


async def who_asks(access: Access, in_file: str, name: str | None) -> str:
    """Return who asks: who the token says, else the name that was given, that the file gives, or the login name."""
    if access.names_people:
        person = await access.person(name)
        if in_file not in {UNDECLARED, person}:
            print_note(f"the file says that {in_file} asks; the token is {person}'s, so the audit log says {person}")
        return person
    return await access.person(name or (None if in_file == UNDECLARED else in_file))


def _tell(started: StartResult, output: OutputFormat) -> None:
    if output.is_for_programs:
        print_object(started, output)
        return
    print_text(*as_text(START.summary(started)))
