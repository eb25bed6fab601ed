"""What a check says: what it found, why that matters, what ``--fix`` would do, and what is a person's to do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from celadon.domain.language.base_models import Record


class Verdict(StrEnum):
    """What a check found."""

    FINE = "fine"
    ODD = "odd"
    """Worth a look; nothing is broken."""
    WRONG = "wrong"
    MENDED = "mended"
    """It was odd or wrong, and ``--fix`` has put it right."""


class Finding(Record):
    """What one check found."""

    check: str
    verdict: Verdict
    told: str
    why: str = ""
    """Why it matters, when it is not fine."""
    next_step: str = ""
    """What a person can do; after a mend, what is left to them."""
    remedy: str = ""
    """What ``--fix`` would do; empty when it can do nothing."""
    done: str = ""
    """What ``--fix`` has done."""


class Mended(Record):
    """What a mend has done, and what it could not."""

    done: str
    left: str = ""
    """What is still wrong and needs a person; empty when nothing is."""


Mend = Callable[[], Awaitable[Mended]]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding, with what puts it right where that is possible."""

    finding: Finding
    mend: Mend | None = None


def fine(check: str, told: str) -> Diagnosis:
    """Return that a check found nothing to complain of."""
    return Diagnosis(Finding(check=check, verdict=Verdict.FINE, told=told))


def odd(check: str, told: str, *, why: str, next_step: str) -> Diagnosis:
    """Return that something is worth a look."""
    return Diagnosis(Finding(check=check, verdict=Verdict.ODD, told=told, why=why, next_step=next_step))


def wrong(check: str, told: str, *, why: str, next_step: str) -> Diagnosis:
    """Return that something is wrong which only a person can put right."""
    return Diagnosis(Finding(check=check, verdict=Verdict.WRONG, told=told, why=why, next_step=next_step))


def mendable(
    check: str,
    told: str,
    *,
    why: str,
    next_step: str,
    remedy: str,
    mend: Mend,
) -> Diagnosis:
    """Return that something is wrong which ``--fix`` puts right by ``mend``."""
    finding = Finding(check=check, verdict=Verdict.WRONG, told=told, why=why, next_step=next_step, remedy=remedy)
    return Diagnosis(finding, mend)
