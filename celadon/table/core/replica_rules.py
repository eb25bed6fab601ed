"""What counts of replicas and of sets: which replica counts as live, runs or is healthy, and which set is open."""

from typing import Final

from celadon.domain.language.states import RouteHealthStatus, RouteSetState, RouteStatus
from celadon.table.core.models import Route, RouteSet

counts_as_live: Final = Route.leaving_epoch.is_(None)
"""A replica counts for what its set wants, and for its health, only while it was not told to leave."""

runs: Final = Route.ended_at.is_(None) & (Route.status == RouteStatus.RUNNING)
"""Whether a replica's process or endpoint runs, whether it was told to leave or not."""

runs_and_counts: Final = runs & counts_as_live
"""Whether a replica counts for what its set has."""

is_healthy_and_counts: Final = runs_and_counts & (Route.health == RouteHealthStatus.HEALTHY)
"""Whether a replica counts for ``min_healthy``."""

is_open: Final = RouteSet.state == RouteSetState.OPEN
"""Whether the keeper keeps a set full; only open sets are switched to, scaled and closed."""
