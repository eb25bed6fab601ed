"""Where log lines go: to standard error, so that standard output holds nothing but the answer.

A line that cannot be written is dropped: a process whose terminal was closed, or whose disk is full, goes on, and above
all it stops when it is told to.
"""

# ruff: noqa: PLC0415 - most commands log nothing, and what logs loads slowly

import errno
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Final, TextIO

from celadon.domain.language.shown_text import all_lines, indented_lines, one_line
from celadon.standard_streams import lead_nowhere

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, WrappedLogger

_GONE_FOR_EVER: Final = frozenset({errno.EPIPE, errno.EIO})
"""Nobody reads the pipe any more, or the terminal was closed; a full disk may have room again."""


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Write log lines from ``level`` upwards to standard error, in colour when that is a terminal.

    So does what libraries log.
    """
    import structlog

    stream = sys.stderr
    libraries_log_to_stderr()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _text_only,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_indented_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _StreamLogger(stream),
        cache_logger_on_first_use=False,
    )


def libraries_log_to_stderr() -> None:
    """Write what libraries log by Python's own module, and no handler takes, to standard error."""
    logging.lastResort = _library_handler()


class _StreamLogger:
    """Writes lines to a stream, and drops what that cannot take."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            # In one piece: several threads, and several processes, write to one terminal.
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except ValueError:  # it was closed
            return
        except OSError as error:
            if error.errno in _GONE_FOR_EVER:
                lead_nowhere(self._stream)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def _text_only(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
    """Keep words of people and programs from breaking a line and from being obeyed by a terminal."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = all_lines(value) if name == "stack" else one_line(value)
    return event


class _LibraryFormatter(logging.Formatter):
    """Formats a library's record, whose message may hold anybody's words."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(indented_lines(super().format(record), "    "))


def _library_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_LibraryFormatter())
    return handler


def _indented_traceback(stream: TextIO, error: "ExcInfo") -> None:
    """Write a traceback in which no line looks like one of the log."""
    text = "".join(traceback.format_exception(*error)).rstrip("\n")
    stream.write("\n".join(indented_lines(f"\n{text}", "    ")))


def trace_of(error: BaseException) -> str:
    """Return the error's trace as Python prints it: without local variables, which may hold a caller's token."""
    return "".join(traceback.format_exception(error))
