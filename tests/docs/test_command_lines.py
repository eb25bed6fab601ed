"""Whoever copies a command line from a sentence or a page gets a command that is there."""

import re

import pytest

from celadon.domain.decisions.narration import holding_reason, next_step
from tests.docs.command_lines import lines_of_pages, lines_of_text, lines_of_texts, wrong_with
from tests.docs.rollouts_page import HELD_AT, holds


def test_every_command_line_in_a_text_of_the_product_is_one() -> None:
    lines = set(lines_of_texts())

    assert len(lines) > 100
    assert {line: wrong for line in sorted(lines) if (wrong := wrong_with(line))} == {}


def test_every_command_line_in_a_page_is_one() -> None:
    lines = set(lines_of_pages())

    assert len(lines) > 300
    assert {(page, line): wrong for page, line in sorted(lines) if (wrong := wrong_with(line))} == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("scale chat 3", "no such command"),
        ("deployment scale chat 3 4", "'4' is one word too many"),
        ("schedule make chat", "schedule has no such command"),
        ("promote chat --loudly", "there is no option --loudly"),
        ("promote chat --reason", "--reason takes a value"),
        ("promote chat --reason 'as agreed' --force", ""),
        ("promote … --revision … …", ""),
        ("rollout watch chat --timeout 1h && notify-send 'chat is out'", ""),
    ],
)
def test_what_is_wrong_with_a_command_line_is_found(line: str, wrong: str) -> None:
    assert wrong_with(line) == wrong


def test_no_command_line_names_a_moment_that_passes() -> None:
    lines = {*lines_of_texts(), *(line for _, line in lines_of_pages())}

    assert [line for line in sorted(lines) if re.search(r"--[a-z-]+[ =]\"?\d{4}-\d\d-\d\dT", line)] == []


def test_the_command_lines_of_holds_are_complete() -> None:
    for name, progress, _ in holds():
        said = [holding_reason(progress, HELD_AT), next_step(progress, HELD_AT)]
        lines = [line for text in said for line in lines_of_text(text)]
        assert {line: wrong for line in lines if (wrong := wrong_with(line))} == {}, name
