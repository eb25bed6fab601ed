"""When windows are open: on which moments of UTC the clock of a window's place shows one of its times.

A window is a predicate on the time that a clock on the wall shows. So one that lies inside the hour that a change to
daylight saving leaves out is not open on that day, and one inside the hour that the change back repeats is open twice.

No workflow asks this module: what the data about zones says changes with their releases. Activities and the switch ask
it, with the database's moment, and the answer travels as moments.
"""

import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Final

import tzdata

from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.near_names import meant_instead
from celadon.domain.language.opening import Opening, OpeningTimes
from celadon.domain.language.window import AppliesTo, Weekday, Window

# The zones of the package tzdata alone: those of a machine differ from machine to machine.
zoneinfo.reset_tzpath(())

HORIZON: Final = timedelta(days=370)
"""How far ahead openings are looked for; windows that open not once until then are refused."""

_DAY: Final = timedelta(days=1)
_STRETCH: Final = timedelta(days=16)
"""How many days are looked at in one go."""
_STEP: Final = timedelta(hours=12)
"""Less than any zone keeps one offset from UTC."""
_SECOND: Final = timedelta(seconds=1)
_INSTANT: Final = timedelta(microseconds=1)
_WEEKDAYS: Final = tuple(Weekday)

_Span = tuple[datetime, datetime]
"""From a moment, which belongs to it, to another, which does not."""


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """Return the names of all zones that windows may have."""
    return frozenset((files(tzdata) / "zones").read_text(encoding="utf-8").split())


def refuse_unknown_zones(windows: Iterable[Window]) -> Refusal | None:
    """Return why windows cannot be understood, or ``None`` when all their zones are known."""
    for number, window in enumerate(windows):
        if window.zone not in known_zones():
            near = meant_instead(window.zone, known_zones())
            return Refusal(
                code=RefusalCode.INVALID_PAYLOAD,
                message=f"policy.windows.{number}.zone: there is no time zone '{window.zone}'{near}",
                next_step="write a name of the IANA database, such as Europe/Berlin or UTC",
            )
    return None


def refuse_never_open(windows: Sequence[Window], now: datetime) -> Refusal | None:
    """Return why nothing could ever be switched inside ``windows``, or ``None`` when there is an opening.

    Args:
        windows: of a policy, their zones known.
        now: from when on.

    """
    if not windows or next_opening(windows, now, now) is not None:
        return None
    return Refusal(
        code=RefusalCode.POLICY_CONFLICT,
        message="the policy's windows for timers and those for everyone are never open at once",
        next_step="no timer could ever switch: let them overlap, or leave the windows of one kind out",
    )


def binding_people(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Return the windows that bind a person's promotion too."""
    return tuple(window for window in windows if window.applies_to is AppliesTo.EVERYONE)


def opening_times(windows: Sequence[Window], now: datetime, due: datetime | None = None) -> OpeningTimes:
    """Return the present or next openings for timers and for people.

    Args:
        windows: of a policy, their zones known.
        now: the database's moment.
        due: when a timer is due; earlier openings are of no use to it. When not given, ``now``.

    """
    people = binding_people(windows)
    return OpeningTimes(
        at=now,
        timers=next_opening(windows, now, due or now),
        people=next_opening(people, now, now) if people else None,
        binds_people=bool(people),
    )


def next_opening(windows: Sequence[Window], now: datetime, due: datetime) -> Opening | None:
    """Return the opening at the later of ``now`` and ``due``, or the first after it; ``None`` when none is in sight.

    What all ``windows`` bind needs an open one of each kind that there is; windows of one kind add up. A window whose
    zone a later release of the data no longer knows is never open.
    """
    begin = max(now, due).astimezone(UTC)
    groups = _groups(windows)
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    for start in _stretches(begin):
        # What was open before the stretch closes nothing: it begins in the midst of an opening at most once.
        for opened, closed in _open_spans(groups, start, start + _STRETCH):
            if opens_at is None:
                opens_at, closes_at = opened, closed
            elif opened == closes_at:
                closes_at = closed
            else:
                return Opening(opens_at=opens_at, closes_at=closes_at)
        if opens_at is not None and closes_at is not None and closes_at < start + _STRETCH:
            return Opening(opens_at=opens_at, closes_at=closes_at)
    return None if opens_at is None else Opening(opens_at=opens_at, closes_at=None)


def is_open(windows: Sequence[Window], at: datetime) -> bool:
    """Whether what all ``windows`` bind may happen at a moment; without any, it may."""
    at = at.astimezone(UTC)
    return not windows or bool(_open_spans(_groups(windows), at, at + _INSTANT))


def _groups(windows: Sequence[Window]) -> list[list[Window]]:
    groups = [[window for window in windows if window.applies_to is kind] for kind in AppliesTo]
    return [group for group in groups if group]


def _stretches(begin: datetime) -> Iterator[datetime]:
    start = begin
    while start < begin + HORIZON:
        yield start
        start += _STRETCH


def _open_spans(groups: Sequence[Sequence[Window]], begin: datetime, end: datetime) -> list[_Span]:
    """Return the spans between two moments in which a window of each group is open, in order and apart."""
    common: list[_Span] = [(begin, end)]
    for group in groups:
        spans = _joined([span for window in group for span in _spans(window, begin, end)])
        common = _common(common, spans)
    return common


def _spans(window: Window, begin: datetime, end: datetime) -> Iterator[_Span]:
    """Yield the spans between two moments in which one window is open.

    While a zone keeps its offset from UTC, the clock on the wall runs as UTC does.
    """
    if window.zone not in known_zones():
        return
    opens, closes = timedelta(minutes=window.opens), timedelta(minutes=window.closes)
    for since, until, offset in _offsets(window.zone, begin, end):
        # The days of the clock on the wall, without a zone: a subtraction of moments of one zone ignores its changes.
        midnight = (since + offset).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0) - _DAY
        last = (until + offset).replace(tzinfo=None)
        while midnight <= last:
            if _WEEKDAYS[midnight.weekday()] in window.days:
                opened = max(since, (midnight + opens).replace(tzinfo=UTC) - offset)
                closed = min(until, (midnight + closes).replace(tzinfo=UTC) - offset)
                if opened < closed:
                    yield opened, closed
            midnight += _DAY


def _offsets(zone: str, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Yield the spans between two moments of UTC in which a zone keeps its offset from UTC, with that offset."""
    since = begin
    before = _offset(zone, begin)
    looked = begin
    while looked < end:
        then = min(looked + _STEP, end)
        after = _offset(zone, then)
        if after != before:
            changes = _change_between(zone, looked, then)
            if since < changes:
                yield since, changes, before
            since, before = changes, after
        looked = then
    if since < end:
        yield since, end, before


def _change_between(zone: str, before: datetime, after: datetime) -> datetime:
    """Return the first whole second at which a zone has its new offset."""
    old = _offset(zone, before)
    low, high = before.replace(microsecond=0), after.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + ((high - low) // 2 // _SECOND) * _SECOND
        if _offset(zone, middle) == old:
            low = middle
        else:
            high = middle
    return high


def _offset(zone: str, moment: datetime) -> timedelta:
    return moment.astimezone(_zone(zone)).utcoffset() or timedelta(0)


@lru_cache(maxsize=1024)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    # Without the cache of all: another module may have filled it with the machine's zones.
    return zoneinfo.ZoneInfo.no_cache(name)


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    """Return spans in order, those that touch or overlap as one."""
    joined: list[_Span] = []
    for opened, closed in sorted(spans):
        if joined and opened <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(closed, joined[-1][1]))
        else:
            joined.append((opened, closed))
    return joined


def _common(one: Sequence[_Span], other: Sequence[_Span]) -> list[_Span]:
    """Return what two rows of spans have in common; each is in order and apart."""
    common: list[_Span] = []
    first = second = 0
    while first < len(one) and second < len(other):
        opened, closed = max(one[first][0], other[second][0]), min(one[first][1], other[second][1])
        if opened < closed:
            common.append((opened, closed))
        if one[first][1] <= other[second][1]:
            first += 1
        else:
            second += 1
    return common
