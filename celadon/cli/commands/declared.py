"""Commands that the service declares, as commands of the command line."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import typer
from pydantic import BaseModel

from celadon.cli.options import (
    ByOption,
    DeploymentArgument,
    OutputOption,
    ReasonOption,
    ReasonOrFilesOption,
    RequestedByOption,
    RequestIdOption,
    RolloutOption,
    SetOption,
    TimeoutOption,
    YesOption,
    parse_duration_option,
    parse_revision_option,
)
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon
from celadon.domain.language.base_models import field_texts
from celadon.service.command import AnyCommand, Option, Scope, Terminal, terminals_of, words_of
from celadon.service.registry import command_of_words, commands
from celadon.service.typed import TypedWronglyError, pairs_typed

_PLAIN: Final = Option()
_REVISIONS: Final = frozenset({"revision", "to_revision"})
"""Fields that a person types as a revision's number or name."""
_CONTENT: Final = ("file", "policy_file", "settings")
"""Options that say where a request stands, for the hook."""


def names_in(group: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the commands below a group, in the order in which people read them.

    Args:
        group: the words that lead to it; none for the root.

    """
    words = [words_of(one, terminal) for one in commands() for terminal in terminals_of(one) if terminal.is_there]
    return tuple(name for *above, name in words if tuple(above) == group)


def typed_command(words: tuple[str, ...]) -> tuple[Callable[..., None], str | None] | None:
    """Return a command as Typer reads it, with its panel at the root; ``None`` when none is declared so."""
    named = command_of_words(words)
    if named is None or not named[1].is_there:
        return None
    return _typed(*named), named[1].panel if len(words) == 1 else None


def _typed(command: AnyCommand, terminal: Terminal) -> Callable[..., None]:
    """Return a command as Typer reads it."""

    def typed(**given: Any) -> None:  # noqa: ANN401 - the signature below says what each is
        _give(command, terminal, given)

    typed.__name__ = words_of(command, terminal)[-1]
    typed.__doc__ = terminal.help or _help(command)
    parameters = list(_parameters(command, terminal))
    typed.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
    return speaks_to_celadon(typed)


def _help(command: AnyCommand) -> str:
    subject = " NAME" if _subject(command) else ""
    return f"{command.about}\n\nExamples:\n```console\nceladon {' '.join(words_of(command))}{subject}\n```\n"


def _give(command: AnyCommand, terminal: Terminal, given: dict[str, Any]) -> None:
    if terminal.check is not None and (wrong := terminal.check(given)) is not None:
        message, hint = wrong
        raise typer.BadParameter(message, param_hint=hint or None)
    if terminal.wait and not terminal.timeout and given["timeout"] is not None and not given["wait"]:
        raise typer.BadParameter("it has no effect without --wait", param_hint="--timeout")
    from celadon.cli.giving import CommandArguments, give, hook_of

    fields = _fields(command, terminal)
    values = {name: one for name in fields if (one := _value(command, terminal, name, given)) is not None}
    subject = given.get(_subject(command), "")
    arguments = CommandArguments(
        subject=subject,
        values=values,
        by=given["by"],
        request_id=given.get("request_id"),
        wait=given.get("wait", False),
        timeout=given.get("timeout"),
        more={name: given[name] for name in (*_CONTENT, *terminal.switches, "yes") if name in given},
    )
    question = "" if command.asks is None else command.asks(subject, values)
    if question and not given["yes"]:
        from celadon.cli.output import confirm

        confirm(question)
    output = given["output"]
    carry_out = give if not terminal.hook else hook_of(terminal.hook)
    run(lambda: carry_out(command, arguments, given["target"], output), output)


def _value(command: AnyCommand, terminal: Terminal, name: str, given: Mapping[str, Any]) -> object:
    """Return a field's value of what was typed, for the one parser; ``None`` when nothing was."""
    value = given.get(name)
    option = _option(terminal, name)
    parse = option.parse
    if parse is None and value and _kind_of(command.request.model_fields[name].annotation, [])[0] is dict:
        parse = partial(pairs_typed, hint=_flag(option, name))
    if parse is not None:
        try:
            return parse(value or ())
        except TypedWronglyError as error:
            raise typer.BadParameter(str(error), param_hint=error.hint) from error
    if isinstance(value, Path):
        from celadon.cli.deployment_file import read_policy_file
        from celadon.cli.running import faults_told

        with faults_told(given["output"]):
            return read_policy_file(value)
    return value.value if isinstance(value, Enum) else value


def _subject(command: AnyCommand) -> str:
    """Return the name of the argument that says what a command is about; empty when the request says it."""
    if command.scope is not Scope.FLEET:
        return "deployment"
    return "node" if command.terminal.node else ""


def _has_content(terminal: Terminal) -> bool:
    """Whether the request stands elsewhere, so that few of its fields are options."""
    return bool(terminal.file) or terminal.takes_settings


def _fields(command: AnyCommand, terminal: Terminal) -> list[str]:
    """Return the fields that are typed, in the order in which help shows them."""
    fields = command.request.model_fields
    if _has_content(terminal):
        fields = {name: one for name, one in fields.items() if name in terminal.options}
    return sorted(fields, key=lambda one: (not _option(terminal, one).is_argument, one == "reason"))


def _comes_first(command: AnyCommand, terminal: Terminal, name: str) -> bool:
    """Whether a field is typed before what says where the rest of the request stands."""
    must_be_given = _has_content(terminal) and command.request.model_fields[name].is_required()
    return must_be_given or _option(terminal, name).is_argument


def _content(terminal: Terminal) -> Iterator[inspect.Parameter]:
    """Yield the options that say where the request stands."""
    if terminal.file:
        yield _parameter("file", Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help=terminal.file)])
    if terminal.policy_file:
        policy = typer.Option("--policy", metavar="FILE", help=terminal.policy_file)
        yield _parameter("policy_file", Annotated[Path | None, policy], None)
    if terminal.takes_settings:
        yield _parameter("settings", SetOption, None)


def _parameters(command: AnyCommand, terminal: Terminal) -> Iterator[inspect.Parameter]:
    if command.scope is not Scope.FLEET and not terminal.file:
        yield _parameter("deployment", DeploymentArgument)
    elif terminal.node:
        yield _parameter("node", Annotated[str, typer.Argument(help=terminal.node, metavar="NODE")])
    fields = _fields(command, terminal)
    first = [name for name in fields if _comes_first(command, terminal, name)]
    yield from (_field(command, terminal, name) for name in first)
    yield from _content(terminal)
    for name in (name for name in fields if name not in first):
        if name == "reason":
            for switch, help_text in terminal.switches.items():
                flag = f"--{switch.replace('_', '-')}"
                yield _parameter(switch, Annotated[bool, typer.Option(flag, help=help_text)], default=False)
        yield _field(command, terminal, name)
    yield _parameter("by", RequestedByOption if "requested_by" in command.request.model_fields else ByOption, None)
    if command.asks is not None or terminal.may_ask:
        yield _parameter("yes", YesOption, default=False)
    if terminal.wait:
        yield _parameter("wait", Annotated[bool, typer.Option("--wait", help=terminal.wait)], default=False)
        yield _parameter("timeout", _timeout(terminal), None)
    if terminal.takes_id:
        yield _parameter("request_id", RequestIdOption, None)
    yield _parameter("target", TargetChoice)
    yield _parameter("output", OutputOption, OutputFormat.TEXT)


def _timeout(terminal: Terminal) -> object:
    if not terminal.timeout:
        return TimeoutOption
    option = typer.Option(
        "--timeout", parser=parse_duration_option, metavar="DURATION", help=terminal.timeout, show_default="no limit"
    )
    return Annotated[timedelta | None, option]


def _option(terminal: Terminal, name: str) -> Option:
    return terminal.options.get(name, _PLAIN)


def _flag(option: Option, name: str) -> str:
    return option.flag or f"--{name.replace('_', '-')}"


def _field(command: AnyCommand, terminal: Terminal, name: str) -> inspect.Parameter:
    field = command.request.model_fields[name]
    if name == "reason" and _has_content(terminal):
        return _parameter(name, ReasonOrFilesOption, None)
    if name not in terminal.options and name in {"rollout", "reason"}:
        return _parameter(name, RolloutOption, None) if name == "rollout" else _parameter(name, ReasonOption, "")
    if name == "deployment" and not _option(terminal, name).help:
        return _parameter(name, DeploymentArgument)
    option = _option(terminal, name)
    plain, least = (int, None) if name in _REVISIONS else _kind_of(field.annotation, field.metadata)
    # What is parsed may be more than the words of an enumeration.
    kind, more = (str, {}) if option.parse is not None and _is_enumeration(plain) else _typed_as(plain)
    said: dict[str, Any] = {**more, "help": option.help or field_texts(command.request)[name]}
    if option.metavar:
        said["metavar"] = option.metavar
    if option.default:
        said["show_default"] = option.default
    if name in _REVISIONS:
        said["parser"] = parse_revision_option
    elif least is not None and kind is int:
        said["min"] = least
    if option.is_argument:
        return _argument(name, kind, said, required=field.is_required())
    flag = _flag(option, name)
    if field.is_required():
        return _parameter(name, Annotated[kind, typer.Option(flag, **said)])
    default = field.default if kind is plain else None
    return _parameter(name, Annotated[kind | None if default is None else kind, typer.Option(flag, **said)], default)


def _argument(name: str, kind: Any, said: dict[str, Any], *, required: bool) -> inspect.Parameter:  # noqa: ANN401 - types are values here
    if get_origin(kind) is list or not required:
        return _parameter(name, Annotated[kind | None, typer.Argument(**said, show_default=False)], None)
    return _parameter(name, Annotated[kind, typer.Argument(**said)])


def _typed_as(kind: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - types are values here
    """Return what Typer reads for a type, and what it is told of that; what it does not know is text."""
    if kind in {bool, int, float}:
        return kind, {}
    if kind is timedelta:
        return str, {"metavar": "DURATION"}
    if kind is dict:
        return list[str], {"metavar": "NAME=VALUE"}
    if kind in {list, tuple}:
        return list[str], {}
    if _is_enumeration(kind):
        return kind, {}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return Path, {"metavar": "FILE"}
    return str, {}


def _is_enumeration(kind: Any) -> bool:  # noqa: ANN401 - types are values here
    return isinstance(kind, type) and issubclass(kind, Enum)


def _kind_of(annotation: Any, metadata: list[Any]) -> tuple[Any, int | None]:  # noqa: ANN401 - types are values here
    """Return the plain type of a field, and the least that it may be."""
    annotation = getattr(annotation, "__supertype__", annotation)
    least = next((one.ge for one in metadata if hasattr(one, "ge")), None)
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        more = [one for part in inside[1:] for one in getattr(part, "metadata", [part])]
        return _kind_of(inside[0], [*metadata, *more])
    if origin in {Union, UnionType}:
        return _kind_of(next(one for one in inside if one is not NoneType), metadata)
    return (origin or annotation), least


def _parameter(name: str, kind: object, default: object = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
