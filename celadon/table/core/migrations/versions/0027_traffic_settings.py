"""How routers treat the requests of each deployment: limits, timeouts, retries and balancing."""

from typing import Final

from alembic import op

revision: Final = "0027"
down_revision: Final = "0026"

_STATEMENTS: Final = (
    r"""
    alter table deployments
        add column max_requests integer,
        add column max_body bigint,
        add column idle_timeout interval,
        add column retries integer,
        add column load_balancing text,
        add column hash_header text,
        add constraint ck_deployments_max_requests check (max_requests between 1 and 1000000),
        add constraint ck_deployments_max_body check (max_body between 1 and 1099511627776),
        add constraint ck_deployments_idle_timeout check (idle_timeout between interval '0' and interval '3650 days'),
        add constraint ck_deployments_retries check (retries between 0 and 20),
        add constraint ck_deployments_load_balancing check (load_balancing in ('least_request', 'maglev')),
        add constraint ck_deployments_hash_header check (
            (hash_header is not null) = (coalesce(load_balancing, '') = 'maglev')
            and hash_header ~ '^[a-z0-9][a-z0-9_-]*$' and length(hash_header) <= 64
        )
    """,
)


def upgrade() -> None:
    """Add the columns; every deployment has the defaults."""
    for statement in _STATEMENTS:
        op.execute(statement)
