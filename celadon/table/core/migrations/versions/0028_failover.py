"""Blue as the net under green: since when a live green is lost, and what blue has taken for it."""

from typing import Final

from alembic import op

revision: Final = "0028"
down_revision: Final = "0027"

_STATEMENTS: Final = (
    "alter table route_sets add column lost_since timestamptz",
    """
    create table failovers (
        router text not null,
        route_set bigint not null,
        requests bigint not null,
        began_at timestamptz not null,
        reported_at timestamptz not null,
        constraint pk_failovers primary key (router, route_set),
        constraint fk_failovers_router_routers foreign key (router) references routers (node) on delete cascade,
        constraint fk_failovers_route_set_route_sets foreign key (route_set) references route_sets (id)
    )
    """,
    "create index ix_failovers_route_set on failovers (route_set)",
)


def upgrade() -> None:
    """Add the column and the table; no green is lost, and no blue has taken anything."""
    for statement in _STATEMENTS:
        op.execute(statement)
