"""Writing to standard streams without Rich: plain lines, and lines with styles.

Words of people and programs are text here as in ``celadon.terminal``: they neither break a line nor are obeyed.
"""

import os
import sys
import traceback
from contextlib import suppress
from typing import IO, Final, Self

from celadon.domain.language.shown_text import all_lines, indented_lines, one_line

_CODES: Final = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}
_COLOURS: Final = frozenset(_CODES) - {"bold"}
_NO_STYLES: Final = frozenset({"dumb", "unknown"})


class StyledLine:
    """A line, perhaps with more below it, of words that have styles such as ``bold green``."""

    def __init__(self, words: str = "", style: str = "") -> None:
        """Begin with some words."""
        self._parts: list[tuple[str, str]] = []
        self.append(words, style)

    def append(self, words: str, style: str = "") -> Self:
        """Add words, with a style of their own."""
        self._parts.append((one_line(words), style))
        return self

    def begin_line(self, words: str, style: str = "") -> Self:
        """Begin another line with some words."""
        self._parts.append(("\n", ""))
        return self.append(words, style)

    def write(self, stream: IO[str]) -> None:
        """Write it at once; with its styles where the stream is a terminal that has them."""
        styled = _has_styles(stream)
        stream.write("".join(_written(words, style) if styled else words for words, style in self._parts) + "\n")
        stream.flush()


def write_line(text: str, stream: IO[str] | None = None) -> None:
    """Write one line without styles, at once, by default on standard output."""
    chosen = sys.stdout if stream is None else stream
    chosen.write(f"{one_line(text)}\n")
    chosen.flush()


def print_bug(error: BaseException) -> None:
    """Tell where a fault that nobody foresaw came from, on standard error."""
    sys.stderr.write(all_lines("".join(traceback.format_exception(error))))


def print_ending(text: str) -> None:
    """Tell on standard error with which words a program ended itself."""
    for line in indented_lines(text):
        write_line(line, sys.stderr)


def lead_nowhere(stream: IO[str]) -> None:
    """Let a stream whose reader has gone, or whose terminal has, take whatever is still written, and drop it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


def _has_styles(stream: IO[str]) -> bool:
    is_terminal = bool(os.environ.get("FORCE_COLOR")) or stream.isatty()
    return is_terminal and os.environ.get("TERM", "").lower() not in _NO_STYLES


def _written(words: str, style: str) -> str:
    names = [name for name in style.split() if not (name in _COLOURS and os.environ.get("NO_COLOR"))]
    if not names or not words:
        return words
    return f"\x1b[{';'.join(_CODES[name] for name in names)}m{words}\x1b[0m"
