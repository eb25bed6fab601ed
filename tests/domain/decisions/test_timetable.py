"""Timetables: which cron expressions are read, and at which moments they fire."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from celadon.domain.decisions.timetable import fires_at, read_timetable

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "moment", "fires"),
    [
        ("0 3 * * *", "2026-12-01T03:00:00", True),
        ("0 3 * * *", "2026-12-01T03:00:01", False),
        ("0 3 * * *", "2026-12-01T03:01:00", False),
        ("*/15 * * * *", "2026-12-01T03:45:00", True),
        ("*/15 * * * *", "2026-12-01T03:50:00", False),
        ("5/20 * * * *", "2026-12-01T03:45:00", True),
        ("0 9-17/4 * * *", "2026-12-01T13:00:00", True),
        ("0 9-17/4 * * *", "2026-12-01T14:00:00", False),
        ("0 3 1,15 * *", "2026-12-15T03:00:00", True),
        ("0 3 1,15 * *", "2026-12-14T03:00:00", False),
        ("0 3 * dec *", "2026-12-14T03:00:00", True),
        ("0 3 * JAN-NOV *", "2026-12-14T03:00:00", False),
        ("0 3 * * mon-fri", "2026-12-04T03:00:00", True),
        ("0 3 * * mon-fri", "2026-12-05T03:00:00", False),
        ("0 3 * * 0", "2026-12-06T03:00:00", True),
        ("0 3 * * 7", "2026-12-06T03:00:00", True),
        ("0 3 * * 5-7", "2026-12-06T03:00:00", True),
        ("0 3 29 2 *", "2028-02-29T03:00:00", True),
    ],
)
def test_a_timetable_has_the_minutes_of_its_expression(cron: str, moment: str, fires: bool) -> None:  # noqa: FBT001
    assert read_timetable(cron, "UTC").has(utc(moment)) is fires


@pytest.mark.parametrize("moment", ["2026-03-28T01:30:00", "2026-03-29T00:30:00", "2026-10-25T01:30:00"])
def test_a_timetable_is_of_its_zone_over_both_changes_of_daylight_saving(moment: str) -> None:
    local = utc(moment).astimezone(BERLIN)
    timetable = read_timetable(f"{local.minute} {local.hour} * * *", "Europe/Berlin")

    assert timetable.has(utc(moment))
    assert not timetable.has(utc(moment) + timedelta(hours=2))


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("", "five fields"),
        ("0 3 * *", "five fields"),
        ("0 0 3 * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 3 * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 3 0 * *", "day of the month"),
        ("0 3 * 13 *", "month"),
        ("0 3 * * 8", "day of the week"),
        ("0 3 * * someday", "day of the week"),
        ("5-1 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("*/x * * * *", "minute"),
        ("*/99 * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("² * * * *", "minute"),
        (", * * * *", "minute"),
        ("0 3 1 * mon", "not both"),
        ("0 " * 200, "at most 200 characters"),
    ],
)
def test_an_expression_that_says_no_moment_is_refused_with_the_reason(cron: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_timetable(cron, "UTC")


@pytest.mark.parametrize("zone", ["", "Europe/Atlantis", "/etc/passwd", "../UTC", "Europe", "x" * 100, "a\0b"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        read_timetable("0 3 * * *", zone)


def test_a_schedule_that_fires_once_fires_at_its_moment_alone() -> None:
    at = utc("2026-12-01T03:00:00")

    assert fires_at(at.astimezone(BERLIN), at=at, cron="", zone="UTC")
    assert not fires_at(at + timedelta(seconds=1), at=at, cron="", zone="UTC")
