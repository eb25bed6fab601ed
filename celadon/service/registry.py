"""Every command: one module in ``commands`` each, found by being there."""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Final

from celadon.service import commands as room
from celadon.service.command import AnyCommand, Command, Terminal, terminals_of, words_of

_MODULES: Final = {("deploy",): "start", ("revision", "add"): "add_revision"}
"""Where commands are declared that no module is called after the last word of."""


@cache
def commands() -> tuple[AnyCommand, ...]:
    """Return every command, in the order in which people read them.

    Raises:
        TypeError: a module of the room declares none.

    """
    return tuple(sorted((_of_module(one.name) for one in pkgutil.iter_modules(room.__path__)), key=_place))


def command_named(verb: str) -> AnyCommand | None:
    """Return the command of a verb, or ``None`` when there is none."""
    return next((one for one in commands() if one.verb == verb), None)


def command_of_words(words: tuple[str, ...]) -> tuple[AnyCommand, Terminal] | None:
    """Return the command that a person gives by these words, with how it is typed, or ``None`` when there is none.

    The module of the last word's name is looked at first: whoever gives one command loads that one alone.
    """
    name = _MODULES.get(words, words[-1].replace("-", "_"))
    if any(one.name == name for one in pkgutil.iter_modules(room.__path__)):
        command = _of_module(name)
        for terminal in terminals_of(command):
            if words_of(command, terminal) == words:
                return command, terminal
    return next(
        ((one, terminal) for one in commands() for terminal in terminals_of(one) if words_of(one, terminal) == words),
        None,
    )


def _of_module(name: str) -> AnyCommand:
    declared = getattr(import_module(f"{room.__name__}.{name}"), "COMMAND", None)
    if not isinstance(declared, Command):
        raise TypeError(f"{room.__name__}.{name} declares no COMMAND")
    return declared


def _place(command: AnyCommand) -> tuple[int, str]:
    return command.place, command.verb
