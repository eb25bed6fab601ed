"""Logins to the console by links that work once."""

from typing import Final

from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"


def upgrade() -> None:
    """Add the logins."""
    op.execute(
        """
        create table console_logins (
            id text not null,
            name text not null,
            roles text[] not null,
            scope jsonb default '{}'::jsonb not null,
            code_sha256 text not null,
            code_expires_at timestamptz not null,
            session_sha256 text,
            session_expires_at timestamptz,
            created_at timestamptz default now() not null,
            constraint pk_console_logins primary key (id),
            constraint uq_console_logins_code_sha256 unique (code_sha256),
            constraint ck_console_logins_roles check (cardinality(roles) > 0),
            constraint ck_console_logins_session check ((session_sha256 is null) = (session_expires_at is null))
        )
        """,
    )
