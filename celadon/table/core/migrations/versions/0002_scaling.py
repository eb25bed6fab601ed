"""Scaling: replicas that leave a set which stays, what routers say of them, and what a rollout owes to a scaling."""

from typing import Final

from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

_STATEMENTS: Final = (
    """
    alter table rollouts
        add column scaled_to integer,
        add constraint ck_rollouts_scaled_to check (scaled_to >= 0)
    """,
    """
    alter table route_sets
        add column scaled_edges integer default '0' not null,
        add column growing boolean default false not null
    """,
    """
    alter table routes
        add column leaving_epoch bigint,
        add column leaving_deadline timestamptz,
        add column requests_cut integer default '0' not null,
        add constraint ck_routes_leaving check ((leaving_epoch is null) = (leaving_deadline is null))
    """,
    """
    create table member_load (
        router text not null,
        route uuid not null,
        epoch bigint not null,
        running integer not null,
        zero_reports integer not null,
        reported_at timestamptz not null,
        constraint pk_member_load primary key (router, route),
        constraint fk_member_load_router foreign key(router) references routers (node) on delete cascade,
        constraint fk_member_load_route foreign key(route) references routes (id)
    )
    """,
)


def upgrade() -> None:
    """Add what scaling needs."""
    for statement in _STATEMENTS:
        op.execute(statement)
