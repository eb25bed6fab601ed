"""Text of people and programs, made safe to show."""

import json
import unicodedata

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.language.shown_text import all_lines, code_span, escape_json, find_control, indented_lines, one_line

OBEYED = {
    "escape": "\x1b[31m",
    "bell": "\x07",
    "backspace": "\x08",
    "carriage-return": "\r",
    "delete": "\x7f",
    "C1-CSI": "\x9b31m",
    "C1-next-line": "\x85",
    "right-to-left-override": "\u202e",
    "left-to-right-isolate": "\u2066",
    "arabic-letter-mark": "\u061c",
    "zero-width-space": "\u200b",
    "word-joiner": "\u2060",
    "byte-order-mark": "\ufeff",
    "soft-hyphen": "\xad",
    "line-separator": "\u2028",
    "paragraph-separator": "\u2029",
    "tag-letter": "\U000e0041",
    "hangul-filler": "\u3164",
    "half-of-a-pair": "\udc9b",
}
CONTROL_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
VISIBLE_FORMATS = {
    character
    for character in map(chr, range(0x110000))
    # Signs that enclose digits or verses, and shorthand: they are drawn.
    if unicodedata.category(character) == "Cf"
    and (
        0x600 <= ord(character) <= 0x605
        or ord(character) in {0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
        or 0x13430 <= ord(character) <= 0x1343F
    )
}


@pytest.mark.parametrize("kind", OBEYED)
def test_a_character_that_is_obeyed_is_shown_as_its_number(kind: str) -> None:
    obeyed = OBEYED[kind][0]

    shown = one_line(f"ann{OBEYED[kind]}")

    assert obeyed not in shown
    number = ord(obeyed)
    assert shown.startswith(f"ann\\{'x' if number < 0x100 else 'u' if number < 0x10000 else 'U'}")
    assert f"{number:x}" in shown
    assert find_control(f"ann{OBEYED[kind]}") in shown


def test_every_control_character_of_unicode_counts() -> None:
    missed = {
        character
        for character in map(chr, range(0x110000))
        if unicodedata.category(character) in CONTROL_CATEGORIES - {"Cf"} and not find_control(character)
    }

    assert missed == set()


def test_every_format_character_that_is_not_drawn_counts() -> None:
    missed = {
        f"{ord(character):04x}"
        for character in map(chr, range(0x110000))
        if unicodedata.category(character) == "Cf" and character not in VISIBLE_FORMATS and not find_control(character)
    }

    assert missed == set()


@pytest.mark.parametrize("text", ["Zoë 東京 שלום مرحبا", "r1 → r2 ✔", "☎️ 🇨🇭 🙋", "a\\x1b[31mb", "[red]x[/]"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert one_line(text) == all_lines(text) == text
    assert not find_control(text)


@pytest.mark.parametrize("written", ["one\ntwo", "one\r\ntwo", "one\n\n  two", "one\ttwo"])
def test_breaks_become_spaces_in_a_line(written: str) -> None:
    assert one_line(written) == "one two"


def test_breaks_stay_where_there_are_lines() -> None:
    assert all_lines("one\n\ttwo\x1b") == "one\n\ttwo\\x1b"


@pytest.mark.parametrize("prose", ["line\nbreak", "tab\tstop", "👩\u200d💻", "\u0646\u200c\u0647"])
def test_prose_may_hold_what_languages_and_layout_need(prose: str) -> None:
    assert not find_control(prose, prose=True)
    assert find_control(prose)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_json_keeps_its_content_and_holds_nothing_that_is_obeyed(text: str) -> None:
    document = escape_json(json.dumps({text: [text]}, ensure_ascii=False, indent=2))

    assert json.loads(document) == {text: [text]}
    assert not find_control(document.replace("\n", ""))


@given(st.text())
def test_a_line_is_one_line_and_stays_the_same_when_it_is_escaped_again(text: str) -> None:
    line = one_line(text)

    assert len(line.splitlines()) <= 1
    assert not find_control(line)
    assert one_line(line) == line


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("exit code 1", "`exit code 1`"),
        ("![x](http://evil.example/x.png)", "`![x](http://evil.example/x.png)`"),
        ("a `b` c", "``a `b` c``"),
        ("``", "``` `` ```"),
        ("one\n\n# two", "`one # two`"),
        ("<img src=x>\x1b", "`<img src=x>\\x1b`"),
        ("  ", ""),
    ],
)
def test_a_code_span_holds_the_words_and_nothing_of_them_is_markup(written: str, span: str) -> None:
    assert code_span(written) == span


def test_yaml_in_double_quotes_reads_the_numbers_back() -> None:
    assert yaml.safe_load(f'"{one_line(chr(0x1B) + chr(0x202E) + chr(0xE0041))}"') == "\x1b\u202e\U000e0041"


def test_lines_below_the_first_are_indented() -> None:
    assert indented_lines("one\r\ntwo\n  three\x1b") == ["one", "  two", "  three\\x1b"]
