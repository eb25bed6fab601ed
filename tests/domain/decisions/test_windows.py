"""When windows open and close: examples over every change of a clock, and a minute-by-minute oracle."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.windows import (
    HORIZON,
    is_open,
    known_zones,
    next_opening,
    opening_times,
    refuse_never_open,
    refuse_unknown_zones,
)
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.opening import Opening, OpeningTimes, TimerOpening
from celadon.domain.language.window import Weekday, Window

MINUTE: Final = timedelta(minutes=1)
ZONES: Final = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "Asia/Tehran",
    "America/St_Johns",
)
ALL_DAYS: Final = [day.value for day in Weekday]
WORKDAYS: Final = ["mon", "tue", "wed", "thu", "fri"]


def window(
    opens: str, closes: str, zone: str = "Europe/Berlin", days: list[str] = ALL_DAYS, applies_to: str = "timer"
) -> Window:
    """Return a window as a policy file gives it."""
    given = {"days": days, "from": opens, "to": closes, "zone": zone, "applies_to": applies_to}
    return Window.model_validate(given, strict=False)


def utc(text: str) -> datetime:
    """Return a moment of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def openings(windows: list[Window], since: str, until: str) -> list[tuple[str, str]]:
    """Return all openings between two moments, as times of UTC."""
    found = []
    at, end = utc(since), utc(until)
    while (opening := next_opening(windows, at, at)) is not None and opening.opens_at < end:
        assert opening.closes_at is not None
        found.append((f"{opening.opens_at:%d %H:%M}", f"{opening.closes_at:%d %H:%M}"))
        at = opening.closes_at
    return found


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2026-06-05T06:59:59", "2026-06-05T07:00", "2026-06-05T15:00"),
        ("2026-06-05T07:00", "2026-06-05T07:00", "2026-06-05T15:00"),
        ("2026-06-05T14:59:59", "2026-06-05T14:59:59", "2026-06-05T15:00"),
        ("2026-06-05T15:00", "2026-06-08T07:00", "2026-06-08T15:00"),
        ("2026-06-06T12:00", "2026-06-08T07:00", "2026-06-08T15:00"),
    ],
    ids=["before it", "at its begin", "inside", "at its end", "at a weekend"],
)
def test_the_present_or_next_opening_on_working_days(now: str, opens: str, closes: str) -> None:
    hours = [window("09:00", "17:00", days=WORKDAYS)]

    assert next_opening(hours, utc(now), utc(now)) == Opening(opens_at=utc(opens), closes_at=utc(closes))
    assert is_open(hours, utc(now)) == (utc(opens) <= utc(now))


def test_an_opening_before_the_timer_is_due_is_of_no_use() -> None:
    hours = [window("09:00", "17:00")]
    now, due = utc("2026-06-05T10:00"), utc("2026-06-05T16:30")

    assert next_opening(hours, now, due) == Opening(opens_at=utc("2026-06-06T07:00"), closes_at=utc("2026-06-06T15:00"))


def test_a_window_whose_end_is_before_its_begin_spans_midnight_and_its_days_are_those_of_its_begin() -> None:
    night = [window("22:00", "04:00", days=["fri"])]

    # Friday, June 5: from ten in the evening until four on Saturday, and not on the night before.
    assert openings(night, "2026-06-01T00:00", "2026-06-08T00:00") == [("05 20:00", "06 02:00")]


def test_a_window_until_midnight_and_one_from_midnight_are_one_opening() -> None:
    both = [window("22:00", "24:00", days=["fri"]), window("00:00", "04:00", days=["sat"])]

    assert openings(both, "2026-06-01T00:00", "2026-06-08T00:00") == [("05 20:00", "06 02:00")]


def test_windows_that_overlap_add_up() -> None:
    both = [window("09:00", "12:00"), window("11:00", "14:00")]

    assert openings(both, "2026-06-01T00:00", "2026-06-02T00:00") == [("01 07:00", "01 12:00")]


def test_a_window_keeps_its_hours_on_the_wall_over_both_changes_of_daylight_saving() -> None:
    hours = [window("09:00", "17:00")]

    spring = openings(hours, "2026-03-28T00:00", "2026-03-30T12:00")
    autumn = openings(hours, "2026-10-24T00:00", "2026-10-26T12:00")

    assert spring == [("28 08:00", "28 16:00"), ("29 07:00", "29 15:00"), ("30 07:00", "30 15:00")]
    assert autumn == [("24 07:00", "24 15:00"), ("25 08:00", "25 16:00"), ("26 08:00", "26 16:00")]


def test_a_night_over_the_change_to_daylight_saving_is_an_hour_shorter_and_over_the_change_back_an_hour_longer() -> (
    None
):
    night = [window("22:00", "06:00", days=["sat"])]

    assert openings(night, "2026-03-28T00:00", "2026-03-30T00:00") == [("28 21:00", "29 04:00")]
    assert openings(night, "2026-10-24T00:00", "2026-10-26T00:00") == [("24 20:00", "25 05:00")]


def test_a_window_inside_the_hour_that_does_not_exist_is_not_open_on_that_day() -> None:
    hour = [window("02:00", "03:00")]

    assert openings(hour, "2026-03-28T00:00", "2026-03-31T00:00") == [
        ("28 01:00", "28 02:00"),
        ("30 00:00", "30 01:00"),
    ]


def test_a_window_that_begins_in_the_hour_that_does_not_exist_opens_when_the_clock_shows_a_time_again() -> None:
    assert openings([window("02:30", "04:00")], "2026-03-29T00:00", "2026-03-29T12:00") == [("29 01:00", "29 02:00")]
    assert openings([window("01:30", "02:30")], "2026-03-29T00:00", "2026-03-29T12:00") == [("29 00:30", "29 01:00")]


def test_a_window_inside_the_hour_that_is_repeated_is_open_twice() -> None:
    quarter = [window("02:15", "02:45")]

    found = openings(quarter, "2026-10-25T00:00", "2026-10-25T12:00")

    assert found == [("25 00:15", "25 00:45"), ("25 01:15", "25 01:45")]


def test_a_window_that_ends_in_the_hour_that_is_repeated_closes_and_opens_again() -> None:
    assert openings([window("01:30", "02:30")], "2026-10-24T12:00", "2026-10-25T12:00") == [
        ("24 23:30", "25 00:30"),
        ("25 01:00", "25 01:30"),
    ]


def test_a_zone_that_leaves_a_whole_day_out_has_no_opening_on_it() -> None:
    # Samoa went over the date line at the end of December 29, 2011: there was no Friday, December 30.
    friday = [window("00:00", "24:00", "Pacific/Apia", ["fri"])]

    assert openings(friday, "2011-12-24T12:00", "2012-01-08T00:00") == [("05 10:00", "06 10:00")]


def test_a_change_of_half_an_hour_is_taken_as_it_is() -> None:
    hours = [window("01:00", "03:00", "Australia/Lord_Howe")]

    assert openings(hours, "2026-04-03T20:00", "2026-04-05T12:00") == [("04 14:00", "04 16:30")]


def test_a_window_of_all_days_and_all_hours_has_no_end_in_sight() -> None:
    always = [window("00:00", "24:00")]
    now = utc("2026-06-05T12:00:30")

    assert next_opening(always, now, now) == Opening(opens_at=now, closes_at=None)


def test_a_timer_needs_an_open_window_of_each_kind_and_a_person_one_of_those_for_everyone() -> None:
    both = [window("09:00", "17:00"), window("08:00", "12:00", "UTC", ["mon"], "everyone")]
    now = utc("2026-06-05T12:00")

    times = opening_times(both, now)

    assert times == OpeningTimes(
        at=now,
        timers=Opening(opens_at=utc("2026-06-08T08:00"), closes_at=utc("2026-06-08T12:00")),
        people=Opening(opens_at=utc("2026-06-08T08:00"), closes_at=utc("2026-06-08T12:00")),
        binds_people=True,
    )
    assert openings(both, "2026-06-08T00:00", "2026-06-09T00:00") == [("08 08:00", "08 12:00")]


def test_windows_of_two_kinds_that_are_never_open_at_once_are_refused() -> None:
    apart = [window("09:00", "12:00"), window("13:00", "17:00", applies_to="everyone")]
    now = utc("2026-06-05T12:00")

    refusal = refuse_never_open(apart, now)

    assert refusal is not None
    assert refusal.code is RefusalCode.POLICY_CONFLICT
    assert "never open at once" in refusal.message
    assert next_opening(apart, now, now) is None
    assert refuse_never_open([apart[0]], now) is None


def test_windows_that_meet_once_a_year_are_not_refused() -> None:
    # Berlin and New York change their clocks on different days: for three weeks in March they are five hours apart.
    meet = [window("14:00", "14:30"), window("09:00", "09:30", "America/New_York", applies_to="everyone")]

    opening = next_opening(meet, utc("2026-11-10T00:00"), utc("2026-11-10T00:00"))

    assert opening is not None
    assert opening.opens_at == utc("2027-03-14T13:00")


@pytest.mark.parametrize("zone", ["Europe/Berln", "localtime", "posixrules", "right/Europe/Berlin", "europe/berlin"])
def test_a_zone_that_is_not_in_tzdata_is_refused_by_its_place(zone: str) -> None:
    refusal = refuse_unknown_zones([window("09:00", "17:00"), window("09:00", "17:00", zone)])

    assert refusal is not None
    assert refusal.code is RefusalCode.INVALID_PAYLOAD
    assert refusal.message.startswith(f"policy.windows.1.zone: there is no time zone '{zone}'")


def test_a_zone_that_is_written_almost_right_is_suggested() -> None:
    refusal = refuse_unknown_zones([window("09:00", "17:00", "Europe/Berln")])

    assert refusal is not None
    assert "did you mean 'Europe/Berlin'?" in refusal.message


def test_the_zones_of_the_machine_are_out_of_the_way() -> None:
    assert zoneinfo.TZPATH == ()
    assert {"UTC", "Europe/Berlin"} <= known_zones()


def test_a_window_of_a_zone_that_a_later_release_dropped_is_never_open() -> None:
    gone = [window("00:00", "24:00", "Europe/Atlantis")]

    assert next_opening(gone, utc("2026-06-05T12:00"), utc("2026-06-05T12:00")) is None
    assert not is_open(gone, utc("2026-06-05T12:00"))


def test_a_rollout_whose_clock_is_ahead_wakes_later_by_as_much() -> None:
    at, opens, closes = utc("2026-06-05T06:00"), utc("2026-06-05T07:00"), utc("2026-06-05T15:00")
    times = OpeningTimes(at=at, timers=Opening(opens_at=opens, closes_at=closes), people=None, binds_people=False)
    ahead = timedelta(seconds=90)

    kept = TimerOpening.of(times, at, at + ahead)

    assert (kept.opens_at, kept.wakes_at, kept.closes_at) == (opens, opens + ahead, closes + ahead)
    assert not kept.has_begun(opens)
    assert kept.has_begun(opens + ahead)


def test_a_rollout_whose_clock_is_behind_does_not_wait_for_windows_that_are_open() -> None:
    at, closes = utc("2026-06-05T08:00"), utc("2026-06-05T15:00")
    times = OpeningTimes(at=at, timers=Opening(opens_at=at, closes_at=closes), people=None, binds_people=False)
    now = at - timedelta(seconds=90)

    kept = TimerOpening.of(times, now + timedelta(seconds=1), now)

    assert kept.has_begun(now)
    assert not kept.has_passed(at)


# The oracle: at each minute the clock on the wall is asked, which is what a window is said to be.


_place = lru_cache(zoneinfo.ZoneInfo.no_cache)


def _shows(one: Window, at: datetime) -> bool:
    """Whether the clock of a window's place shows one of its times."""
    wall = at.astimezone(_place(one.zone))
    minute, today = wall.hour * 60 + wall.minute, list(Weekday)[wall.weekday()]
    yesterday = list(Weekday)[(wall.weekday() - 1) % 7]
    begins, ends = one.opens, one.closes
    return (today in one.days and begins <= minute < ends) or (yesterday in one.days and minute + 24 * 60 < ends)


def _oracle(windows: list[Window], at: datetime) -> bool:
    kinds = {one.applies_to for one in windows}
    return all(any(_shows(one, at) for one in windows if one.applies_to is kind) for kind in kinds)


_NEAR_CHANGES: Final = ("00:00", "01:30", "02:00", "02:15", "02:30", "03:00", "03:30", "23:30")
_CHANGES: Final = (
    "2026-03-29",
    "2026-10-25",
    "2024-11-03",
    "2025-03-09",
    "2026-04-05",
    "2011-12-30",
    "2018-02-18",
    "2026-02-15",
    "2026-03-22",
    "2016-03-21",
)
_times = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
_hours = st.tuples(
    _times | st.sampled_from(_NEAR_CHANGES),
    _times | st.sampled_from((*_NEAR_CHANGES, "24:00")),
).filter(lambda hours: hours[0] != hours[1])
_windows = st.builds(
    lambda hours, zone, days, applies_to: window(hours[0], hours[1], zone, sorted(days), applies_to),
    _hours,
    st.sampled_from(ZONES),
    st.sets(st.sampled_from(ALL_DAYS), min_size=1) | st.just(set(ALL_DAYS)),
    st.sampled_from(["timer", "timer", "everyone"]),
)
_days = st.sampled_from(_CHANGES).map(utc) | st.datetimes(datetime(2001, 1, 1), datetime(2037, 1, 1)).map(  # noqa: DTZ001
    lambda day: day.replace(tzinfo=UTC, hour=0, minute=0, second=0, microsecond=0)
)


@given(st.lists(_windows, min_size=1, max_size=3), _days, st.integers(0, 24 * 60 - 1))
def test_openings_are_those_minutes_in_which_the_clocks_on_the_wall_show_a_time_of_a_window(
    windows: list[Window], day: datetime, minute: int
) -> None:
    begin = day - timedelta(days=1) + minute * MINUTE
    end = begin + timedelta(days=2)
    shown = {begin + number * MINUTE for number in range(2 * 24 * 60) if _oracle(windows, begin + number * MINUTE)}

    told: set[datetime] = set()
    at = begin
    while (opening := next_opening(windows, at, at)) is not None and opening.opens_at < end:
        closes = min(opening.closes_at or end, end)
        assert opening.opens_at < closes
        assert is_open(windows, opening.opens_at)
        told |= {opening.opens_at + number * MINUTE for number in range((closes - opening.opens_at) // MINUTE)}
        if opening.closes_at is None or opening.closes_at >= end:
            break
        assert not is_open(windows, opening.closes_at)
        at = opening.closes_at

    assert told == shown


@given(_windows, _days)
def test_a_window_of_one_kind_opens_within_the_horizon(one: Window, day: datetime) -> None:
    opening = next_opening([one], day, day)

    assert opening is not None
    assert opening.opens_at < day + HORIZON
