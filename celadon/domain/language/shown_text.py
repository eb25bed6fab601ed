r"""Text of people and programs, made safe to show.

A reason, a name or a replica's output may hold characters that a terminal, a chat or a page obeys in place of showing
them: escape sequences, marks that turn the direction of writing round, characters that nobody sees. Each of them is
shown as its number (``\x1b``, ``\u202e``); everything else is shown as it is.
"""

import re
from typing import Final

_OBEYED: Final = (
    r"\x00-\x1f\x7f-\x9f"  # C0, delete, C1 (ISO 6429)
    # Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt (bidirectional marks, zero-width characters,
    # tags), but for the variation selectors that emoji need, with the line and the paragraph separator and the
    # interlinear annotations. The set is written out, since workflows go by it: it must not change with Python.
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    r"\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\ud800-\udfff"  # halves of pairs, which no encoding has
)
_LAYOUT: Final = "\t\n"
"""What text of several lines is laid out with."""
_JOINERS: Final = "\u200c\u200d"
"""What some scripts join letters with, and emoji each other."""

_CONTROL = re.compile(f"[{_OBEYED}]")
_CONTROL_IN_PROSE = re.compile(f"(?![{_LAYOUT}{_JOINERS}])[{_OBEYED}]")
_CONTROL_BUT_LAYOUT = re.compile(f"(?![{_LAYOUT}])[{_OBEYED}]")
_BREAK = re.compile(r"(?:\r?\n|\t)+ *")
_BACKTICKS = re.compile(r"`+")
_BASIC_PLANE: Final = 0xFFFF
_BYTE: Final = 0xFF


def find_control(text: str, *, prose: bool = False) -> str:
    """Return the first character that is obeyed and not shown, as its number; empty when there is none.

    Args:
        text: what somebody wrote.
        prose: whether line breaks, tabs, and what joins letters and emoji are none.

    """
    match = (_CONTROL_IN_PROSE if prose else _CONTROL).search(text)
    return "" if match is None else _number(match)


def one_line(text: str) -> str:
    """Return text as one line: its breaks are spaces, characters that are obeyed are numbers."""
    return _CONTROL.sub(_number, _BREAK.sub(" ", text))


def all_lines(text: str) -> str:
    """Return text with its line breaks and tabs, but every other character that is obeyed as a number."""
    return _CONTROL_BUT_LAYOUT.sub(_number, text)


def indented_lines(text: str, indent: str = "  ") -> list[str]:
    """Return the lines of a text, indented but for the first, so that none of them looks like a line of ours."""
    first, *rest = all_lines(text.replace("\r\n", "\n")).split("\n")
    return [first, *(line if line.startswith(indent) else f"{indent}{line}" for line in rest)]


def escape_json(document: str) -> str:
    r"""Return a JSON document with the same content in which no character is obeyed: they are ``\uXXXX``."""
    return _CONTROL_BUT_LAYOUT.sub(_json_escape, document)


def escape_yaml(document: str) -> str:
    r"""Return a YAML document in which no character is obeyed; scalars that have one must be in double quotes."""
    return _CONTROL_BUT_LAYOUT.sub(_number, document)


def code_span(text: str) -> str:
    """Return text as a code span of Markdown (CommonMark 0.31, 6.1), in which nothing is a link, an image or HTML."""
    line = one_line(text).strip()
    longest = max((len(run) for run in _BACKTICKS.findall(line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}" if line else ""


def _number(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number <= _BYTE:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= _BASIC_PLANE else f"\\U{number:08x}"


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
