"""``celadon deploy`` and ``celadon rollout start``: a request becomes a rollout."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

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
from celadon.cli.giving import as_text
from celadon.cli.output import OutputFormat, confirm, print_note, print_object, print_text
from celadon.cli.patience import Patience
from celadon.cli.planning import look_first, show_plan, tell_already_there
from celadon.cli.target_choice import TargetChoice
from celadon.cli.waiting import until_its_turn
from celadon.cli.watching import watch_until_end
from celadon.client.patience import NoAnswerError
from celadon.domain.language.base_models import Record
from celadon.domain.language.commands import UNDECLARED
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RolloutId
from celadon.domain.language.next_rollout import StartState
from celadon.domain.language.plan import Plan
from celadon.ending import ExitCode
from celadon.service.commands.start import COMMAND as START
from celadon.service.commands.start import StartResult
from celadon.service.file_places import Content


class Start(Record):
    """How a rollout is to be started, beside its content."""

    settings: tuple[str, ...] = ()
    requested_by: str | None = None
    reason: str | None = None
    allow_plain_secrets: bool = False
    wait: bool = False
    timeout: timedelta | None = None
    """How long to wait for the end; for ever when not set."""
    request_id: str | None = None
    """A repeat with the same one finds the rollout that the first one started."""
    dry_run: bool = False
    """Only say what would happen."""
    looks_first: bool = False
    """Say what changes before anything is started, and start nothing when nothing does."""
    restart: bool = False
    """Start it even when nothing changes."""
    confirmed: bool = False
    """Do not ask before traffic is taken away."""


async def deploy_file(
    file: Path,
    policy_file: Path | None,
    start: Start,
    target: TargetChoice,
    output: OutputFormat,
) -> ExitCode:
    """Start a rollout from a deployment file, with a policy file under the policy that it gives itself.

    Raises:
        CommandError: the file cannot be read, or there is no Celadon.
        RefusedError: the request or the rollout was refused.

    """
    content = read_deployment_file(file)
    if policy_file is not None:
        content = with_policy(content, read_policy_file(policy_file))
    return await _start(content, start, target, output)


async def deploy_revision(
    content: Mapping[str, object],
    start: Start,
    target: TargetChoice,
    output: OutputFormat,
) -> ExitCode:
    """Start a rollout to a revision that the deployment has had before; errors as for a file."""
    return await _start(Content(content, {}), start, target, output)


async def _start(content: Content, start: Start, target: TargetChoice, output: OutputFormat) -> ExitCode:
    request = _request(content, start)
    name = request.deployment
    async with open_access(target) as access:
        person = await who_asks(access, request.requested_by, start.requested_by)
        request = request.model_copy(update={"requested_by": person})
        if start.dry_run:
            return await show_plan(access, request, person, output)
        if start.looks_first:
            plan = await look_first(access, request, person, output)
            # A repeat with the same id gets the first answer, whatever is live meanwhile.
            if plan.already_there and not request.restart and start.request_id is None:
                return await _leave(access, plan, start, output)
        if request.replicas == 0 and not start.confirmed:
            await _confirm_that_nothing_is_served(access, name)
        request_id = start.request_id or str(uuid.uuid4())
        try:
            started = await access.give(START, "", request, by=person, request_id=request_id)
        except NoAnswerError as error:
            raise CommandError(
                f"{error}; to learn what became of it, give the same command with --request-id {request_id}",
            ) from error
        if not start.wait or output is OutputFormat.TEXT:
            _tell(started, output)
        if not start.wait:
            return ExitCode.DONE
        if started.state is not StartState.STARTED:
            return await _follow_what_is_there(access, started, start, output)
        if started.rollout is None:
            raise CommandError(
                f"the rollout of {name} cannot be waited for, because no worker takes it up; start one "
                f"with 'celadon worker', then follow it with 'celadon rollout watch {name}'",
            )
        await _tell_of_gate(access, started)
        return await _follow(access, name, started.rollout, start, output)


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


async def _follow_what_is_there(access: Access, started: StartResult, start: Start, output: OutputFormat) -> ExitCode:
    """Wait for the end of what waits for its turn, or of what is under way to the same."""
    name, rollout = started.deployment, started.rollout
    if started.waiting is not None:
        what = f"r{started.waiting.revision} of {name} has not begun"
        async with Patience(start.timeout).waiting(what, f"it waits on; see 'celadon rollout status {name}'"):
            rollout = await until_its_turn(access, name, started.waiting)
    if rollout is None:
        return ExitCode.DONE
    return await _follow(access, name, rollout, start, output)


async def _leave(access: Access, plan: Plan, start: Start, output: OutputFormat) -> ExitCode:
    """Start nothing; whoever waits for the end waits for that of the rollout that is under way to the same."""
    is_followed = start.wait and plan.rollout is not None
    if not is_followed or output is OutputFormat.TEXT:
        tell_already_there(plan, output)
    if not is_followed or plan.rollout is None:
        return ExitCode.DONE
    return await _follow(access, plan.deployment, plan.rollout, start, output)


async def _follow(access: Access, name: str, rollout: RolloutId, start: Start, output: OutputFormat) -> ExitCode:
    what = f"rollout {rollout} of {name} has not ended"
    instead = f"it goes on; follow it with 'celadon rollout watch {name}'"
    async with Patience(start.timeout).waiting(what, instead):
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


def _request(content: Content, start: Start) -> RolloutRequest:
    """Return the request: the content, with what the options say instead.

    Raises:
        BadParameter: a setting cannot be written into the content.
        RefusedError: the content is no request.

    """
    try:
        content = with_settings(content, start.settings)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
    if start.reason is not None:
        content["reason"] = start.reason
    if start.allow_plain_secrets:
        content["allow_plain_secrets"] = True
    if start.restart:
        content["restart"] = True
    return request_of_content(content)


async def who_asks(access: Access, in_file: str, given: str | None) -> str:
    """Return who asks: who the token says, else the name that was given, that the file gives, or the login name."""
    if access.names_people:
        person = await access.person(given)
        if in_file not in {UNDECLARED, person}:
            print_note(f"the file says that {in_file} asks; the token is {person}'s, so the audit log says {person}")
        return person
    return await access.person(given or (None if in_file == UNDECLARED else in_file))


def _tell(started: StartResult, output: OutputFormat) -> None:
    if output.is_for_programs:
        print_object(started, output)
        return
    print_text(*as_text(START.told(started)))
