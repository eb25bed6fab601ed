"""A replica that leaves its set takes no traffic, which the view tells."""

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"

_ROUTE_TRAFFIC: Final = """
create or replace view route_traffic as
select
    routes.id as route,
    route_sets.deployment,
    route_sets.revision,
    route_sets.id as route_set,
    routes.host,
    routes.port,
    routes.status,
    routes.health,
    case when traffic.active then 'active' else 'inactive' end as traffic_status,
    case when traffic.active then 1.0 else 0.0 end as traffic_ratio
from routes
join route_sets on route_sets.id = routes.set_id
join deployments on deployments.name = route_sets.deployment
cross join lateral (
    select
        coalesce(deployments.live_set = route_sets.id, false)
        and routes.status = 'running'
        and routes.leaving_epoch is null as active
) as traffic
"""


def upgrade() -> None:
    """Replace the view."""
    op.execute(_ROUTE_TRAFFIC)
