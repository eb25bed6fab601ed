"""What Celadon says to do is said in the words of the door at which somebody reads it."""

import re
from collections.abc import Iterator

import pytest
from graphql import build_schema, parse, validate

from celadon.api.graphql_schema import make_schema
from celadon.service.door_words import TERMINAL_ONLY, Door, answer_at, said_at, words_at
from tests.docs.command_lines import lines_of_text
from tests.docs.texts_of_code import HOLE, texts_of

ROOMS = (
    "activities",
    "celadon/client",
    "celadon/domain",
    "celadon/gateway",
    "celadon/keeper",
    "celadon/service",
    "celadon/table",
    "workflows",
)
"""Whose texts are read at every door."""
NAME = "chat"
_HELP = re.compile(r"Examples:\n")


def _lines() -> Iterator[str]:
    """Yield the command lines in texts that every door shows; help of the command line is none."""
    for room in ROOMS:
        for text in texts_of(room):
            if not _HELP.search(text):
                yield from lines_of_text(re.sub(r"\{\w+\}", HOLE, text))


def _filled(line: str) -> str:
    """Return a line with a deployment's name, or a number after an option, where something is filled in."""
    words = re.sub(f"{HOLE}+", HOLE, line).split()
    found: list[str] = []
    for word in words:
        if HOLE not in word:
            found.append(word)
        elif found and found[-1].startswith("--"):
            found.append("3")
        elif NAME not in found:
            found.append(word.replace(HOLE, NAME, 1).replace(HOLE, ""))
    return " ".join(found)


@pytest.mark.parametrize(
    ("text", "rest", "graphql", "console"),
    [
        (
            "promote it with 'celadon promote chat'",
            "promote it with 'POST /v1/deployments/chat/promote'",
            "promote it with 'promoteDeployment(input: {deploymentId: \"chat\", revision: N})'",
            "promote it with 'Promote' on the page of chat",
        ),
        (
            "look at it with 'celadon rollout status chat' and promote what you reviewed",
            "look at it with 'GET /v1/deployments/chat' and promote what you reviewed",
            "look at it with 'deployment(id: \"chat\")' and promote what you reviewed",
            "look at it on the page of chat and promote what you reviewed",
        ),
        (
            "promote: celadon promote chat --revision 3 · abort: celadon abort chat",
            'promote: POST /v1/deployments/chat/promote {"revision": 3} · abort: POST /v1/deployments/chat/abort',
            (
                'promote: promoteDeployment(input: {deploymentId: "chat", revision: 3}) · '
                'abort: abortRollout(input: {deploymentId: "chat"})'
            ),
            "promote: 'Promote' on the page of chat · abort: 'Abort' on the page of chat",
        ),
        (
            "make some: celadon deployment scale chat N",
            'make some: POST /v1/deployments/chat/scale {"replicas": N}',
            'make some: scaleDeployment(input: {deploymentId: "chat", replicas: N})',
            "make some: 'Scale' on the page of chat",
        ),
        (
            "end it with 'celadon unfreeze --all'",
            "end it with 'POST /v1/unfreeze {\"all\": true}'",
            "end it with 'unfreeze(input: {all: true})'",
            "end it on the page of all freezes",
        ),
        (
            "'celadon router forget NODE' for one that is gone for good",
            "'DELETE /v1/routers/NODE' for one that is gone for good",
            "'forgetRouter(input: {routerId: \"NODE\"})' for one that is gone for good",
            "'celadon router forget NODE' on the command line for one that is gone for good",
        ),
        (
            "once all agree, 'celadon promote chat --force --reason WHY'",
            'once all agree, \'POST /v1/deployments/chat/promote {"force": true, "reason": "WHY"}\'',
            (
                "once all agree, 'promoteDeployment(input: "
                '{deploymentId: "chat", force: true, reason: "WHY", revision: N})\''
            ),
            "once all agree, 'celadon promote chat --force --reason WHY' on the command line",
        ),
    ],
)
def test_a_next_step_is_said_in_the_words_of_each_door(text: str, rest: str, graphql: str, console: str) -> None:
    assert said_at(Door.REST, text) == rest
    assert said_at(Door.GRAPHQL, text) == graphql
    assert said_at(Door.CONSOLE, text) == console


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("start a worker ('celadon worker')", "start a worker ('celadon worker' on the command line)"),
        ("start a worker: celadon worker · wait", "start a worker: 'celadon worker' on the command line · wait"),
        (
            "put it right with 'celadon promote chat --loudly'",
            "put it right with 'celadon promote chat --loudly' on the command line",
        ),
    ],
)
def test_what_a_door_does_not_do_is_said_to_be_of_the_command_line(door: Door, text: str, said: str) -> None:
    assert said_at(door, text) == said


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize(
    "text",
    ["", "celadon is a colour", "'celadon sings'", "'celadon \"promote'", "the queue is celadon ", "wait a moment"],
)
def test_what_is_no_command_line_stays_as_it_is(door: Door, text: str) -> None:
    assert said_at(door, text) == text


@pytest.mark.parametrize("door", Door)
def test_every_command_line_in_a_text_can_be_said_at_every_door_or_is_of_the_command_line_only(door: Door) -> None:
    lines = {_filled(line) for line in _lines()} - {NAME}

    assert len(lines) > 40
    assert [line for line in sorted(lines) if words_at(door, line) is None] == []


def test_a_name_is_an_address_or_a_text_and_nothing_more() -> None:
    assert said_at(Door.REST, "'celadon promote a/../b?c'") == "'POST /v1/deployments/a%2F..%2Fb%3Fc/promote'"
    assert words_at(Door.GRAPHQL, "deployment show 'a\"b'") == 'deployment(id: "a\\"b")'


def test_the_words_of_people_and_programs_stay() -> None:
    line = "celadon abort chat"
    answer = {"reason": line, "next_step": line, "all": [{"told": line}]}

    assert answer_at(Door.REST, answer) == {
        "reason": line,
        "next_step": "POST /v1/deployments/chat/abort",
        "all": [{"told": "POST /v1/deployments/chat/abort"}],
    }


def test_every_query_and_mutation_that_is_named_is_in_the_schema() -> None:
    schema = build_schema(make_schema(10, 1000).as_str())
    assert schema.query_type is not None
    assert schema.mutation_type is not None
    fields = {**schema.query_type.fields, **schema.mutation_type.fields}
    said = {words_at(Door.GRAPHQL, _filled(line)) for line in _lines()} - {None, ""}

    wrong: dict[str, list[str]] = {}
    for one in sorted(one for one in said if one):
        is_mutation = "input:" in one
        name = one.partition("(")[0]
        assert name in fields, one
        given = one.replace("revision: N", "revision: 1").replace("replicas: N", "replicas: 1")
        document = parse(f"{'mutation' if is_mutation else 'query'} {{ {given} {{ __typename }} }}")
        # What the request itself must say beside, such as what to roll out, stands in the text around it.
        errors = [error.message for error in validate(schema, document) if "required" not in error.message]
        if errors:
            wrong[one] = errors
    assert wrong == {}


def test_what_only_the_command_line_does_is_named_in_texts() -> None:
    named = {line for text in texts_of("activities", "celadon", "worker", "workflows") for line in lines_of_text(text)}

    assert [one for one in sorted(TERMINAL_ONLY) if not any(f"{line} ".startswith(f"{one} ") for line in named)] == []
