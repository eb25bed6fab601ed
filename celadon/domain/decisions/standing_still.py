"""Spans in which a timer stands still, because a rollout is paused or nothing may be switched."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from celadon.domain.language.progress import Still

KEPT_SPANS: Final = 20
"""How many spans that are over a rollout keeps."""


def merged(spans: Iterable[Still]) -> tuple[Still, ...]:
    """Return the same time in spans that do not touch, the earliest first; empty spans go."""
    stills: list[Still] = []
    for span in sorted(spans, key=lambda one: one.since):
        if span.until is not None and span.until <= span.since:
            continue
        last = stills[-1] if stills else None
        if last is None or (last.until is not None and last.until < span.since):
            stills.append(span)
        elif last.until is not None and (span.until is None or span.until > last.until):
            stills[-1] = last.model_copy(update={"until": span.until})
    return tuple(stills)


def end_of(start: datetime, lasts: timedelta, spans: Iterable[Still]) -> datetime | None:
    """Return when a timer ends that runs for ``lasts`` from ``start`` on, but not in ``spans``.

    Returns:
        Nothing when it never ends as far as is known, since the last span has no end.

    """
    at, left = start, lasts
    for span in merged(spans):
        if span.until is not None and span.until <= at:
            continue
        runs = max(span.since - at, timedelta(0))
        if left <= runs:
            break
        if span.until is None:
            return None
        at, left = span.until, left - runs
    return at + left


def with_fewer(start: datetime | None, spans: tuple[Still, ...]) -> tuple[datetime | None, tuple[Still, ...]]:
    """Return a timer's start and the spans in which it stood still, so that few are kept and it ends when it did.

    The time of the earliest spans is added to the start; all spans are over. A timer that has not started, and spans
    before its start, need nothing kept.
    """
    if start is None:
        return None, ()
    kept = [span for span in merged(spans) if span.until is None or span.until > start]
    while len(kept) > KEPT_SPANS:
        first = kept.pop(0)
        if first.until is not None:
            start += first.until - max(first.since, start)
    return start, tuple(kept)
