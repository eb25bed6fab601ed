"""What a router is at one moment: the one answer for every list, and for whoever looks for what is wrong."""

from datetime import datetime, timedelta
from typing import Final

from celadon.domain.language.contracts import ROUTER_LEASE
from celadon.table.core.models import Router
from celadon.table.records.routers import RouterState

STREAM_IS_DOWN_AFTER: Final = timedelta(seconds=10)
"""A gateway writes every 3 s that a stream is up; one that was killed cannot write that it is down."""


def state_of(row: Router, now: datetime) -> RouterState:
    """Return what a router is at ``now``, by the database's clock."""
    if row.gone_at is not None:
        return RouterState.GONE if row.enrolled_at is None else RouterState.ENROLLED
    if row.seen_at is None:
        return RouterState.ENROLLED
    if row.seen_at <= now - ROUTER_LEASE:
        return RouterState.GONE
    if row.acknowledged_at is None:
        return RouterState.NEW
    return RouterState.LIVE if stream_is_up(row, now) else RouterState.CUT_OFF


def stream_is_up(row: Router, now: datetime) -> bool:
    """Return whether a gateway has the router's stream, as far as the table knows."""
    return row.stream_ended_at is None and row.seen_at is not None and row.seen_at > now - STREAM_IS_DOWN_AFTER
