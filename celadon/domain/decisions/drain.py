"""When the replicas of a draining set may stop: a pure decision on what every live router says."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from celadon.domain.language.base_models import Record
from celadon.domain.language.router_names import told_routers

ENOUGH_ZERO_REPORTS: Final = 2
"""Zeros in a row, because a request can still arrive up to some milliseconds after an acknowledgement."""


class RouterDrain(Record):
    """What one live router says of a draining set."""

    router: str
    acknowledged: bool
    """Whether it serves the epoch at which the set drains, or a later one."""
    running: int | None
    """Requests that run there; nothing while it has not reported."""
    zero_reports: int
    """Reports of zero in a row that count."""


class DrainVerdict(StrEnum):
    """What may happen to the replicas of a draining set."""

    WAIT = "wait"
    STOP = "stop"
    """They run no request any more."""
    CUT = "cut"
    """They stop although requests run, because the deadline has passed."""


class DrainDecision(Record):
    """A verdict and why."""

    verdict: DrainVerdict
    why: str


def may_stop(
    routers: Sequence[RouterDrain],
    *,
    was_live: bool,
    past_deadline: bool,
    past_router_patience: bool,
) -> DrainDecision:
    """Decide whether the replicas of a draining set may stop.

    A router that has not acknowledged may still send requests to a set that was live, so it holds the drain up until
    it answers or is gone: neither zeros nor the deadline help. A green that was never live gets previews only, and
    those end with the deadline.

    Args:
        routers: what every live router says.
        was_live: whether the set has ever been the deployment's live one.
        past_deadline: whether ``drain_timeout`` is over.
        past_router_patience: whether ``router_ack_timeout`` is over too, counted from the deadline.

    """
    if not routers:
        if was_live and not past_router_patience:
            return DrainDecision(verdict=DrainVerdict.WAIT, why="no router is live that could say what runs")
        return DrainDecision(verdict=DrainVerdict.STOP, why="no router is live")
    silent = [one.router for one in routers if not one.acknowledged]
    if silent and (was_live or not past_deadline):
        return DrainDecision(verdict=DrainVerdict.WAIT, why=f"not acknowledged by {told_routers(silent)}")
    busy = [one for one in routers if not one.acknowledged or one.zero_reports < ENOUGH_ZERO_REPORTS]
    if not busy:
        return DrainDecision(verdict=DrainVerdict.STOP, why="no request runs on any router")
    running = told_routers([f"{'unknown' if one.running is None else one.running} on {one.router}" for one in busy])
    if past_deadline:
        return DrainDecision(verdict=DrainVerdict.CUT, why=f"the deadline has passed with requests running: {running}")
    return DrainDecision(verdict=DrainVerdict.WAIT, why=f"requests run: {running}")
