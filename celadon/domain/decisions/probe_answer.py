"""What the answer to an HTTP probe says of a replica."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from celadon.domain.language.expectation import Expectation, JsonScalar
from celadon.domain.language.limits import echo, quoted
from celadon.domain.language.linear_regex import is_found

MOST_BODY: Final = 16_384
"""Bytes of an answer that are read where its body is looked at."""

_SHOWN_BYTES: Final = 200


def is_expected_status(expect: Expectation, status: int) -> bool:
    """Whether a status is one of those that are expected."""
    return any(first <= status <= last for first, last in expect.codes)


def why_unexpected(expect: Expectation, body: bytes) -> str:
    """Return what is wrong with the body of an answer of an expected status; empty when nothing is.

    Args:
        expect: what the answer must be like.
        body: its begin: one byte more than ``MOST_BODY`` says that there is more.

    """
    is_whole = len(body) <= MOST_BODY
    text = body[:MOST_BODY].decode("utf-8", "replace")
    if expect.regex is not None and not is_found(expect.regex, text):
        begin = "" if is_whole else f"the first {MOST_BODY:,} bytes of "
        return f"regex {quoted(expect.regex)} matches nowhere in {begin}the answer"
    if not expect.json_values:
        return ""
    if not is_whole:
        return f"the answer has more than {MOST_BODY:,} bytes, too many to be read as JSON"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return "the answer is not JSON"
    return next(_differences(expect.json_values.items(), document), "")


def _differences(wanted: Iterable[tuple[str, JsonScalar]], document: object) -> Iterator[str]:
    for key, value in wanted:
        actual = _value_at(document, key.split("."))
        if actual is _ABSENT:
            yield f"the answer has no {quoted(key)}"
        elif isinstance(actual, bool) is not isinstance(value, bool) or actual != value:
            yield f"{quoted(key)} of the answer is {echo(json.dumps(actual), _SHOWN_BYTES)}, not {json.dumps(value)}"


_ABSENT: Final = object()


def _value_at(document: Any, keys: Iterable[str]) -> Any:  # noqa: ANN401 - any value of JSON
    for key in keys:
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isascii() and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            return _ABSENT
    return document
