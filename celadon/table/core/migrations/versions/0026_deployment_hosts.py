"""Host names of deployments' own: no two deployments have the same."""

from typing import Final

from alembic import op

revision: Final = "0026"
down_revision: Final = "0025"

_STATEMENTS: Final = (
    r"""
    create table deployment_hosts (
        host text not null,
        deployment text not null,
        created_at timestamptz default now() not null,
        constraint pk_deployment_hosts primary key (host),
        constraint fk_deployment_hosts_deployment
            foreign key (deployment) references deployments (name) on delete cascade,
        constraint ck_deployment_hosts_host check (
            host ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$'
            and length(host) <= 253
        )
    )
    """,
    "create index ix_deployment_hosts_deployment on deployment_hosts (deployment)",
)


def upgrade() -> None:
    """Add the table; no deployment has a host name of its own."""
    for statement in _STATEMENTS:
        op.execute(statement)
