"""Every line of the audit log is told to whoever follows it; requests of the API are answered once."""

from typing import Final

from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"

_STATEMENTS: Final = (
    """
    create function tell_rollout_event() returns trigger language plpgsql as $$
    begin
        perform pg_notify('celadon_events', new.deployment);
        return null;
    end
    $$
    """,
    """
    create trigger rollout_events_told after insert on rollout_events
        for each row execute function tell_rollout_event()
    """,
    """
    create table api_requests (
        principal text not null,
        request_id text not null,
        fingerprint text not null,
        meant jsonb not null,
        answer jsonb,
        created_at timestamptz default now() not null,
        constraint pk_api_requests primary key (principal, request_id)
    )
    """,
    "create index ix_api_requests_created_at on api_requests (created_at)",
)


def upgrade() -> None:
    """Add what live streams and repeated requests need."""
    for statement in _STATEMENTS:
        op.execute(statement)
