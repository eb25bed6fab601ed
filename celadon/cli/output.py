"""What commands print: one object for programs, tables for people; errors go to standard error."""

import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

import typer
from pydantic import BaseModel

from celadon.domain.language.base_models import Record
from celadon.domain.language.shown_text import escape_json, escape_yaml, indented_lines, one_line
from celadon.standard_streams import StyledLine, write_line

if TYPE_CHECKING:
    from celadon.terminal import Shown

_WIDTH_OF_FILES: Final = 240

Printed: TypeAlias = "Shown | StyledLine"
"""What can be printed for people."""


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
    _write(_as_json(answer, indent=2) if output is OutputFormat.JSON else _as_yaml(answer))


def print_answer(answer: BaseModel, output: OutputFormat, text: "Callable[[], Iterable[Printed]]") -> None:
    """Print an answer: for programs as one object, for people as ``text`` tells it, which is asked for only then."""
    if output.is_for_programs:
        print_object(answer, output)
    else:
        print_text(*text())


def print_one_of_many(answer: BaseModel, output: OutputFormat) -> None:
    """Print one object of a row of them: a line of JSON, or a document of YAML."""
    _write(_as_json(answer) if output is OutputFormat.JSON else "---\n" + _as_yaml(answer))


def print_document(document: str) -> None:
    """Print a JSON document that was made before."""
    _write(escape_json(document))


def _as_json(answer: BaseModel, indent: int | None = None) -> str:
    return escape_json(answer.model_dump_json(indent=indent)) + "\n"


def _as_yaml(answer: BaseModel) -> str:
    import yaml  # noqa: PLC0415 - hardly any command needs it

    class Dumper(yaml.SafeDumper):
        """Writes text with control characters in double quotes, where a number can stand for a character."""

        def represent_str(self, data: str) -> yaml.ScalarNode:
            style = '"' if escape_yaml(data) != data else None
            return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Dumper.add_representer(str, Dumper.represent_str)
    text: str = yaml.dump(
        answer.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH_OF_FILES
    )
    return escape_yaml(text)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def print_text(*parts: "Printed") -> None:
    """Print for people on standard output; long lines are left to the terminal, so that they can be copied."""
    for part in parts:
        match part:
            case str():
                write_line(part)
            case StyledLine():
                part.write(sys.stdout)
            case _:
                from celadon.terminal import console_of  # noqa: PLC0415 - lines need no Rich

                console_of(width_of_files=_WIDTH_OF_FILES).show(part)


def print_line(text: str) -> None:
    """Print one line without styles on standard output, at once."""
    write_line(text)


def print_note(message: str) -> None:
    """Tell something by the way, on standard error."""
    StyledLine("Note: ", "yellow").append(message).write(sys.stderr)


def print_error(message: str, output: OutputFormat, told: ErrorOutput | None = None) -> None:
    """Tell why a command failed, on standard error; for programs also as an object on standard output.

    Args:
        message: the whole sentence, perhaps with what a program wrote in lines below.
        output: how the command prints.
        told: the refusal, when it is one.

    """
    first, *rest = indented_lines(message)
    text = StyledLine("Refused: " if told else "Error: ", "bold red").append(first)
    for line in rest:
        text.begin_line(line)
    text.write(sys.stderr)
    if output.is_for_programs:
        print_object(_Failed(error=told or ErrorOutput(code="FAILED", message=message)), output)


def ask_secretly(question: str) -> str:
    """Ask a person at the terminal for what nobody may read over the shoulder."""
    answer: str = typer.prompt(one_line(question), hide_input=True, err=True)
    return answer


def confirm(question: str) -> None:
    """Ask a person at the terminal to confirm; the answer is no unless it is yes.

    Raises:
        BadParameter: nobody sits at a terminal, so an option must confirm.
        Abort: the answer is no.

    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise typer.BadParameter("there is no terminal to ask on: give it to confirm", param_hint="--yes")
    if not typer.confirm(one_line(question), default=False, err=True):
        raise typer.Abort
