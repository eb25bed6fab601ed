"""Lines of the audit log say which run of the workflow tells them: after a reset the numbers come again."""

from typing import Final

from alembic import op

revision: Final = "0016"
down_revision: Final = "0015"

_STATEMENTS: Final = (
    "alter table rollout_events add column run text default '' not null",
    "alter table rollout_events drop constraint uq_rollout_events_rollout_seq",
    "alter table rollout_events add constraint uq_rollout_events_rollout_run_seq unique (rollout, run, seq)",
)


def upgrade() -> None:
    """Number lines within their run."""
    for statement in _STATEMENTS:
        op.execute(statement)
