"""Lines of the audit log are read in an order in which none can be skipped that is committed late."""

from typing import Final

from alembic import op

revision: Final = "0014"
down_revision: Final = "0013"

_STATEMENTS: Final = (
    # A constant first: lines that there are keep the order of their numbers, and none of them is written anew.
    "alter table rollout_events add column transaction_id bigint default 0 not null",
    "alter table rollout_events alter column transaction_id set default pg_current_xact_id()::text::bigint",
    "create index ix_rollout_events_order on rollout_events (transaction_id, id)",
    "create index ix_rollout_events_deployment_order on rollout_events (deployment, transaction_id, id)",
)


def upgrade() -> None:
    """Keep with each line which transaction wrote it."""
    for statement in _STATEMENTS:
        op.execute(statement)
