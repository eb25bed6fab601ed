"""The reference page of commands, from the command line itself."""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from typer.main import get_command

from celadon.cli.main import app
from tests.docs.tables import code, table, value

_COMMON_PANEL: Final = "Which Celadon"
_SAMPLE: Final = "promote"
"""A command that takes the options of ``_COMMON_PANEL``."""


def commands_page() -> str:
    """Return the page."""
    root = get_command(app)
    sections = "".join(_section(words, command) for words, command in _commands(root))
    common = table(("option", "meaning"), _rows(_of_panel(_children(root)[_SAMPLE], _COMMON_PANEL), with_default=False))
    return f"""# Commands

Every command of `celadon`, as `celadon COMMAND --help` shows it. [cli.md](../cli.md) says what commands have in common:
which Celadon they use, output and exit codes.

Commands marked *speaks to Celadon* also take these options:

{common}{sections}"""


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Return every command below a group with its words; some groups are commands themselves."""
    if words and getattr(group, "invoke_without_command", True):
        yield words, group
    for name, command in _children(group).items():
        yield from _commands(command, (*words, name))


def _children(group: Any) -> Mapping[str, Any]:
    children: Mapping[str, Any] = getattr(group, "commands", {})
    return children


def _section(words: tuple[str, ...], command: Any) -> str:
    own = [one for one in command.params if one.rich_help_panel != _COMMON_PANEL and not one.hidden]
    arguments = [one for one in own if one.param_type_name == "argument"]
    options = [one for one in own if one.param_type_name == "option"]
    parts = [f"\n## celadon {' '.join(words)}\n\n{_help(command)}\n"]
    if _of_panel(command, _COMMON_PANEL):
        parts.append("\nSpeaks to Celadon.\n")
    if arguments:
        parts.append("\n" + table(("argument", "meaning"), _rows(arguments, with_default=False)))
    if options:
        parts.append("\n" + table(("option", "meaning", "default"), _rows(options, with_default=True)))
    return "".join(parts)


def _help(command: Any) -> str:
    """Return a command's help, with each block of code set apart from the text around it."""
    text = inspect.cleandoc(command.help or "")
    return re.sub(
        r"(?<!\n)\n```(\w+)\n(.*?)\n```(?:\n(?!\n)|$)", r"\n\n```\1\n\2\n```\n\n", text, flags=re.DOTALL
    ).strip()


def _of_panel(command: Any, panel: str) -> list[Any]:
    return [one for one in command.params if one.rich_help_panel == panel]


def _rows(params: list[Any], *, with_default: bool) -> Iterator[tuple[str, ...]]:
    for one in params:
        meaning = (one.help or "") + (" Required." if one.required and one.param_type_name == "option" else "")
        yield (_name(one), meaning, _default(one)) if with_default else (_name(one), meaning)


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return code(param.metavar or param.name.upper())
    names = ", ".join(map(code, (*param.opts, *param.secondary_opts)))
    return names if param.is_flag else f"{names} {code(param.metavar or _kind(param))}"


def _kind(param: Any) -> str:
    """Return what a value of an option without a metavar looks like: its choices, or the name of its type."""
    annotation = param.type_descriptor.annotation
    members = getattr(annotation, "__members__", None)
    return "|".join(member.value for member in members.values()) if members else annotation.__name__.upper()


def _default(param: Any) -> str:
    if isinstance(param.show_default, str):
        return param.show_default
    if param.required or not param.show_default or param.is_flag or param.default in (None, "", ()):
        return ""
    return value(param.default)
