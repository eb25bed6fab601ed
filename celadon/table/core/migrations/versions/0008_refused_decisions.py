"""Decisions that were refused stay refused, however late an attempt of them comes."""

from typing import Final

from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"

_STATEMENTS: Final = (
    """
    create table refused_decisions (
        rollout bigint not null,
        decision text not null,
        answer jsonb not null,
        constraint pk_refused_decisions primary key (rollout, decision),
        constraint fk_refused_decisions_rollout foreign key (rollout) references rollouts (id)
    )
    """,
)


def upgrade() -> None:
    """Add the decisions that were refused."""
    for statement in _STATEMENTS:
        op.execute(statement)
