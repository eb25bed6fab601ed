"""What becomes of a delivery after an attempt: done, tried again, or given up."""

from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from celadon.domain.language.base_models import Record
from celadon.domain.language.durations import Duration, format_duration

REFUSED_ATTEMPTS: Final = 5
"""How often a target that refuses (4xx, a redirect) is tried: it may just be in the middle of its own change."""

_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_LONGEST_RETRY_AFTER: Final = timedelta(days=1)


class RetrySchedule(Record):
    """When a delivery is tried again: pauses double from ``first`` to ``longest`` until ``give_up_after``."""

    first: Duration = timedelta(seconds=2)
    longest: Duration = timedelta(hours=1)
    give_up_after: Duration = timedelta(days=3)
    """Counted from the moment at which it was due for the first time."""

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if not timedelta(0) < self.first <= self.longest:
            raise ValueError("the first pause is above 0s and not above the longest")
        return self


class Trouble(StrEnum):
    """Why an attempt has no status."""

    NETWORK = "network"
    """No answer: refused, reset, timed out, a name that does not resolve, a secret that cannot be read yet."""
    FORBIDDEN = "forbidden"
    """The target's address or URL is one that Celadon does not connect to."""
    UNREADABLE = "unreadable"
    """This worker cannot read the notice, or cannot send it; another version of the workers may."""
    REMOVED = "removed"
    """There is no such target any more, or nothing is sent there."""


class Attempt(Record):
    """How one attempt ended."""

    status: int | None = None
    trouble: Trouble | None = None
    error: str = ""
    retry_after: Duration | None = None
    """What the target asked for."""


class Verdict(StrEnum):
    """What becomes of a delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GIVE_UP = "give_up"
    DISABLE = "disable"
    """The target is gone: nothing is sent there any more."""


class Judgement(Record):
    """A verdict with its pause and its words."""

    verdict: Verdict
    pause: timedelta = timedelta(0)
    told: str = ""


def judge(
    attempt: Attempt,
    *,
    attempts: int,
    age: timedelta,
    schedule: RetrySchedule,
    jitter: Annotated[float, Field(ge=0, lt=1)],
) -> Judgement:
    """Return what becomes of a delivery.

    Args:
        attempt: how the last attempt ended.
        attempts: how many there were, with this one.
        age: the time since the delivery was due for the first time.
        schedule: pauses and the end.
        jitter: a random number from 0 to below 1; it takes up to half of a pause away, so that targets that come back
            are not met by everything at once.

    """
    what = _describe(attempt)
    status = attempt.status
    if status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Judgement(verdict=Verdict.DELIVERED)
    if attempt.trouble is Trouble.REMOVED:
        return Judgement(verdict=Verdict.GIVE_UP, told=what)
    if status == HTTPStatus.GONE:
        return Judgement(verdict=Verdict.DISABLE, told=f"{what}: the target says that it is gone for good")
    if _refuses(attempt) and attempts >= REFUSED_ATTEMPTS:
        return Judgement(verdict=Verdict.GIVE_UP, told=f"{what}; given up after {attempts} attempts")
    pause = retry_pause(attempts, schedule, jitter)
    if attempt.retry_after is not None:
        pause = max(pause, min(attempt.retry_after, _LONGEST_RETRY_AFTER))
    if age + pause > schedule.give_up_after:
        within = format_duration(schedule.give_up_after)
        return Judgement(verdict=Verdict.GIVE_UP, told=f"{what}; given up after {attempts} attempts in {within}")
    return Judgement(verdict=Verdict.RETRY, pause=pause, told=what)


def retry_pause(attempts: int, schedule: RetrySchedule, jitter: float) -> timedelta:
    """Return the pause after the given number of attempts: doubled with each, less up to half of it."""
    doublings = min(attempts - 1, 63)
    full = min(schedule.first.total_seconds() * 2**doublings, schedule.longest.total_seconds())
    return timedelta(seconds=full * (1 - jitter / 2))


def _refuses(attempt: Attempt) -> bool:
    """Return whether the same request would most likely be refused again."""
    if attempt.status is None:
        return attempt.trouble is Trouble.FORBIDDEN
    return attempt.status < HTTPStatus.INTERNAL_SERVER_ERROR and attempt.status not in _LATER


def _describe(attempt: Attempt) -> str:
    answered = "" if attempt.status is None else f"answered {attempt.status}"
    return ": ".join(part for part in (answered, attempt.error) if part)
