"""Durations: what people write, what is refused, what JSON carries."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from celadon.domain.language.durations import Duration, format_duration, parse_duration

_duration: TypeAdapter[timedelta] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("2.5s", 2.5),
        (" 5m ", 300),
        ("PT5M", 300),
        ("P1DT2H", 93_600),
        ("90", 90),
        ("1.5", 1.5),
        (90, 90),
        (0.25, 0.25),
        (0, 0),
        (timedelta(seconds=3), 3),
    ],
)
def test_a_duration_is_read_as_people_write_it(written: object, seconds: float) -> None:
    assert parse_duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written",
    ["", "soon", "5 m", "m", "5x", "5m30", "1e3", "--5s", "P", "PT", "Pepper", "P5M5", True, False, None, [], {}],
)
def test_what_is_no_duration_is_refused_with_the_forms_that_are(written: object) -> None:
    with pytest.raises(ValueError, match="is no duration: write 30s, 5m, 1h30m, PT5M or a number of seconds"):
        parse_duration(written)


@pytest.mark.parametrize(
    "written",
    ["99999999999999999999d", 10**400, float("inf"), float("-inf"), float("nan"), "9" * 400, "9" * 400 + "s"],
)
def test_a_number_beyond_all_time_is_refused_like_any_other_value(written: object) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(written)


@pytest.mark.parametrize("written", [-1, -0.5, "-5", "-5s", "-1m30s", "-PT5M"])
def test_a_negative_duration_is_refused(written: object) -> None:
    with pytest.raises(ValidationError, match="never negative"):
        _duration.validate_python(written)


def test_the_longest_duration_is_ten_years() -> None:
    assert _duration.validate_python("3650d") == timedelta(days=3650)
    with pytest.raises(ValidationError, match="at most 3650d"):
        _duration.validate_python("3651d")


@pytest.mark.parametrize(
    ("span", "written"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=30), "30s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=1, seconds=1), "1d1s"),
        (timedelta(milliseconds=2500), "2.5s"),
        (timedelta(milliseconds=59_999), "59.999s"),
        (timedelta(seconds=-90), "-1m30s"),
    ],
)
def test_a_duration_is_written_the_short_way(span: timedelta, written: str) -> None:
    assert format_duration(span) == written


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_json_carries_every_duration_unchanged(span: timedelta) -> None:
    known = _duration.validate_python(span)

    assert abs(known - span) <= timedelta(milliseconds=0.5)
    assert _duration.validate_json(_duration.dump_json(known)) == known


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none(), st.lists(st.integers())))
def test_any_value_is_a_duration_or_a_refusal(value: object) -> None:
    try:
        known = _duration.validate_python(value)
    except ValidationError:
        return
    assert timedelta(0) <= known <= timedelta(days=3650)
