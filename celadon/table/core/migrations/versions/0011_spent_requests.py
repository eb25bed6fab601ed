"""A signed message counts once, and a keeper says what its worker lets others do."""

from typing import Final

from alembic import op

revision: Final = "0011"
down_revision: Final = "0010"

_STATEMENTS: Final = (
    """
    create table spent_requests (
        deployment text not null,
        verb text not null,
        request_id text not null,
        rollout bigint not null,
        run text not null,
        spent_at timestamptz not null default now(),
        constraint pk_spent_requests primary key (deployment, verb, request_id),
        constraint fk_spent_requests_deployment foreign key (deployment) references deployments (name),
        constraint fk_spent_requests_rollout foreign key (rollout) references rollouts (id)
    )
    """,
    "create index ix_spent_requests_rollout on spent_requests (rollout)",
    "alter table keepers add column risks text[] default '{}' not null",
)


def upgrade() -> None:
    """Add the ids of signed messages that were carried out, and risks of workers."""
    for statement in _STATEMENTS:
        op.execute(statement)
