"""What a bad minute leaves: a replica's first good health, panic that was told, the end of a router's stream."""

from typing import Final

from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

_STATEMENTS: Final = (
    "alter table routes add column ready_at timestamptz",
    # Before this version nobody wrote down which replicas had been healthy; what gets traffic shall keep it.
    "update routes set ready_at = clock_timestamp() where ended_at is null and health <> 'not_checked'",
    "alter table deployments add column panicking boolean default false not null",
    "alter table routers add column stream_ended_at timestamptz",
)


def upgrade() -> None:
    """Add the columns."""
    for statement in _STATEMENTS:
        op.execute(statement)
