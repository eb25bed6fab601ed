"""What counts of routers: which is live, which is enrolled, and which of their load reports."""

from typing import Final

from sqlalchemy import func

from celadon.domain.language.contracts import ROUTER_LEASE
from celadon.table.core.models import Router, RouterLoad, RouteSet

counts_for_drain: Final = (RouterLoad.epoch >= RouteSet.drain_epoch) & (RouterLoad.reported_at >= RouteSet.drain_since)
"""Whether a report is of a set's present drain; an earlier one of the same set may be written late."""


is_enrolled: Final = Router.enrolled_at.is_not(None)
"""Whether gateways believe a router; what is said of any other changes nothing."""


is_live = (
    Router.acknowledged_at.is_not(None)
    & Router.gone_at.is_(None)
    & (Router.seen_at > func.clock_timestamp() - ROUTER_LEASE)
)
"""A router is live from its first acknowledgement until it is gone or unseen for ``router_lease``."""
