"""What a deployment file may say of traffic: host names that clients can ask for, and settings that routers take."""

import json
import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from celadon.domain.language.errors import RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.traffic import LONGEST_HOST, MOST_HOSTS, Traffic

_CHARACTERS = "abzAZ019-._*:/ [] é\n"
_LABELS = st.text("abxAZ019-", min_size=1, max_size=64)


def hosts_of(*hosts: str) -> tuple[str, ...]:
    hosts_given = Traffic.model_validate({"hosts": hosts}).hosts
    assert hosts_given is not None
    return hosts_given


@given(st.text(_CHARACTERS, max_size=300) | st.lists(_LABELS, min_size=1, max_size=6).map(".".join))
@example("1.2.3.4")
@example("0x7f.0x1")
@example("llm.example.com.")
@example("\u017f.example.com")
@example("llm.example.com\n")
@example(".".join(["a" * 63] * 4))
def test_what_passes_is_a_dns_name_in_small_letters(value: str) -> None:
    try:
        [host] = hosts_of(value)
    except ValidationError:
        return
    labels = host.split(".")
    assert host == value.lower()
    assert len(host.encode("ascii")) <= LONGEST_HOST
    assert len(labels) >= 2
    assert all(re.fullmatch(r"[a-z0-9-]{1,63}", label) for label in labels)
    assert not any(label.startswith("-") or label.endswith("-") for label in labels)
    assert re.search("[a-z-]", labels[-1])
    with pytest.raises(ValueError, match="does not appear to be"):
        ip_address(host)


@given(st.lists(st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True), min_size=2, max_size=5).map(".".join))
def test_every_usual_name_passes_however_it_is_written(host: str) -> None:
    assert hosts_of(host.upper()) == (host,)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("*.example.com", "a wildcard"),
        ("llm", "no dot"),
        ("llm.example.com:443", "without a port"),
        ("https://llm.example.com/v1", "without a scheme"),
        ("10.0.0.1", "an IP address"),
        ("::1", "without a port"),
        ("bücher.example.com", "xn--"),
        ("llm_1.example.com", "write labels"),
        ("llm.example.com.", "write labels"),
        ("a." * 130 + "com", "at most 253"),
    ],
)
def test_what_does_not_pass_is_told_why(host: str, why: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(why)):
        hosts_of(host)


def test_hosts_are_sorted_and_there_once() -> None:
    assert hosts_of("b.example.com", "A.example.com", "B.EXAMPLE.com") == ("a.example.com", "b.example.com")


def test_there_are_at_most_twenty() -> None:
    some = [f"h{number}.example.com" for number in range(MOST_HOSTS + 1)]
    assert len(hosts_of(*some[1:])) == MOST_HOSTS
    with pytest.raises(ValidationError, match="at most 20"):
        hosts_of(*some)


def test_no_hosts_are_another_thing_than_hosts_that_are_not_given() -> None:
    assert hosts_of() == ()
    assert Traffic.model_validate({}).hosts is None


# How routers treat requests.


@pytest.mark.parametrize(
    ("written", "key", "stored"),
    [
        ({"max_requests": 1}, "max_requests", 1),
        ({"max_requests": 1_000_000}, "max_requests", 1_000_000),
        ({"max_body": "65536"}, "max_body", "64KiB"),
        ({"max_body": 1500}, "max_body", "1500B"),
        ({"idle_timeout": "0s"}, "idle_timeout", timedelta(0)),
        ({"idle_timeout": 90}, "idle_timeout", timedelta(seconds=90)),
        ({"retries": 0}, "retries", 0),
        ({"load_balancing": "least_request"}, "load_balancing", "least_request"),
        ({"load_balancing": {"maglev": {"header": "X-Session-Id"}}}, "hash_header", "x-session-id"),
    ],
)
def test_settings_are_read_as_people_write_them(written: dict[str, Any], key: str, stored: object) -> None:
    assert getattr(Traffic.model_validate(written), key) == stored
    assert getattr(Traffic.model_validate_json(json.dumps(written)), key) == stored


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"max_requets": 5}, "did you mean 'max_requests'?"),
        ({"max_requests": 0}, "traffic.max_requests: must be at least 1"),
        ({"max_requests": 1_000_001}, "must be at most 1000000"),
        ({"max_requests": "many"}, "traffic.max_requests: must be a whole number"),
        ({"max_body": "64MB"}, "write 64KiB, 16MiB, 1GiB or a number of bytes"),
        ({"max_body": 0}, "is no size from 1B to 1TiB"),
        ({"idle_timeout": "soon"}, "is no duration"),
        ({"retries": 21}, "must be at most 20"),
        ({"load_balancing": "maglev"}, "write least_request, or {maglev: {header: NAME}}"),
        ({"load_balancing": {"ring_hash": {"header": "a"}}}, "traffic.load_balancing.ring_hash: unknown key"),
        ({"load_balancing": {"maglev": {"heador": "a"}}}, "did you mean 'header'?"),
        ({"load_balancing": {"maglev": {"header": ":path"}}}, "is no name of a header"),
        ({"load_balancing": {"maglev": {"header": "x" * 65}}}, "is no name of a header"),
    ],
)
def test_what_is_no_setting_is_refused_in_words_that_help(written: dict[str, Any], told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_payload(RolloutRequest, {"deployment": "chat", "revision": 1, "traffic": written})
    assert told in refused.value.refusal.message
