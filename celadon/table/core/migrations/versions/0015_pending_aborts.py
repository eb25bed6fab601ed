"""A rollout says which signal it waits for, and which abort blue cannot take for the moment."""

from typing import Final

from alembic import op

revision: Final = "0015"
down_revision: Final = "0014"

_STATEMENTS: Final = (
    "alter table rollouts add column awaits_signal text",
    "alter table rollouts add column pending_abort jsonb",
    """
    alter table rollouts add constraint ck_rollouts_awaits_signal
    check (
        awaits_signal is null
        or (outcome is null and awaits_signal in ('blue_changed', 'gate_changed', 'keeper_back'))
    )
    """,
    """
    alter table rollouts add constraint ck_rollouts_pending_abort
    check (pending_abort is null or outcome is null)
    """,
)


def upgrade() -> None:
    """Add both; a rollout that is under way waits for nothing of the kind."""
    for statement in _STATEMENTS:
        op.execute(statement)
