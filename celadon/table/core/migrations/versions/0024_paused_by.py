"""Who has paused a rollout, and who gave the pause its end, for a run of its workflow that was reset."""

from typing import Final

from alembic import op

revision: Final = "0024"
down_revision: Final = "0023"

_STATEMENTS: Final = (
    """
    alter table pauses
        add column paused_by text default '' not null,
        add column door varchar(32),
        add column reason text default '' not null,
        add column until_by text default '' not null,
        add constraint ck_pauses_door check (door in ('signal', 'update', 'cancel', 'timer', 'policy', 'keeper', 'cli', 'api', 'console', 'schedule'))
    """,
)


def upgrade() -> None:
    """Add the columns; of the pauses that there are nobody knows it."""
    for statement in _STATEMENTS:
        op.execute(statement)
