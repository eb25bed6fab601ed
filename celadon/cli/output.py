"""What commands print: one object for programs, tables for people; errors go to standard error."""

import sys
from enum import StrEnum
from typing import Final

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.text import Text

from celadon.domain.strictness import Record

_WIDTH_OF_FILES: Final = 240


class OutputFormat(StrEnum):
    """How a command prints what it found."""

    TEXT = "table"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_for_programs(self) -> bool:
        """Whether one object is printed, and nothing else."""
        return self is not OutputFormat.TEXT


class ErrorOutput(Record):
    """What ``-o json`` and ``-o yaml`` print in place of an answer."""

    code: str
    """A refusal's stable code, or ``FAILED``."""
    message: str
    next_step: str = ""


class _Failed(Record):
    error: ErrorOutput


def print_object(answer: BaseModel, output: OutputFormat) -> None:
    """Print one object on standard output, at once: the command may go on, as ``up`` does."""
    _write(answer.model_dump_json(indent=2) + "\n" if output is OutputFormat.JSON else _as_yaml(answer))


def print_one_of_many(answer: BaseModel, output: OutputFormat) -> None:
    """Print one object of a row of them: a line of JSON, or a document of YAML."""
    _write(answer.model_dump_json() + "\n" if output is OutputFormat.JSON else "---\n" + _as_yaml(answer))


def _as_yaml(answer: BaseModel) -> str:
    import yaml  # noqa: PLC0415 - hardly any command needs it

    text: str = yaml.safe_dump(
        answer.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=_WIDTH_OF_FILES
    )
    return text


def _write(text: str) -> None:
    sys.stdout.write(text)
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


def print_error(message: str, output: OutputFormat, told: ErrorOutput | None = None) -> None:
    """Tell why a command failed, on standard error; for programs also as an object on standard output.

    Args:
        message: the whole sentence.
        output: how the command prints.
        told: the refusal, when it is one.

    """
    text = Text("Refused: " if told else "Error: ", style="bold red").append(message, style="not bold default")
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)
    if output.is_for_programs:
        print_object(_Failed(error=told or ErrorOutput(code="FAILED", message=message)), output)
