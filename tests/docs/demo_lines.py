"""The twelve lines of the demonstration that README shows, taken from what a demonstration printed.

    .venv/bin/celadon demo | .venv/bin/python -m tests.docs.demo_lines

writes them into README anew. ``tests/stack/demo/test_end_to_end.py`` compares them with what a demonstration prints.
"""

import io
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from celadon.stack.demo.screen import LineScreen
from celadon.stack.demo.summary import Summary
from tests.docs.tables import REPOSITORY

README: Final = REPOSITORY / "README.md"
BEGIN: Final = "<!-- demo:begin -->\n```\n"
END: Final = "```\n<!-- demo:end -->\n"

SHOWN: Final = (
    "# s deploying revision # with # replicas, live as soon as healthy",
    "# s rollout # ended: promoted, epoch #",
    "# s rolling out revision # with # replicas",
    "# s revision # is live",
    "# s going back to revision # within the bake",
    "# s rollout # ended: rolled_back, epoch #",
    "# s rolling out revision # again with # replicas",
    "# s revision # is live",
    "# s rollout # ended: promoted, epoch #",
    "requests #",
    "failed #",
    "Nothing was lost.",
)
"""The lines that are shown, in their order, with figures and spaces normalised. None of them depends on when the
demonstration looked at the deployment, so each run prints them all."""


def normalised(line: str) -> str:
    """Return a line with ``#`` for each figure, and with single spaces."""
    return re.sub(r"\d+(?:\.\d+)?", "#", " ".join(line.split()))


def shown_lines(printed: Iterable[str]) -> list[str]:
    """Return the lines that README shows of a demonstration that printed ``printed``.

    Raises:
        ValueError: a line is missing, or comes in another order.

    """
    chosen: list[str] = []
    for line in printed:
        if len(chosen) < len(SHOWN) and normalised(line) == SHOWN[len(chosen)]:
            chosen.append(line.rstrip())
    if len(chosen) < len(SHOWN):
        raise ValueError(f"the demonstration did not print, after {chosen[-1:]}: {SHOWN[len(chosen)]}")
    return chosen


def printed_as_lines(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what a demonstration prints as text, from what it printed as JSON: each event, then the summary."""
    *before, last = events
    output = io.StringIO()
    with LineScreen(output) as screen:
        for event in before:
            screen.say(event["event"], event["text"])
        complaints = tuple(event["text"] for event in before if event["event"] == "complaint")
        screen.conclude(Summary.model_validate(last), complaints)
    return output.getvalue().splitlines()


def lines_of_readme() -> list[str]:
    """Return the lines that README shows now."""
    text = README.read_text(encoding="utf-8")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)].splitlines()


def write_into(readme: Path, lines: Iterable[str]) -> None:
    """Put ``lines`` between the marks of ``readme``."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    shown = "".join(f"{line}\n" for line in lines)
    readme.write_text(f"{before}{BEGIN}{shown}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_into(README, shown_lines(sys.stdin))
