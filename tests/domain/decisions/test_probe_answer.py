"""What an answer must be like, looked at without a server."""

import json
from typing import Any

import pytest

from celadon.domain.decisions.probe_answer import MOST_BODY, is_expected_status, why_unexpected
from celadon.domain.language.expectation import Expectation


def expect(**content: Any) -> Expectation:
    return Expectation.model_validate_json(json.dumps(content))


@pytest.mark.parametrize(
    ("wanted", "passes", "fails"),
    [
        ({}, (200, 204, 299), (199, 300, 503)),
        ({"status": 204}, (204,), (200,)),
        ({"status": "204"}, (204,), (200,)),
        ({"status": "200-399"}, (200, 399), (400,)),
        ({"status": [200, "300-302"]}, (200, 300, 302), (201, 303)),
    ],
)
def test_a_status_is_a_code_a_range_or_a_list(
    wanted: dict[str, Any], passes: tuple[int, ...], fails: tuple[int, ...]
) -> None:
    assert all(is_expected_status(expect(**wanted), status) for status in passes)
    assert not any(is_expected_status(expect(**wanted), status) for status in fails)


@pytest.mark.parametrize(
    ("wanted", "body", "told"),
    [
        ({"json": {"status": "ok"}}, b'{"status": "ok", "more": 1}', ""),
        ({"json": {"data.0.ready": True}}, b'{"data": [{"ready": true}]}', ""),
        ({"json": {"a.b": None}}, b'{"a": {"b": null}}', ""),
        ({"json": {"n": 1}}, b'{"n": 1.0}', ""),
        ({"json": {"n": 1}}, b'{"n": true}', "'n' of the answer is true, not 1"),
        ({"json": {"n": True}}, b'{"n": 1}', "'n' of the answer is 1, not true"),
        ({"json": {"status": "ok"}}, b'{"status": "loading"}', '\'status\' of the answer is "loading", not "ok"'),
        ({"json": {"a.b": 1}}, b'{"a": [1]}', "the answer has no 'a.b'"),
        ({"json": {"a.1": 1}}, b'{"a": [1]}', "the answer has no 'a.1'"),
        ({"json": {"a": 1}}, b"loading", "the answer is not JSON"),
        ({"json": {"a": 1}}, b"[" * 16_000, "the answer is not JSON"),
        ({"json": {"a": 1}}, b" " * (MOST_BODY + 1), "too many to be read as JSON"),
        ({"regex": "ready: yes"}, b"ready: yes", ""),
        ({"regex": "ready: yes"}, b"ready: no", "regex 'ready: yes' matches nowhere in the answer"),
        ({"regex": "end"}, b"x" * MOST_BODY + b"end", "matches nowhere in the first 16,384 bytes of the answer"),
        ({"regex": "ok"}, b"\xff\xfe ok", ""),
    ],
)
def test_a_body_is_compared_and_the_difference_told(wanted: dict[str, Any], body: bytes, told: str) -> None:
    error = why_unexpected(expect(**wanted), body)

    assert told in error
    assert bool(told) is bool(error)
