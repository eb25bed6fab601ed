"""Targets of notifications that are behind, have been given up on, or were disabled."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from celadon.cli.doctor.findings import Diagnosis, fine, odd
from celadon.domain.language.moments import span
from celadon.table.notifications.deliveries import TargetLoad

_TAKEN_WITHIN: Final = timedelta(minutes=1)
_WHY: Final = "rollouts go on, but whoever should hear of them does not"


def check_notifications(loads: Iterable[TargetLoad], now: datetime) -> Iterable[Diagnosis]:
    """Find targets that are not told; rollouts go on without them, so nothing of it is wrong."""
    for load in loads:
        yield _check(load, now)


def _check(load: TargetLoad, now: datetime) -> Diagnosis:
    check = f"target {load.target}"
    if load.disabled_reason:
        return odd(
            check,
            f"is disabled: {load.disabled_reason}",
            why=_WHY,
            next_step=f"'celadon notify target enable {load.target}' when it is back, or remove it",
        )
    if load.oldest_due_at is not None and now - load.oldest_due_at > _TAKEN_WITHIN:
        error = f": {load.last_error}" if load.last_error else ""
        return odd(
            check,
            f"{load.waiting} notifications wait, the oldest for {span(now - load.oldest_due_at)}{error}",
            why=_WHY,
            next_step=f"see that a worker runs and that the target answers: 'celadon notify target test {load.target}'",
        )
    if load.dead:
        return odd(
            check,
            f"{load.dead} notifications were given up",
            why=_WHY,
            next_step=f"'celadon notify list' tells why; 'celadon notify retry {load.target}' sends them again",
        )
    return fine(check, f"{load.waiting} notifications wait")
