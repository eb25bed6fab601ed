"""What of a deployment's traffic settings changes, and how people read it."""

import pytest

from celadon.domain.decisions.traffic_settings import changes_between, in_words, without
from celadon.domain.language.traffic import DEFAULT_SETTINGS, Traffic, TrafficKey, TrafficSettings

BY_SESSION = {"maglev": {"header": "x-session-id"}}
ALL = {"max_requests": 500, "max_body": "64MiB", "idle_timeout": "10m", "retries": 0, "load_balancing": BY_SESSION}


def made(**written: object) -> TrafficSettings:
    """Return settings as a deployment file writes them."""
    return Traffic.model_validate(written).over(DEFAULT_SETTINGS)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (TrafficKey.MAX_REQUESTS, "500"),
        (TrafficKey.MAX_BODY, "64MiB"),
        (TrafficKey.IDLE_TIMEOUT, "10m"),
        (TrafficKey.RETRIES, "0"),
        (TrafficKey.LOAD_BALANCING, "{maglev: {header: x-session-id}}"),
    ],
)
def test_each_setting_is_told_as_a_file_writes_it(key: TrafficKey, words: str) -> None:
    assert in_words(made(**ALL), key) == words
    assert in_words(DEFAULT_SETTINGS, key) == "default"


def test_for_ever_is_told_as_no_seconds_and_the_usual_balancing_by_its_name() -> None:
    found = made(idle_timeout="0s", load_balancing="least_request")
    assert in_words(found, TrafficKey.IDLE_TIMEOUT) == "0s"
    assert in_words(found, TrafficKey.LOAD_BALANCING) == "least_request"


def test_what_is_not_given_stays() -> None:
    before = made(**ALL)
    assert Traffic.model_validate({"retries": 3}).over(before) == before.model_copy(update={"retries": 3})
    assert Traffic(hosts=("llm.example.com",)).over(before) == before


def test_changes_are_told_key_by_key_and_only_they() -> None:
    before, after = made(**ALL), made(**{**ALL, "max_requests": 600, "retries": 1})
    told = [(one.field, one.before, one.after) for one in changes_between(before, after)]
    assert told == [("max_requests", "500", "600"), ("retries", "0", "1")]
    assert changes_between(before, before) == ()


def test_what_is_reset_has_its_default_but_somebody_has_said_how_replicas_are_chosen() -> None:
    assert without(made(**ALL), [TrafficKey.MAX_BODY, TrafficKey.RETRIES]) == made(
        max_requests=500, idle_timeout="10m", load_balancing=BY_SESSION
    )
    assert without(made(**ALL), list(TrafficKey)) == made(load_balancing="least_request")
    assert without(DEFAULT_SETTINGS, list(TrafficKey)) == DEFAULT_SETTINGS
