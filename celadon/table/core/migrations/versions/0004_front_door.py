"""The front door: tokens of the API, labels that scope them, and whether an identity in the audit log was verified."""

from typing import Final

from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

_STATEMENTS: Final = (
    """
    alter table deployments
        add column labels jsonb default '{}'::jsonb not null
    """,
    """
    alter table rollout_events
        add column verified boolean default false not null,
        drop constraint ck_rollout_events_door,
        add constraint ck_rollout_events_door check (door in ('signal', 'update', 'cancel', 'timer', 'policy', 'keeper', 'cli', 'api', 'console'))
    """,
    """
    create table api_tokens (
        id text not null,
        name text not null,
        secret_sha256 text not null,
        roles text[] not null,
        scope jsonb default '{}'::jsonb not null,
        created_by text not null,
        created_at timestamptz default now() not null,
        expires_at timestamptz,
        last_used_at timestamptz,
        revoked_at timestamptz,
        constraint pk_api_tokens primary key (id),
        constraint uq_api_tokens_name unique (name),
        constraint ck_api_tokens_secret check (length(secret_sha256) = 64),
        constraint ck_api_tokens_roles check (cardinality(roles) > 0)
    )
    """,
)


def upgrade() -> None:
    """Add what the front door needs."""
    for statement in _STATEMENTS:
        op.execute(statement)
