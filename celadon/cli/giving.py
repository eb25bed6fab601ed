"""Giving a command that the service declares: what is meant, what came of it, and waiting for the end."""

import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, create_model

from celadon.cli.access.opening import open_access
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_answer, print_note, print_object, print_text
from celadon.cli.patience import Patience
from celadon.cli.target import TargetChoice
from celadon.client.patience import NoAnswerError
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.payload import InvalidPayloadError, parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutOutcome
from celadon.ending import ExitCode
from celadon.service.command import AnyCommand, Line, Scope, Tone, words_of
from celadon.service.file_places import located
from celadon.standard_streams import StyledLine

if TYPE_CHECKING:
    from celadon.cli.access.protocol import Access
    from celadon.service.answers import Decided, TargetRollout
    from celadon.table.records.rollouts import RolloutRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandArguments:
    """A command as a person gave it."""

    subject: str
    """The deployment's or router's name; empty when the request names it."""
    values: Mapping[str, Any]
    """Fields of the request that were given."""
    by: str | None
    request_id: str | None = None
    """A repeat with the same one gets the first answer."""
    wait: bool = False
    timeout: timedelta | None = None
    """How long to wait; for ever when not set."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Switches, and where the request stands (``file``, ``policy_file``, ``settings``), for a hook."""


Hook: TypeAlias = Callable[[AnyCommand, CommandArguments, TargetChoice, OutputFormat], Coroutine[Any, Any, ExitCode]]


def hook_of(place: str) -> Hook:
    """Return what carries a command out in a way of its own."""
    module, _, name = place.partition(":")
    hook: Hook = getattr(import_module(module), name)
    return hook


async def give(
    command: AnyCommand, arguments: CommandArguments, target: TargetChoice, output: OutputFormat
) -> ExitCode:
    """Give a command, and tell what came of it.

    Raises:
        CommandError: there is no Celadon, nobody answered, or it took longer than the person would wait.
        RefusedError: it was refused; it says why.

    """
    if command.scope is Scope.ROLLOUT:
        return await _decide(command, arguments, target, output)
    request = request_of(command, arguments.values)
    async with open_access(target) as access:
        by = await access.person(arguments.by)
        result = await ask(access, command, arguments.subject, request, by=by)
    print_answer(result, output, lambda: as_text(command.summary(result)))
    return ExitCode.DONE


def request_of(command: AnyCommand, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the command's request
    """Return the request that was typed.

    Raises:
        RefusedError: it does not parse; it says where to read what can be typed.

    """
    try:
        return parse_payload(command.request, dict(values))
    except RefusedError as error:
        step = f"see 'celadon {' '.join(words_of(command))} --help'"
        if isinstance(error, InvalidPayloadError):
            raise located(error, values, step) from None
        raise refuse(error.refusal.code, error.refusal.message, step) from None


async def ask(access: "Access", command: AnyCommand, subject: str, request: BaseModel, *, by: str) -> Any:  # noqa: ANN401 - the command's result
    """Give a command that can be given again as it was.

    Raises:
        CommandError: nobody answered.

    """
    try:
        return await access.give(command, subject, request, by=by)
    except NoAnswerError as error:
        raise CommandError(f"{error}; the same command can be given again") from error


async def _decide(
    command: AnyCommand, arguments: CommandArguments, target: TargetChoice, output: OutputFormat
) -> ExitCode:
    """Give a command to the rollout under way, naming which one is meant."""
    name, terminal = arguments.subject, command.terminal
    async with open_access(target) as access:
        under_way = await _find_target_rollout(access, command, arguments)
        named = arguments.values.get("rollout")
        # The number that a person gave is passed on as it is: the rollout itself compares.
        target_rollout = under_way if named is None else under_way.model_copy(update={"rollout": named})
        # Which rollout a command means that needs none is found out where it is carried out.
        pinned = arguments.values.get("rollout") if command.without_rollout else target_rollout.rollout
        values = {**arguments.values, "rollout": pinned}
        if "revision" in command.request.model_fields:
            values["revision"] = arguments.values.get("revision") or target_rollout.revision
        request = request_of(command, {key: one for key, one in values.items() if one is not None})
        by = await access.person(arguments.by)
        request_id = arguments.request_id or str(uuid.uuid4())
        if output is OutputFormat.TEXT and _is_under_way(command, arguments, under_way):
            revision = values.get("revision", target_rollout.revision)
            which = f"r{revision} of {name}" if revision is not None else name
            print_text(f"{terminal.doing} {which}, rollout {target_rollout.rollout}, by {by}.")
        try:
            result: Decided = await access.give(command, name, request, by=by, request_id=request_id)
        except NoAnswerError as error:
            raise _unanswered(error, request_id, name, terminal.signal) from error
        if output is OutputFormat.TEXT:
            print_text(*as_text(command.summary(result)))
        has_begun = command.without_rollout and result.rollout != target_rollout.rollout
        if has_begun:
            target_rollout = target_rollout.model_copy(update={"rollout": result.rollout})
        ended = await _ending(access, arguments, target_rollout, output)
    if output.is_for_programs:
        print_object(_printed(result, request_id, ended), output)
    good_ends = {RolloutOutcome.PROMOTED} if has_begun else terminal.good_ends
    return ExitCode.DONE if ended is None or ended.outcome in good_ends else ExitCode.FAILED


async def _find_target_rollout(access: "Access", command: AnyCommand, arguments: CommandArguments) -> "TargetRollout":
    """Return the rollout under way.

    Raises:
        RefusedError: no rollout is under way.

    """
    try:
        target_rollout = await access.target_rollout(arguments.subject, to_promote=command.right is Verb.PROMOTE)
    except RefusedError as error:
        if not command.without_rollout or error.refusal.code is not RefusalCode.NO_SUCH_ROLLOUT:
            raise
        return no_target_rollout()
    if target_rollout.note:
        print_note(target_rollout.note)
    return target_rollout


def _is_under_way(command: AnyCommand, arguments: CommandArguments, under_way: "TargetRollout") -> bool:
    """Return whether a command is about the rollout under way; any other is refused, so it is not announced."""
    if command.without_rollout and under_way.rollout is None:
        return False
    rollout, revision = arguments.values.get("rollout"), arguments.values.get("revision")
    return rollout in {None, under_way.rollout} and revision in {None, under_way.revision}


async def _ending(
    access: "Access", arguments: CommandArguments, target_rollout: "TargetRollout", output: OutputFormat
) -> "RolloutRecord | None":
    """Wait for the rollout's end when the person wants to, and return it."""
    if not arguments.wait or target_rollout.rollout is None:
        return None
    from celadon.cli.watching import follow_to_end  # noqa: PLC0415 - who does not wait follows nothing

    what = f"rollout {target_rollout.rollout} of {arguments.subject} has not ended"
    instead = f"it goes on; follow it with 'celadon rollout watch {arguments.subject}'"
    async with Patience(arguments.timeout).waiting(what, instead):
        return await follow_to_end(access, arguments.subject, target_rollout.rollout, output)


def no_target_rollout() -> "TargetRollout":
    """Return what a command means that can be given while no rollout is under way."""
    from celadon.service.answers import TargetRollout  # noqa: PLC0415 - most commands mean a rollout

    return TargetRollout()


def _printed(result: "Decided", request_id: str, ended: "RolloutRecord | None") -> BaseModel:
    """Return what ``-o json`` prints of a decision: the result, under which id it was asked for, and the end."""
    values = dict(result)
    answer = values.pop("answer", None)
    values |= {"request_id": request_id, "ended": ended} | ({} if answer is None else {"answer": answer})
    fields: dict[str, Any] = dict.fromkeys(values, (Any, ...))
    printed: BaseModel = create_model("Decision", **fields)(**values)
    return printed


def _unanswered(error: NoAnswerError, request_id: str, deployment: str, signal: str) -> CommandError:
    """Say how to learn the answer, and the way for a person who cannot wait; a promotion is never stored up so."""
    instead = (
        f"; to have it done as soon as a worker runs: temporal workflow signal -w {workflow_id(deployment)} "
        f"--name {signal}"
        if signal
        else ""
    )
    return CommandError(
        f"{error}; what no worker has taken by now lapses; to learn the answer to what one has taken, add "
        f"--request-id {request_id}{instead}",
    )


_STYLES = {Tone.DONE: "bold green", Tone.WARN: "bold yellow", Tone.BAD: "bold red"}


def as_text(lines: tuple[Line, ...]) -> tuple[str | StyledLine, ...]:
    """Return lines as a terminal shows them."""
    return tuple(
        StyledLine(line.strong, _STYLES[line.tone]).append(line.text) if line.strong else line.text for line in lines
    )
