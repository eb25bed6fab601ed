"""Command lines in what Celadon says, in the words of the door at which somebody reads them.

Refusals, next steps and holds name commands as a terminal takes them, such as ``'celadon promote chat'``: they are
written down in histories and in the audit log, and everybody can read them. Whoever asks through REST, GraphQL or the
console is told the request, the mutation or the button that does the same. What none of these does is said to be of
the command line.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Final
from urllib.parse import quote, urlencode

from pydantic.alias_generators import to_camel

from celadon.service.command import (
    AnyCommand,
    Option,
    Scope,
    Terminal,
    mutation_name,
    rest_path,
    terminals_of,
    words_of,
)
from celadon.service.registry import commands


class Door(StrEnum):
    """Through what somebody reads, other than a terminal."""

    REST = "rest"
    GRAPHQL = "graphql"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class _View:
    """What shows the same as a command that only reads, with ``{name}`` for its argument."""

    rest: str
    query: str
    page: str
    """Of the console; empty for none."""


_DEPLOYMENT: Final = ("/deployments/{name}", 'deployment(id: "{name}")', "the page of {name}")
_A_DEPLOYMENT: Final = "a deployment"
_UNNAMED: Final = "NAME"
"""Stands for a deployment's name that a line does not give."""

_VIEWS: Final[Mapping[tuple[str, ...], _View]] = {
    ("deployment", "list"): _View("/deployments", "deployments", "the list of deployments"),
    ("deployment", "show"): _View(*_DEPLOYMENT),
    ("rollout", "status"): _View(*_DEPLOYMENT),
    ("rollout", "watch"): _View("/deployments/{name}/stream", 'deployment(id: "{name}")', "the page of {name}"),
    ("rollout", "history"): _View(
        "/deployments/{name}/history", 'rollouts(filter: {{deploymentId: "{name}"}})', "the rollouts page of {name}"
    ),
    ("rollout", "list"): _View("/rollouts", "rollouts", ""),
    ("revision", "list"): _View(
        "/deployments/{name}/revisions", 'revisions(deploymentId: "{name}")', "the plan page of {name}"
    ),
    ("schedule", "list"): _View(
        "/deployments/{name}/schedules", 'schedules(deploymentId: "{name}")', "the schedules page of {name}"
    ),
    ("policy", "show"): _View(
        "/deployments/{name}/policy", 'policy(deploymentId: "{name}")', "the policy page of {name}"
    ),
    ("policy", "show", "--default"): _View("/policy", "policy", "the page of the defaults"),
    ("router", "list"): _View("/routers", "routers", ""),
}

_PAGES: Final[Mapping[str, str]] = {
    "plan_rollout": "the plan page of {name}",
    "create_schedule": "the schedules page of {name}",
    "delete_schedule": "the schedules page of {name}",
    "set_policy": "the policy page of {name}",
    "set_defaults": "the page of the defaults",
}
"""Pages of the console that give a command, by the command's verb; forms of decisions are declared with it."""

TERMINAL_ONLY: Final = frozenset(
    {
        "api keys",
        "console",
        "db prune",
        "db upgrade",
        "doctor",
        "gateway certificate",
        "notify list",
        "notify retry",
        "notify target",
        "router enrol",
        "schema deployment",
        "token create",
        "token list",
        "token revoke",
        "up",
        "worker",
    }
)
"""What only the command line does, of what texts name."""

_OF_THE_TERMINAL: Final[Mapping[str, bool]] = {
    "--wait": False,
    "--yes": False,
    "-y": False,
    "--timeout": True,
    "--by": True,
    "-f": True,
}
"""Options that say how the command line goes about it, and whether a value follows."""

TOLD: Final = frozenset(
    {"detail", "held", "holding", "message", "next_step", "said", "told", "unanswered_because", "waits_for", "why"}
)
"""Keys of answers under which Celadon says something; the others hold what people and programs have said."""

_OTHER_FORM: Final = frozenset({"argument", "labels", "policy"})
"""Fields that the command line reads in another form than doors take them."""

_MOST_DIGITS: Final = 9

_QUOTED: Final = re.compile(r"(?P<before>with )?'celadon (?P<line>[^']+)'")
_BARE: Final = re.compile(
    r"""(?P<before>with )?(?<![\w./\[:'-])celadon (?P<line>(?:"[^"]*"|[^'`·;,\n()"])+?)"""
    r"""(?P<after>[\s.:]*(?=['`·;,\n()"]|$))"""
)
"""In a sentence, without quotation marks: up to what ends a command line there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A command line of a command that some door has."""

    words: tuple[str, ...]
    subject: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Of the request's fields, or of the view's options."""
    is_whole: bool = True
    """Whether all that stands in the line is understood."""


def said_at(door: Door, text: str) -> str:
    """Return a text with its command lines in the words of a door; what is no command line of ours stays."""
    if "celadon " not in text:
        return text
    text = _QUOTED.sub(lambda found: _said(door, found, "'"), text)
    return _BARE.sub(lambda found: _said(door, found, ""), text)


def answer_at(door: Door, answer: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return an answer with what Celadon says in it in the words of a door; the words of others stay."""
    if isinstance(answer, list):
        return [answer_at(door, one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        key: said_at(door, value) if key in TOLD and isinstance(value, str) else answer_at(door, value)
        for key, value in answer.items()
    }


def words_at(door: Door, line: str) -> str | None:
    """Return what a door says for a command line, which is given without ``celadon``.

    It is empty when the door does no such thing, and ``None`` for a line of no command that is known here.
    """
    read = _read(line)
    if read is None:
        only = any(line == one or line.startswith(f"{one} ") for one in TERMINAL_ONLY)
        return "" if only else None
    if not read.is_whole:
        return ""
    declared = _declared().get(read.words)
    return _of_view(door, read) if declared is None else _of_command(door, declared[0], read)


def _said(door: Door, occurrence: re.Match[str], mark: str) -> str:
    line, before = occurrence["line"].rstrip(), occurrence["before"] or ""
    after = "" if mark else occurrence["after"]
    said = words_at(door, line)
    if said is None:
        return occurrence[0]
    if not said:
        return f"{before}'celadon {line}' on the command line{after}"
    if door is Door.CONSOLE:
        # A page is looked at, and a button is pressed.
        is_page = not said.startswith("'")
        return f"{'on ' if before and is_page else before}{said}{after}"
    return f"{before}{mark}{said}{mark}{after}"


# What a line says.


@cache
def _declared() -> Mapping[tuple[str, ...], tuple[AnyCommand, Terminal]]:
    return {
        words_of(command, terminal): (command, terminal) for command in commands() for terminal in terminals_of(command)
    }


def _read(line: str) -> _Line | None:
    """Return what a command line says; ``None`` for that of no command that a door has."""
    try:
        tokens = tuple(shlex.split(line))
    except ValueError:
        return None
    known = {*_declared(), *_VIEWS}
    words = next((tokens[:most] for most in (3, 2, 1) if tokens[:most] in known), None)
    if words is None:
        return None
    declared = _declared().get(words)
    if declared is None:
        return _read_view(words, tokens[len(words) :])
    return _read_command(*declared, words, tokens[len(words) :])


def _read_view(words: tuple[str, ...], arguments: tuple[str, ...]) -> _Line:
    values: dict[str, Any] = {}
    names: list[str] = []
    remaining = iter(arguments)
    for one in remaining:
        if one.startswith("--"):
            values[one[2:].replace("-", "_")] = next(remaining, "")
        else:
            names.append(one)
    return _Line(words=words, subject=names[0] if names else "", values=values, is_whole=len(names) <= 1)


def _read_command(command: AnyCommand, terminal: Terminal, words: tuple[str, ...], arguments: tuple[str, ...]) -> _Line:
    flags = dict(_flags(command))
    places = list(_places(command, terminal))
    values: dict[str, Any] = {}
    subject = ""
    remaining = iter(arguments)
    is_whole = True
    for one in remaining:
        if one in _OF_THE_TERMINAL:
            if _OF_THE_TERMINAL[one]:
                next(remaining, "")
        elif one in flags:
            name, value = flags[one]
            values[name] = _value(next(remaining, "")) if value is None else value
            is_whole &= name not in _OTHER_FORM
        elif one.startswith("-") or not places:
            is_whole = False
        elif place := places.pop(0):
            values[place] = _value(one)
            is_whole &= place not in _OTHER_FORM
        else:
            subject = one
    return _Line(words=words, subject=subject, values=values, is_whole=is_whole)


def _flags(command: AnyCommand) -> Iterator[tuple[str, tuple[str, bool | None]]]:
    """Yield each option with its field, and with its value when none follows."""
    for name, one in command.request.model_fields.items():
        option = command.terminal.options.get(name, Option())
        if option.is_argument:
            continue
        on, _, off = (option.flag or f"--{name.replace('_', '-')}").partition("/")
        is_switch = bool(off) or one.annotation is bool
        yield on, (name, True if is_switch else None)
        if off:
            yield off, (name, False)


def _places(command: AnyCommand, terminal: Terminal) -> Iterator[str]:
    """Yield the field of each argument that is given by its place; empty for what the command is about."""
    if terminal.file:
        return
    options = terminal.options
    named = [name for name in command.request.model_fields if options.get(name, Option()).is_argument]
    if command.scope is not Scope.FLEET or terminal.node:
        yield ""
    elif "deployment" in command.request.model_fields and "deployment" not in named:
        yield "deployment"
    yield from named


def _value(text: str) -> Any:  # noqa: ANN401 - whatever was typed
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else text


def _written(value: Any) -> str:  # noqa: ANN401 - as above
    """Return a value as JSON and GraphQL write it, and a placeholder for a number, such as ``N``, as it is."""
    return value if value == "N" else json.dumps(value, ensure_ascii=False)


# What doors say.


def _of_view(door: Door, line: _Line) -> str:
    view = _VIEWS[line.words]
    name = line.subject
    match door:
        case Door.REST:
            query = f"?{urlencode(line.values)}" if line.values else ""
            return f"GET /v1{view.rest.format(name=quote(name or _UNNAMED, safe=''))}{query}"
        case Door.GRAPHQL:
            return view.query.format(name=json.dumps(name or _UNNAMED, ensure_ascii=False)[1:-1])
        case Door.CONSOLE:
            return view.page.format(name=name or _A_DEPLOYMENT)


def _of_command(door: Door, command: AnyCommand, line: _Line) -> str:
    match door:
        case Door.REST:
            return _request(command, line)
        case Door.GRAPHQL:
            return _mutation(command, line)
        case Door.CONSOLE:
            return _form(command, line)


def _request(command: AnyCommand, line: _Line) -> str:
    rest = command.rest
    subject = quote(line.subject or ("NODE" if command.terminal.node else _UNNAMED), safe="")
    path = re.sub(r"\{\w+\}", subject, rest_path(command))
    if not line.values:
        return f"{rest.method} /v1{path}"
    if rest.in_query:
        query = urlencode({name: str(value).lower() for name, value in line.values.items()})
        return f"{rest.method} /v1{path}?{query}"
    body = ", ".join(f"{json.dumps(name)}: {_written(value)}" for name, value in line.values.items())
    return f"{rest.method} /v1{path} {{{body}}}"


def _mutation(command: AnyCommand, line: _Line) -> str:
    graph = command.graph
    arguments: dict[str, str] = {}
    values = dict(line.values)
    if graph.subject:
        subject = line.subject or values.pop("deployment", "") or _UNNAMED
        arguments[to_camel(f"{graph.subject}_id")] = json.dumps(subject, ensure_ascii=False)
    for name, value in values.items():
        if graph.model is not None and name not in graph.model.model_fields:
            return ""
        if name == "rollout":
            arguments["rolloutId"] = _written(str(value))
        else:
            arguments[to_camel(graph.renamed.get(name, name))] = _written(value)
    arguments |= {to_camel(name): "N" for name in sorted(graph.required) if to_camel(name) not in arguments}
    inside = ", ".join(f"{name}: {value}" for name, value in arguments.items())
    return f"{to_camel(mutation_name(command))}(input: {{{inside}}})"


def _form(command: AnyCommand, line: _Line) -> str:
    name = line.subject or str(line.values.get("deployment") or "")
    if command.verb in _PAGES:
        return _PAGES[command.verb].format(name=name or _A_DEPLOYMENT)
    if line.values.get("all"):
        return "the page of all freezes"
    form = command.form
    if form is None:
        return ""
    filled = {*form.fields, *form.texts, "reason", "rollout", "revision", "deployment"}
    if not filled.issuperset(line.values):
        return ""
    title = re.sub(r"(?: to)? \{\w+\}", "", form.title)
    return f"'{title}' on the page of {name or _A_DEPLOYMENT}"
