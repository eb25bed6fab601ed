"""What commands print: one JSON object for programs, tables for people; errors go to standard error."""

import sys
from enum import StrEnum
from typing import Final

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.text import Text

from celadon.domain.errors import Refusal
from celadon.domain.strictness import Record

_WIDTH_OF_FILES: Final = 240


class OutputFormat(StrEnum):
    """How a command prints what it found."""

    TEXT = "text"
    JSON = "json"


class ErrorOutput(Record):
    """What ``-o json`` prints in place of an answer."""

    code: str
    """A refusal's stable code, or ``FAILED``."""
    message: str
    next_step: str = ""


class _Failed(Record):
    error: ErrorOutput


def print_json(answer: BaseModel) -> None:
    """Print one JSON object on standard output, at once: the command may go on, as ``up`` does."""
    sys.stdout.write(answer.model_dump_json(indent=2) + "\n")
    sys.stdout.flush()


def print_text(*parts: RenderableType) -> None:
    """Print for people on standard output; long lines are left to the terminal, so that they can be copied."""
    console = console_for_people()
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str | Text))


def console_for_people() -> Console:
    """Return standard output; where it is no terminal, lines are as long as they need to be."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)


def print_note(message: str) -> None:
    """Tell something by the way, on standard error."""
    Console(stderr=True, highlight=False).print(
        Text("Note: ", style="yellow").append(message, "default"), soft_wrap=True
    )


def print_error(message: str, output: OutputFormat, refusal: Refusal | None = None) -> None:
    """Tell why a command failed, on standard error; with ``-o json`` also as an object on standard output."""
    text = Text("Refused: " if refusal else "Error: ", style="bold red").append(message, style="not bold default")
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)
    if output is OutputFormat.JSON:
        told = (
            ErrorOutput(code="FAILED", message=message)
            if refusal is None
            else ErrorOutput(code=refusal.code, message=refusal.message, next_step=refusal.next_step)
        )
        print_json(_Failed(error=told))
