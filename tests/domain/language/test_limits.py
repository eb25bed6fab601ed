"""Words from outside are as long as the limits say, in bytes, whatever they are made of."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from celadon.domain.language.commands import PromoteCommand, RescheduleCommand
from celadon.domain.language.declared_text import UNBOUNDED
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.limits import (
    ECHO_BYTES,
    MESSAGE_BYTES,
    NAME_BYTES,
    REFUSAL_BYTES,
    bounded_cause,
    clip,
    echo,
)
from celadon.domain.language.messages import GreenChanged, RolloutRequest
from celadon.domain.language.payload import InvalidPayloadError, parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.shown_text import find_control

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)
"""Also with halves of pairs, which no encoding has."""


@given(text=ANY_TEXT, limit=st.integers(min_value=3, max_value=300))
def test_a_clipped_text_has_at_most_so_many_bytes(text: str, limit: int) -> None:
    assert len(clip(text, limit).encode()) <= limit


@pytest.mark.parametrize("text", ["", "chat", "größer", "x" * 50])
def test_a_text_that_fits_is_left_as_it_is(text: str) -> None:
    assert clip(text, 60) == text


def test_a_cut_shows_and_splits_no_character() -> None:
    assert clip("é" * 10, 10) == "é" * 3 + "…"


@given(value=st.one_of(ANY_TEXT, st.integers(), st.none(), st.lists(st.integers())))
def test_an_echo_is_one_short_line_without_characters_that_are_obeyed(value: object) -> None:
    shown = echo(value)

    assert len(shown.encode()) <= ECHO_BYTES
    assert find_control(shown) == ""


@given(message=ANY_TEXT, next_step=ANY_TEXT, times=st.integers(min_value=1, max_value=50))
def test_a_refusal_stays_small_whatever_it_quotes(message: str, next_step: str, times: int) -> None:
    refusal = Refusal(code=RefusalCode.INVALID_PAYLOAD, message=message * times, next_step=next_step * times)

    assert len(refusal.message.encode()) + len(refusal.next_step.encode()) <= REFUSAL_BYTES
    assert TypeAdapter(Refusal).validate_json(refusal.model_dump_json()) == refusal


@pytest.mark.parametrize("name", ["é" * 101, "x" * 201])
def test_a_name_of_more_bytes_than_the_limit_is_refused(name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_payload(PromoteCommand, {"by": name})

    assert "by" in refused.value.refusal.message


def test_a_name_of_exactly_as_many_bytes_is_taken() -> None:
    assert parse_payload(PromoteCommand, {"by": "é" * 100}).by == "é" * (NAME_BYTES // 2)


def test_a_reason_counts_bytes_and_not_characters() -> None:
    assert parse_payload(PromoteCommand, {"reason": "x" * 2000}).reason
    with pytest.raises(RefusedError, match="2000 bytes"):
        parse_payload(PromoteCommand, {"reason": "é" * 1001})


def test_a_message_beyond_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(RefusedError, match=f"{MESSAGE_BYTES:,}"):
        parse_payload(PromoteCommand, {"revison": "x" * MESSAGE_BYTES})


def test_a_request_may_carry_a_revision_and_not_a_megabyte() -> None:
    revision = {"command": ["serve"], "env": {f"V{number}": "x" * 1000 for number in range(80)}}
    assert parse_payload(RolloutRequest, {"deployment": "chat", "revision": revision})

    revision["env"] = {f"V{number}": "x" * 1000 for number in range(200)}
    with pytest.raises(RefusedError, match="100,000"):
        parse_payload(RolloutRequest, {"deployment": "chat", "revision": revision})


@given(text=ANY_TEXT, times=st.integers(min_value=1, max_value=50))
def test_an_edge_tells_of_a_cause_no_more_than_fits(text: str, times: int) -> None:
    edge = GreenChanged(
        route_set=1, seq=1, condition="failed", running=0, ready=0, required=1, wanted=1, last_error=text * times
    )

    assert len(edge.last_error.encode()) <= 2000
    assert bounded_cause(edge.last_error) == edge.last_error


ROOT = Path(__file__).parent.parent.parent.parent
MODULES = sorted(
    path for room in ("celadon/domain", "celadon/service", "workflows") for path in (ROOT / room).rglob("*.py")
)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_what_a_refusal_quotes_goes_through_the_limit(module: Path) -> None:
    """A value that is written by ``!r`` is as long as its sender made it; ``quoted`` clips it."""
    tree = ast.parse(module.read_text())
    written = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue) and node.conversion == ord("r")
    ]
    assert written == []


LONG = "x" * 5000
QUOTING: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (RolloutRequest, {"deployment": LONG}),
    (RolloutRequest, {"policy": {"min_healthy": LONG}}),
    (RolloutRequest, {"policy": {"min_healthy": [LONG]}}),
    (RolloutRequest, {"policy": {"bake": LONG}}),
    (RolloutRequest, {"policy": {"notify": [{"target": LONG}]}}),
    (RolloutRequest, {"labels": {LONG: "a"}}),
    (RolloutRequest, {"labels": {"a": LONG}}),
    (RolloutRequest, {"revision": {"command": ["a"], "env": {f"{LONG}-": "a"}}}),
    (RolloutRequest, {"revision": {"command": ["a"], "env": {"A": {"secret": f"{LONG}/"}}}}),
    (RolloutRequest, {"revision": {"provisioner": "static", "endpoints": [LONG]}}),
    (RolloutRequest, {"revision": {"provisioner": "static", "endpoints": [f"{LONG}:80"]}}),
    (PromoteCommand, {"by": [LONG]}),
    (RescheduleCommand, {"promote_after": LONG}),
]


@pytest.mark.parametrize(("model", "said"), QUOTING, ids=[json.dumps(said)[:40] for _, said in QUOTING])
def test_what_is_wrong_is_quoted_in_few_bytes(model: type[BaseModel], said: dict[str, Any]) -> None:
    whole = {"deployment": "chat", "revision": 1} if model is RolloutRequest else {}
    with pytest.raises(InvalidPayloadError) as refused:
        parse_payload(model, whole | said)

    assert all(len(one.what.encode()) <= ECHO_BYTES + 220 for one in refused.value.problems)


@pytest.mark.parametrize("text", ["é" * 151, "a\tb", "\u202e"])
def test_an_issuer_is_bounded_in_bytes_and_can_be_shown(text: str) -> None:
    with pytest.raises(RefusedError):
        parse_payload(PromoteCommand, {"issuer": text})
    with pytest.raises(RefusedError):
        parse_payload(PromoteCommand, {"signature": text})
    taken_then = parse_payload(PromoteCommand, {"issuer": text, "signature": text}, recorded=UNBOUNDED)
    assert taken_then.issuer == text


def test_rights_are_no_more_than_there_are() -> None:
    with pytest.raises(RefusedError):
        parse_payload(PromoteCommand, {"rights": ["promote"] * (len(Verb) + 1)})
