"""Running a command: its faults become one sentence, its end an exit code."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from celadon.cli.faults import ApiError
from celadon.cli.output import ErrorOutput, OutputFormat, print_error, print_note
from celadon.cli.patience import StoppedWaitingError
from celadon.domain.language.errors import RefusedError
from celadon.ending import ExitCode
from celadon.foreseen import explain
from celadon.logs import log_to_stderr


def run(work: Callable[[], Coroutine[object, object, int]], output: OutputFormat = OutputFormat.TEXT) -> NoReturn:
    """Run a command's work and leave with the exit code that it returns.

    A fault that can be foreseen is told in a sentence and leaves with 1; anything else is a bug and shows where it is.
    """
    # A command through an API logs nothing. What logs is loaded by now, or with a session or a line, which do the same.
    if "structlog" in sys.modules:
        log_to_stderr()
    with faults_told(output):
        code = asyncio.run(work())
    raise typer.Exit(code)


@contextmanager
def faults_told(output: OutputFormat = OutputFormat.TEXT) -> Iterator[None]:
    """Turn faults that can be foreseen into a sentence and exit code 1."""
    try:
        yield
    except StoppedWaitingError as stopped:
        print_note(str(stopped))
        raise typer.Exit(ExitCode.FAILED) from stopped
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        print_error(sentence, output, _refusal_of(error))
        raise typer.Exit(ExitCode.FAILED) from error


def _refusal_of(error: Exception) -> ErrorOutput | None:
    """Return what was refused, with its code; nothing when something failed."""
    match error:
        case RefusedError(refusal=refusal):
            return ErrorOutput(code=refusal.code, message=refusal.message, next_step=refusal.next_step)
        case ApiError():
            return ErrorOutput(code=error.code, message=error.message, next_step=error.next_step)
        case _:
            return None
