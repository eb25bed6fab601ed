"""Blue as the net under green: since when a live green is lost, and what blue has taken for it."""

from typing import Final

from alembic import op

revision: Final = "0028"
down_revision: Final = "0026"

_STATEMENTS: Final = (
    """
    alter table route_sets
        add column lost_since timestamptz,
        add column failover_since timestamptz,
        add column failover_requests bigint default 0 not null
    """,
)


def upgrade() -> None:
    """Add the columns; no green is lost, and no blue has taken anything."""
    for statement in _STATEMENTS:
        op.execute(statement)
