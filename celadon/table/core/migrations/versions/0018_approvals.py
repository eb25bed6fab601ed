"""Approvals: rows of verified people who have promoted, and who vouches for the requester of a rollout."""

from typing import Final

from alembic import op

revision: Final = "0018"
down_revision: Final = "0017"

_STATEMENTS: Final = (
    "alter table rollouts add column requester_issuer text default '' not null",
    "alter table rollouts add column spent_decisions integer default 0 not null",
    "alter table rollouts add constraint ck_rollouts_spent_decisions check (spent_decisions >= 0)",
    """
    create table approvals (
        rollout bigint not null,
        decision integer not null,
        issuer text not null,
        subject text not null,
        request_id text not null,
        door varchar(32) not null,
        reason text not null,
        force boolean not null,
        at timestamp with time zone default clock_timestamp() not null,
        constraint pk_approvals primary key (rollout, decision, issuer, subject),
        constraint fk_approvals_rollout foreign key (rollout) references rollouts (id),
        constraint ck_approvals_door check (door in ('signal', 'update', 'cancel', 'timer', 'policy', 'keeper', 'cli', 'api', 'console')),
        constraint ck_approvals_verified check (issuer <> '' and request_id <> '')
    )
    """,
)


def upgrade() -> None:
    """Add the approvals."""
    for statement in _STATEMENTS:
        op.execute(statement)
