"""What a router reports of a set counts for one drain alone."""

from typing import Final

from alembic import op

revision: Final = "0010"
down_revision: Final = "0009"


def upgrade() -> None:
    """Let a report say from which epoch it is; one of a gateway that does not know of it counts for no drain."""
    op.execute("alter table router_load add column epoch bigint default 0 not null")
