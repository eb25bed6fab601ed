"""Tables in Markdown, and values as people write them."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from celadon.domain.language.durations import format_duration
from celadon.domain.language.policy import RollbackWindow

REPOSITORY: Final = Path(__file__).parents[2]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a ``|`` inside of a cell is escaped, and a line break becomes a space."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(_cell(text) for text in line)} |\n" for line in lines)


def prose(text: str) -> str:
    """Return the text of a docstring as one paragraph of Markdown: a sentence, with code in single backticks."""
    joined = " ".join(text.replace("``", "`").split())
    return joined if not joined or joined.endswith((".", ":")) else joined + "."


def code(text: str) -> str:
    """Return ``text`` as code; ``""`` stays empty."""
    return f"`{text}`" if text else ""


def value(given: object) -> str:
    """Return a default as somebody writes it in a file or in the environment; ``none`` for no value."""
    match given:
        case None | () | "":
            return "none"
        case bool():
            return code(str(given).lower())
        case timedelta():
            return code(format_duration(given))
        case StrEnum():
            return code(given.value)
        case frozenset() | set() if not given:
            return "none"
        case RollbackWindow():
            said = given.model_dump(mode="json")
            return code(f"{{{', '.join(f'{name}: {one}' for name, one in said.items())}}}")
        case tuple():
            return code(",".join(str(part) for part in given))
        case _:
            return code(str(given))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
