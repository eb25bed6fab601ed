"""Secrets in what programs print."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.language.masking import LONGEST_TEXT, mask

LETTERS = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"


@pytest.mark.parametrize(
    "token",
    [
        f"sk-{LETTERS}",
        f"sk-proj-{LETTERS}",
        f"sk_live_{LETTERS}",
        f"hf_{LETTERS}",
        f"ghp_{LETTERS}",
        f"gho_{LETTERS}",
        f"github_pat_11ABC_{LETTERS}",
        f"glpat-{LETTERS}",
        "xoxb-1234567890-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        f"AIza{LETTERS}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.{LETTERS}",
        f"celadon_0123456789abcdef_{LETTERS}",
        f"celadon-session_0123456789abcdef_{LETTERS}",
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "loaded {} from file",
        "key={}",
        '"{}"',
        "({})",
        "x:{},",
        "https://a/?t={}&b",
        "https://a/?next=%3Ft%3D{}%26b",
        "\x1b[32m{}\x1b[0m",
        r"\u001b[1;32m{}\u001b[0m",
        r"loaded\n{}\nfrom file",
    ],
)
def test_what_looks_like_a_token_is_struck_out_wherever_it_stands(token: str, around: str) -> None:
    masked = mask(around.format(token))
    assert token[8:] not in masked
    assert "[token]" in masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Authorization: Bearer {LETTERS}", "Authorization: Bearer [token]"),
        (f"authorization=basic {LETTERS}==", "authorization=basic [token]"),
        (f"\x1b[32mBearer {LETTERS}\x1b[0m", "\x1b[32mBearer [token]\x1b[0m"),
        ("postgresql+asyncpg://celadon:s3cr3t@db/celadon", "postgresql+asyncpg://celadon:[token]@db/celadon"),
        ("redis://:hunter22@cache:6379/0", "redis://:[token]@cache:6379/0"),
        ("DB_PASSWORD=hunter22", "DB_PASSWORD=[token]"),
        ('{"api_key": "hunter22", "model": "llama"}', '{"api_key": "[token]", "model": "llama"}'),
        ("client-secret: hunter22", "client-secret: [token]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nafter", "[token]\nafter"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\ncut off", "[token]"),
    ],
)
def test_credentials_are_struck_out_and_what_is_around_them_stays(text: str, expected: str) -> None:
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=4096 token 17 of 32",
        "Bearer authentication is required",
        "loading weights from hf_home_directory",
        "GET http://127.0.0.1:8000/health: answered 503",
        "see https://docs.example/a:b and mail ann@example.com",
        "task-scheduler-for-everybody started",
        "eyJ is how a token begins",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert mask(text) == text


SECRET = 'p"ä/s w\\d+&='  # noqa: S105 - of nobody


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps({"key": SECRET}),
        json.dumps({"key": SECRET}, ensure_ascii=False),
        repr(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_the_value_of_a_secret_is_struck_out_in_the_spellings_of_programs(spelling: str) -> None:
    assert "[secret hub]" in mask(f"before {spelling} after", {"hub": SECRET})


def test_a_secret_that_holds_another_is_struck_out_whole() -> None:
    assert mask("given: abcdefgh", {"short": "abcd", "long": "abcdefgh"}) == "given: [secret long]"


def test_each_line_of_a_secret_is_struck_out_by_itself() -> None:
    assert mask("second line: line-two-of-it", {"pem": "line-one-of-it\nline-two-of-it"}) == "second line: [secret pem]"


def test_a_value_too_short_to_be_a_secret_stays() -> None:
    assert mask("abc", {"n": "abc"}) == "abc"


@given(st.text(alphabet="XYZ789 sk-_:/@=", max_size=300), st.text(alphabet="XYZ789", min_size=4, max_size=9))
def test_no_value_of_a_secret_is_left(text: str, value: str) -> None:
    assert value not in mask(text + value + text, {"hub": value})


def test_masking_again_changes_nothing() -> None:
    text = f"Bearer {LETTERS} hf_{LETTERS} ://a:{LETTERS}@ password={LETTERS} value-of-it"
    once = mask(text, {"hub": "value-of-it"})
    assert mask(once, {"hub": "value-of-it"}) == once


@pytest.mark.parametrize(
    "unit",
    [
        "eyJ",
        "eyJ-",
        "eyJaaaaaaaa.",
        "sk-",
        "://",
        "://a",
        ":",
        "@",
        "Bearer ",
        "password",
        "password=",
        "-----BEGIN PRIVATE KEY-----",
        "a",
        " ",
    ],
)
def test_no_text_takes_long(unit: str) -> None:
    """A pattern that looked back and forth would take hours for this and not end within the test's time."""
    mask(unit * (LONGEST_TEXT // len(unit)))


def test_of_a_text_beyond_all_bounds_the_end_is_kept() -> None:
    assert mask("x" * LONGEST_TEXT + "the end") == "x" * (LONGEST_TEXT - 7) + "the end"
