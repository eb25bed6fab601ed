"""Commands of a group that are loaded when somebody names them: who promotes waits for no other command's modules."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group
from typer.models import Default

from celadon.cli.usage import PlainUsageGroup

MARKUP: Final = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command, or a group of commands, stands in the code and in the help."""

    name: str
    code: str
    """``module:attribute`` of a function or of a ``typer.Typer``."""
    panel: str
    help: str = ""
    """What the help of the group above says of a group that says nothing itself."""

    def load(self) -> Any:  # noqa: ANN401 - Typer's commands have no public type
        """Return the command."""
        module, _, attribute = self.code.partition(":")
        command = getattr(import_module(module), attribute)
        holder = typer.Typer(rich_markup_mode=MARKUP, add_completion=False)
        if isinstance(command, typer.Typer):
            holder.add_typer(command, name=self.name, rich_help_panel=self.panel, help=self.help or Default(None))
        else:
            holder.command(name=self.name, rich_help_panel=self.panel)(command)
        return get_group(holder).commands[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """All commands that the service declares below a group."""

    group: tuple[str, ...]
    """The words that lead to the group."""

    def names(self) -> Iterable[str]:
        """Return their names, in the order in which people read them; this loads them all."""
        from celadon.cli.commands.declared import names_in  # noqa: PLC0415 - whoever runs one command loads no other

        return names_in(self.group)

    def load(self, name: str) -> Any | None:  # noqa: ANN401 - Typer's commands have no public type
        """Return the command of this name, or ``None`` when none is declared."""
        from celadon.cli.commands.declared import typed_command  # noqa: PLC0415 - as above

        command = typed_command((*self.group, name))
        if command is None:
            return None
        function, panel = command
        holder = typer.Typer(rich_markup_mode=MARKUP, add_completion=False)
        holder.command(name=name, rich_help_panel=panel)(function)
        return get_group(holder).commands[name]


class NamedCommands(MutableMapping[str, Any]):
    """Commands by name, each loaded with the first look at it."""

    def __init__(self, places: Iterable[Place | Declared], loaded: Mapping[str, Any]) -> None:
        """Take what stands in ``places`` beside those that are loaded, which come first."""
        self._loaded = dict(loaded)
        self._first = tuple(loaded)
        self._places = tuple(places)
        self._by_name = {one.name: one for one in self._places if isinstance(one, Place)}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - as above
        """Return a command; load it when this is the first look."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:  # noqa: ANN401 - as above
        """Take another command."""
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        """Refuse: nobody takes a command away."""
        raise TypeError(f"{name} stays")

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the order of the help."""
        yield from self._first
        for place in self._places:
            if isinstance(place, Place):
                yield place.name
            else:
                yield from place.names()

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(1 for _ in self)

    def _load(self, name: str) -> Any:  # noqa: ANN401 - as above
        if name in self._by_name:
            return self._by_name[name].load()
        for place in self._places:
            command = place.load(name) if isinstance(place, Declared) else None
            if command is not None:
                return command
        raise KeyError(name)


class LoadingGroup(PlainUsageGroup):
    """The root: a group whose commands are loaded when they are named."""

    places: ClassVar[tuple[Place | Declared, ...]] = ()

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - as Typer's
        """Know the names alone."""
        super().__init__(**given)
        self.commands = NamedCommands(self.places, self.commands)


class DeclaringGroup(TyperGroup):
    """A group below the root to which the service adds the commands that it declares under its name."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - as Typer's
        """Take the commands of the group's own module, and then the declared ones."""
        super().__init__(**given)
        self.commands = NamedCommands((Declared(group=(self.name or "",)),), self.commands)
