"""Revisions: content and number, provisioners, secrets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from celadon.domain.language.probe import TcpProbe
from celadon.domain.language.revision import Provisioner, Revision, parse_endpoint

LOCAL: dict[str, Any] = {"command": ["serve", "--port", "{port}"]}


def revision(**content: Any) -> Revision:
    return Revision.model_validate_json(json.dumps(content))


def test_the_least_revision_is_a_command() -> None:
    known = revision(**LOCAL)

    assert known.provisioner is Provisioner.LOCAL
    assert known.health_check.says_nothing
    assert known.health_check.probe() == TcpProbe()


def test_the_same_content_has_the_same_digest_whatever_its_order() -> None:
    one = revision(**LOCAL, env={"A": "1", "B": "2"})
    other = revision(env={"B": "2", "A": "1"}, **LOCAL)

    assert one.digest() == other.digest()


def test_a_default_written_out_is_the_same_content() -> None:
    assert revision(**LOCAL).digest() == revision(**LOCAL, termination_grace="30s", provisioner="local").digest()


@pytest.mark.parametrize(
    "content",
    [
        {"command": ["serve", "--port", "8000"]},
        {**LOCAL, "env": {"MODEL": "m"}},
        {**LOCAL, "env": {"MODEL": {"secret": "m"}}},
        {**LOCAL, "health_check": {"path": "/health"}},
        {**LOCAL, "termination_grace": "31s"},
        {"provisioner": "static", "endpoints": ["127.0.0.1:8000"]},
    ],
)
def test_other_content_has_another_digest(content: dict[str, Any]) -> None:
    assert revision(**content).digest() != revision(**LOCAL).digest()


def test_the_digest_of_a_content_never_changes() -> None:
    """Stored digests give numbers: one that changed would renumber every deployment's revisions."""
    assert revision(**LOCAL).digest() == "dda0ab83bb95ef95b1d8c76890af644ac5763d5e6f541bdcab4730d6caf6489f"


def test_a_stored_revision_without_a_check_means_tcp_and_has_the_number_of_one_that_says_so() -> None:
    stored = {
        "env": {},
        "command": ["serve", "--port", "{port}"],
        "endpoints": [],
        "provisioner": "local",
        "health_check": {
            "path": None,
            "timeout": "1s",
            "interval": "1s",
            "failure_threshold": 3,
            "success_threshold": 1,
        },
        "termination_grace": "30s",
    }

    read = Revision.of_stored(stored)

    assert read.health_check.tcp
    assert read.digest() == "dda0ab83bb95ef95b1d8c76890af644ac5763d5e6f541bdcab4730d6caf6489f"
    assert revision(**LOCAL, health_check={"tcp": True}).digest() == read.digest()


@pytest.mark.parametrize(
    "content",
    [
        {"start_timeout": "5m", "health_check": {"tcp": True}},
        {"working_dir": "/srv", "health_check": {"tcp": True}},
        {"health_check": {"preset": "openai"}},
        {"health_check": {"grpc": {}}},
        {"health_check": {"path": "/x", "expect": {"status": 204}}},
        {"health_check": {"tcp": True, "interval": "2s"}},
    ],
)
def test_new_keys_count_for_the_digest_and_are_read_back(content: dict[str, Any]) -> None:
    known = revision(**LOCAL, **content)

    assert known.digest() != revision(**LOCAL, health_check={"tcp": True}).digest()
    assert Revision.of_stored(known.content()) == known


def test_the_digest_survives_the_way_through_the_table() -> None:
    known = revision(**LOCAL, env={"TOKEN": {"secret": "hub-token"}}, health_check={"path": "/health", "interval": 0.5})

    assert Revision.of_stored(known.content()).digest() == known.digest()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "needs a command"),
        ({"command": []}, "needs a command"),
        ({"command": [""]}, "needs a command"),
        ({"command": "serve"}, "Input should be a valid"),
        ({"command": ["serve", 8000]}, "Input should be a valid string"),
        ({"command": ["serve\0"]}, "no NUL"),
        ({**LOCAL, "endpoints": ["127.0.0.1:1"]}, "belong to provisioner 'static'"),
        ({**LOCAL, "env": {"1A": "x"}}, "no name of an environment variable"),
        ({**LOCAL, "env": {"A=B": "x"}}, "no name of an environment variable"),
        ({**LOCAL, "env": {"A": "x\0"}}, "NUL"),
        ({**LOCAL, "env": {"A": 1}}, "Input should be a valid string"),
        ({**LOCAL, "env": {"A": {"secret": "../x"}}}, "no secret's name"),
        ({**LOCAL, "env": {"A": {"value": "x"}}}, "secret"),
        ({**LOCAL, "termination_grace": -1}, "never negative"),
        ({**LOCAL, "start_timeout": "10ms"}, "at least 1s"),
        ({**LOCAL, "working_dir": "srv"}, "pattern"),
        ({**LOCAL, "working_dir": "/srv\0"}, "pattern"),
        (
            {"provisioner": "static", "endpoints": ["127.0.0.1:1"], "working_dir": "/srv"},
            "belong to provisioner 'local'",
        ),
        ({**LOCAL, "health_check": {"path": "health"}}, "pattern"),
        ({**LOCAL, "health_check": {"path": "/he alth"}}, "pattern"),
        ({**LOCAL, "health_check": {"interval": "1ms"}}, "at least 100ms"),
        ({**LOCAL, "health_check": {"timeout": "1ms"}}, "at least 10ms"),
        ({**LOCAL, "health_check": {"failure_threshold": 0}}, "greater than or equal to 1"),
        ({**LOCAL, "health_check": {"success_threshold": True}}, "valid integer"),
        ({"provisioner": "static"}, "needs endpoints"),
        ({"provisioner": "static", "endpoints": ["127.0.0.1"]}, "no endpoint"),
        ({"provisioner": "static", "endpoints": ["127.0.0.1:0"]}, "no endpoint"),
        ({"provisioner": "static", "endpoints": ["127.0.0.1:1", "127.0.0.1:1"]}, "listed twice"),
        ({"provisioner": "static", "endpoints": ["gpu-1.example:80"]}, "names a host; write its IP address"),
        ({"provisioner": "static", "endpoints": ["127.0.0.1:1"], "command": ["x"]}, "belong to provisioner 'local'"),
        ({"provisioner": "nomad", **LOCAL}, "'local', 'static' or 'kubernetes'"),
        ({**LOCAL, "image": "registry/model:1"}, "Extra inputs"),
    ],
)
def test_a_revision_that_cannot_be_served_is_refused_with_the_reason(content: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        revision(**content)


def test_a_provisioner_of_a_later_version_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="'kubernetes' is not carried out by this version"):
        revision(provisioner="kubernetes", command=["serve"])


@pytest.mark.parametrize(
    ("name", "looks_secret"),
    [
        ("TOKEN", True),
        ("HF_TOKEN", True),
        ("openai_api_key", True),
        ("DB_PASSWORD", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("PRIVATE_KEY", True),
        ("MODEL", False),
        ("MAX_TOKENS", False),
        ("TOKENIZER", False),
        ("KEYBOARD", False),
    ],
)
def test_plain_values_under_names_of_secrets_are_found(name: str, looks_secret: bool) -> None:  # noqa: FBT001
    assert revision(**LOCAL, env={name: "x"}).plain_secrets() == ({name: "x"} if looks_secret else {})


def test_a_reference_is_no_plain_secret() -> None:
    assert revision(**LOCAL, env={"TOKEN": {"secret": "hub-token"}}).plain_secrets() == {}


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("10.0.0.7:65535", ("10.0.0.7", 65_535)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(written: str, address: tuple[str, int]) -> None:
    assert parse_endpoint(written) == address


@given(st.text())
def test_any_text_is_an_endpoint_or_a_refusal(text: str) -> None:
    try:
        host, port = parse_endpoint(text)
    except ValueError:
        return
    assert host
    assert 0 < port < 65_536
