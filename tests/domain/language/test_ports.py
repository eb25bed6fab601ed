"""The ports of a revision: names, protocols, and what stands for them."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import InvalidPayloadError, parse_payload
from celadon.domain.language.ports import MOST_PORTS, STREAMS, PortProtocol, grpc_streams, stored_ports
from celadon.domain.language.revision import Revision

LOCAL: dict[str, Any] = {"command": ["serve", "--port", "{port}"]}
BOTH: dict[str, Any] = {"http": "http1", "grpc": "h2c"}
STATIC: dict[str, Any] = {"provisioner": "static", "ports": BOTH}


DIGEST = "61ffffa86938af21bbb3c45754235a96a2aa7397c3ace49106a96502cbc61c5d"
"""Of a revision with two probes, as versions stored it that knew one port."""


def revision(**content: Any) -> Revision:
    return Revision.model_validate_json(json.dumps(content))


def endpoint(host: str = "127.0.0.1", **ports: int) -> dict[str, Any]:
    return {"host": host, "ports": ports}


def test_a_revision_that_says_nothing_of_ports_has_one_for_http() -> None:
    assert revision(**LOCAL).ports == {"http": PortProtocol.HTTP1}


def test_the_default_written_out_is_the_same_content() -> None:
    assert revision(**LOCAL, ports={"http": "http1"}).digest() == revision(**LOCAL).digest()
    assert "ports" not in revision(**LOCAL, ports={"http": {"protocol": "http1"}}).content()


@pytest.mark.parametrize("ports", [BOTH, {"http": "http1", "metrics": "none"}, {"api": "http1"}, {"grpc": "h2c"}])
def test_other_ports_are_other_content_and_are_read_back(ports: dict[str, Any]) -> None:
    known = revision(**LOCAL, ports=ports, health_check={"tcp": True})

    assert known.digest() != revision(**LOCAL, health_check={"tcp": True}).digest()
    assert Revision.of_stored(known.content()) == known


def test_a_limit_on_streams_that_is_the_default_is_the_same_content() -> None:
    written = {"http": "http1", "grpc": {"protocol": "h2c", "max_concurrent_streams": STREAMS}}

    assert revision(**LOCAL, ports=written).digest() == revision(**LOCAL, ports=BOTH).digest()


@pytest.mark.parametrize(
    ("ports", "streams"),
    [
        (None, None),
        ({"http": "http1"}, None),
        (BOTH, STREAMS),
        ({"grpc": {"protocol": "h2c", "max_concurrent_streams": 7}}, 7),
    ],
)
def test_the_streams_of_a_connection_are_those_of_the_port_for_grpc(
    ports: dict[str, Any] | None, streams: int | None
) -> None:
    assert grpc_streams(stored_ports(ports)) == streams


@pytest.mark.parametrize(
    ("ports", "main"),
    [(BOTH, "http"), ({"grpc": "h2c", "metrics": "none"}, "grpc"), ({"z": "http1", "a": "h2c"}, "z")],
)
def test_the_main_port_is_that_of_http_or_else_that_of_grpc(ports: dict[str, Any], main: str) -> None:
    assert revision(**LOCAL, ports=ports).main_port == main


@pytest.mark.parametrize(
    ("ports", "why"),
    [
        ({}, "no port takes requests"),
        ({"metrics": "none"}, "no port takes requests"),
        ({"a": "http1", "b": "http1"}, "'a' and 'b' are both 'http1'"),
        ({"a": "h2c", "b": {"protocol": "h2c", "max_concurrent_streams": 1}}, "'a' and 'b' are both 'h2c'"),
        ({"HTTP": "http1"}, "no name of a port"),
        ({"a_b": "http1"}, "no name of a port"),
        ({"1a": "http1"}, "no name of a port"),
        ({"a" * 16: "http1"}, "at most 15"),
        ({"http": "h2"}, "http1"),
        ({"http": 8000}, "http1"),
        ({"http": {"protocol": "http1", "max_concurrent_streams": 5}}, "belongs to the protocol 'h2c'"),
        ({"grpc": {"protocol": "h2c", "max_concurrent_streams": 0}}, "greater than or equal to 1"),
        ({"http": "http1", **{f"p{number}": "none" for number in range(MOST_PORTS)}}, "at most 10"),
    ],
)
def test_ports_that_cannot_be_are_refused_with_the_reason(ports: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        revision(**LOCAL, ports=ports)


@pytest.mark.parametrize(
    ("check", "asked"),
    [
        ({"tcp": True}, "http"),
        ({"path": "/health"}, "http"),
        ({"path": "/health", "port": "metrics"}, "metrics"),
        ({"grpc": {}}, "grpc"),
        ({"preset": "grpc"}, "grpc"),
        ({"preset": "kserve-v2-grpc", "model": "m"}, "grpc"),
        ({"grpc": {}, "port": "http"}, "http"),
    ],
)
def test_a_probe_asks_the_port_that_is_named_or_the_one_of_its_protocol(check: dict[str, Any], asked: str) -> None:
    known = revision(**LOCAL, ports={**BOTH, "metrics": "none"}, health_check=check)

    assert known.port_of(known.health_check.probe()) == asked
    again = Revision.of_stored(known.content())
    assert again.port_of(again.health_check.probe()) == asked


def test_grpc_is_asked_on_the_one_port_of_a_revision_that_has_no_other() -> None:
    known = revision(**LOCAL, health_check={"grpc": {}})

    assert known.port_of(known.health_check.probe()) == "http"


def test_a_port_that_is_asked_anyway_is_the_same_content() -> None:
    check = {"path": "/health", "first": {"path": "/ask"}}
    named = {"path": "/health", "port": "http", "first": {"path": "/ask", "port": "http"}}

    assert revision(**LOCAL, health_check=named).digest() == revision(**LOCAL, health_check=check).digest() == DIGEST


@pytest.mark.parametrize(
    "check", [{"path": "/", "port": "admin"}, {"tcp": True, "first": {"path": "/", "port": "admin"}}]
)
def test_a_probe_of_a_port_that_the_revision_does_not_have_is_refused(check: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="names the port 'admin', and the revision has 'grpc' and 'http'"):
        revision(**LOCAL, ports=BOTH, health_check=check)


def test_endpoints_give_a_number_for_each_port() -> None:
    known = revision(**STATIC, endpoints=[endpoint(http=8000, grpc=8001), endpoint("::1", http=8000, grpc=8001)])

    assert list(known.places()) == [
        ("127.0.0.1", {"http": 8000, "grpc": 8001}),
        ("::1", {"http": 8000, "grpc": 8001}),
    ]
    assert Revision.of_stored(known.content()).digest() == known.digest()


def test_an_endpoint_of_one_port_may_be_written_either_way() -> None:
    text = revision(provisioner="static", endpoints=["127.0.0.1:8000"])
    written_out = revision(provisioner="static", endpoints=[endpoint(http=8000)])

    assert list(text.places()) == list(written_out.places()) == [("127.0.0.1", {"http": 8000})]


@pytest.mark.parametrize(
    ("endpoints", "why"),
    [
        (["127.0.0.1:8000"], "gives one port, and the revision has 2"),
        ([endpoint(http=8000)], "gives other ports than the revision has: give 'grpc' and 'http'"),
        ([endpoint(http=8000, grpc=8001, admin=8002)], "gives other ports"),
        ([endpoint("replica-1", http=8000, grpc=8001)], "no IP address"),
        ([endpoint(http=0, grpc=8001)], "greater than or equal to 1"),
        ([endpoint(http=8000, grpc=8000)], "listed twice"),
        ([endpoint(http=8000, grpc=8001), endpoint(http=8001, grpc=8002)], "listed twice"),
    ],
)
def test_endpoints_that_do_not_fit_the_ports_are_refused(endpoints: list[Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        revision(**STATIC, endpoints=endpoints)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({**LOCAL, "ports": {"http": "h2"}}, "revision.ports.http: must be 'http1', 'h2c' or 'none'"),
        ({**LOCAL, "ports": {"A": "http1"}}, "revision.ports.A: 'A' is no name of a port: use at most 15 lower-case "),
        ({**LOCAL, "ports": {"grpc": {"protocol": "h2c", "streams": 1}}}, "revision.ports.grpc.streams: unknown key"),
        ({**STATIC, "endpoints": [{"host": "10.0.0.1"}]}, "revision.endpoints.0.ports: must be given"),
        ({**STATIC, "endpoints": [5]}, "revision.endpoints.0: must be text"),
    ],
)
def test_a_refusal_names_the_place_as_people_write_it(content: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        parse_payload(RolloutRequest, {"deployment": "chat", "revision": content})

    assert refused.value.refusal.message.startswith(told)
