"""Schedules with who made them, the keys of workers that give commands for their authors, and the door of a schedule."""

from typing import Final

from alembic import op

revision: Final = "0020"
down_revision: Final = "0019"

_STATEMENTS: Final = (
    """
    create table schedules (
        deployment text not null,
        name text not null,
        command text not null,
        argument jsonb not null,
        at timestamptz,
        cron text not null,
        zone text not null,
        author text not null,
        issuer text not null,
        verified boolean not null,
        roles text[] not null,
        scope jsonb not null,
        reason text not null,
        created_at timestamptz default now() not null,
        constraint pk_schedules primary key (deployment, name),
        constraint fk_schedules_deployment foreign key (deployment) references deployments (name),
        constraint ck_schedules_moments check ((at is null) <> (cron = '')),
        constraint ck_schedules_roles check (cardinality(roles) > 0 or not verified)
    )
    """,
    """
    create table schedule_keys (
        id text not null,
        public_key text not null,
        used_at timestamptz default now() not null,
        constraint pk_schedule_keys primary key (id)
    )
    """,
    *(
        f"""
        alter table {table}
        drop constraint ck_{table}_door,
        add constraint ck_{table}_door check (door in ('signal', 'update', 'cancel', 'timer', 'policy', 'keeper', 'cli', 'api', 'console', 'schedule'))
        """
        for table in ("rollout_events", "approvals", "freezes")
    ),
)


def upgrade() -> None:
    """Add both tables, and the door."""
    for statement in _STATEMENTS:
        op.execute(statement)
