"""Who vouches for a name is part of who somebody is, and a login to the console opens a session of its own.

Sessions of before end: their cookies held a token, or stood in the row of their link.
"""

from typing import Final

from alembic import op

revision: Final = "0013"
down_revision: Final = "0012"


def upgrade() -> None:
    """Add issuers and sessions."""
    op.execute("alter table rollout_events add column issuer text default '' not null")
    op.execute(
        """
        alter table api_requests
            add column issuer text default '' not null,
            drop constraint pk_api_requests,
            add constraint pk_api_requests primary key (issuer, principal, request_id)
        """,
    )
    op.execute(
        """
        alter table console_logins
            drop constraint ck_console_logins_session,
            add column used_at timestamptz
        """,
    )
    op.execute("update console_logins set used_at = created_at where session_sha256 is not null")
    op.execute("alter table console_logins drop column session_sha256, drop column session_expires_at")
    op.execute(
        """
        create table console_sessions (
            id text not null,
            secret_sha256 text not null,
            name text not null,
            issuer text not null,
            roles text[] not null,
            scope jsonb default '{}'::jsonb not null,
            token text,
            created_at timestamptz default now() not null,
            seen_at timestamptz default now() not null,
            expires_at timestamptz not null,
            ended_at timestamptz,
            constraint pk_console_sessions primary key (id),
            constraint fk_console_sessions_token_api_tokens foreign key (token) references api_tokens (id),
            constraint ck_console_sessions_secret check (length(secret_sha256) = 64)
        )
        """,
    )
    op.execute("create index ix_console_sessions_expires_at on console_sessions (expires_at)")
