"""How a revision says that its health is known: one way, with what belongs to it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from celadon.domain.language.expectation import Expectation
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.presets import PRESETS, Needs, Preset
from celadon.domain.language.probe import GrpcProbe, GrpcQuestion, HttpProbe, TcpProbe

SECOND = timedelta(seconds=1)


def check(**content: Any) -> HealthCheck:
    return HealthCheck.model_validate_json(json.dumps(content))


def preset_check(preset: Preset) -> HealthCheck:
    """Return a health check with the least that a preset needs."""
    facts = PRESETS[preset]
    given: dict[str, Any] = {"preset": preset.value}
    if facts.model is Needs.MUST:
        given["model"] = "m"
    if facts.own_first is Needs.MUST:
        given["first"] = {"path": "/ask"}
    return check(**given)


@pytest.mark.parametrize(
    ("content", "probe"),
    [
        ({"tcp": True}, TcpProbe()),
        ({"tcp": True, "timeout": "2s"}, TcpProbe(timeout=timedelta(seconds=2))),
        ({"path": "/health"}, HttpProbe(path="/health")),
        ({"path": "/x", "body": {"a": 1}}, HttpProbe(path="/x", method="POST", body={"a": 1})),
        (
            {"path": "/x", "method": "HEAD", "headers": {"A": "b"}},
            HttpProbe(path="/x", method="HEAD", headers={"A": "b"}),
        ),
        ({"path": "/x", "expect": {"status": 204}}, HttpProbe(path="/x", expect=Expectation(status=204))),
        ({"grpc": {}}, GrpcProbe()),
        ({"grpc": {"service": "chat.Chat"}}, GrpcProbe(name="chat.Chat")),
        ({"preset": "bentoml"}, HttpProbe(path="/readyz")),
        ({"preset": "kserve-v2", "model": "m"}, HttpProbe(path="/v2/models/m/ready")),
        ({"preset": "kserve-v2-grpc", "model": "m"}, GrpcProbe(question=GrpcQuestion.MODEL_READY, name="m")),
        ({"preset": "openai", "timeout": "3s"}, HttpProbe(path="/health", timeout=timedelta(seconds=3))),
    ],
)
def test_each_way_has_its_light_probe(content: dict[str, Any], probe: object) -> None:
    assert check(**content).probe() == probe


def test_a_first_probe_is_a_request_with_a_timeout_of_its_own() -> None:
    first = check(path="/health", first={"path": "/ask", "body": {"prompt": "1"}, "timeout": "1m"}).first_probe()

    assert first == HttpProbe(path="/ask", method="POST", body={"prompt": "1"}, timeout=timedelta(minutes=1))


def test_the_first_probe_of_openai_asks_for_one_token() -> None:
    first = check(preset="openai", model="llama").first_probe()

    assert first is not None
    assert (first.method, first.path) == ("POST", "/v1/chat/completions")
    assert isinstance(first.body, dict)
    assert (first.body["model"], first.body["max_tokens"]) == ("llama", 1)
    assert first.timeout > SECOND


def test_without_a_model_the_first_probe_names_none() -> None:
    first = check(preset="vllm").first_probe()

    assert first is not None
    assert first.body == {"prompt": "1", "max_tokens": 1}


def test_an_own_first_probe_takes_the_place_of_the_presets() -> None:
    first = check(preset="openai", first={"path": "/v1/embeddings", "body": {"input": "1"}}).first_probe()

    assert first is not None
    assert first.path == "/v1/embeddings"


@pytest.mark.parametrize("preset", Preset)
def test_every_preset_is_usable_with_what_it_needs_and_says_where_it_is_from(preset: Preset) -> None:
    known = preset_check(preset)

    assert not known.says_nothing
    assert "{model}" not in repr((known.probe(), known.first_probe()))
    assert PRESETS[preset].servers
    assert PRESETS[preset].source


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"tcp": True, "path": "/"}, "path and tcp each say"),
        ({"preset": "openai", "grpc": {}}, "preset and grpc each say"),
        ({"preset": "telepathy"}, "'openai'"),
        ({"preset": "kserve-v2"}, "preset 'kserve-v2' needs model"),
        ({"preset": "bentoml", "model": "m"}, "preset 'bentoml' takes no model"),
        ({"preset": "ray-serve"}, "preset 'ray-serve' needs first: .*only a real request tells"),
        ({"path": "/", "model": "m"}, "model belongs to a preset"),
        ({"preset": "kserve-v2", "model": "../x y"}, "pattern"),
        ({"tcp": True, "method": "GET"}, "method belong to a request, and there is no path"),
        ({"grpc": {}, "expect": {"status": 200}}, "expect belong to a request"),
        ({"first": {"path": "/"}}, "first comes before a lighter probe"),
        ({"path": "/", "method": "GET", "body": "x"}, "GET sends no body"),
        ({"path": "/", "method": "DELETE"}, "'GET', 'HEAD' or 'POST'"),
        ({"path": "/", "method": "HEAD", "expect": {"regex": "ok"}}, "HEAD has no body"),
        (
            {"path": "/", "port": "Metrics"},
            "'Metrics' is no name of a port",
        ),
        ({"path": "/", "headers": {"A B": "x"}}, "no name of an HTTP header"),
        ({"path": "/", "headers": {"A": "x\r\nB: y"}}, "no line of printable ASCII"),
        ({"path": "/", "headers": {"Content-Length": "5"}}, "set by the probe itself"),
        ({"path": "/", "body": "x" * 20_000}, "at most 16,384 bytes"),
        ({"path": "/", "expect": {"status": 99}}, "is no status"),
        ({"path": "/", "expect": {"status": "300-200"}}, "is no status"),
        ({"path": "/", "expect": {"status": []}}, "at least 1"),
        ({"path": "/", "expect": {"json": {"a": [1]}}}, "valid"),
        ({"path": "/", "expect": {"regex": "x" * 201}}, "1 to 200 characters"),
        ({"path": "/", "expect": {"regex": "(a{9}){9}"}}, "at most 32 when multiplied"),
        ({"path": "/", "first": {"path": "/", "timeout": "1ms"}}, "at least 10ms"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_reason(content: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        check(**content)


def test_nothing_said_is_read_as_a_stored_revision_means_it() -> None:
    assert check().says_nothing
    assert check().probe() == TcpProbe()


def test_what_is_stored_has_new_keys_only_where_they_are_given() -> None:
    assert check(path="/health").content() == {
        "path": "/health",
        "interval": "1s",
        "timeout": "1s",
        "success_threshold": 1,
        "failure_threshold": 3,
    }


@pytest.mark.parametrize(
    "content",
    [
        {"preset": "openai", "model": "m"},
        {
            "path": "/x",
            "method": "POST",
            "headers": {"A": "b"},
            "body": [1],
            "expect": {"json": {"a": None}, "regex": "a"},
        },
        {"grpc": {}, "first": {"path": "/x", "expect": {"status": [200, "300-302"]}}},
    ],
)
def test_what_is_stored_is_read_as_it_was_given(content: dict[str, Any]) -> None:
    given = check(**content)

    assert HealthCheck.model_validate(given.content(), strict=False) == given


def test_headers_that_look_secret_are_named_with_their_place() -> None:
    given = check(
        path="/",
        headers={"Authorization": "Bearer x", "Accept": "a"},
        first={"path": "/", "headers": {"X-Api-Key": "k"}},
    )

    assert dict(given.secret_headers()) == {
        "health_check.headers.Authorization": "Bearer x",
        "health_check.first.headers.X-Api-Key": "k",
    }
