"""README's first screen: what the demonstration prints, and the picture."""

import re

import pytest

from tests.docs.demo_lines import README, SHOWN, lines_of_readme, normalised, shown_lines
from tests.docs.tables import REPOSITORY


def test_readme_shows_twelve_lines_of_a_demonstration() -> None:
    lines = lines_of_readme()

    assert len(lines) == 12
    assert [normalised(line) for line in lines] == list(SHOWN)
    assert shown_lines(lines) == lines


def test_lines_that_a_demonstration_did_not_print_are_named() -> None:
    with pytest.raises(ValueError, match="going back to revision #"):
        shown_lines(line for line in lines_of_readme() if "going back" not in line)


def test_the_first_screen_comes_in_its_order() -> None:
    text = README.read_text(encoding="utf-8")
    places = [
        text.index("<!-- demo:begin -->"),
        text.index("uvx 'celadon[local]' demo"),
        text.index("!["),
        text.index("## What it promises"),
        text.index("## Why not"),
    ]

    assert places == sorted(places)


def test_every_picture_is_there() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (REPOSITORY / path).is_file(), path
