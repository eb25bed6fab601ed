"""Whether a router takes the limits of requests that deployments have."""

from typing import Final

from alembic import op

revision: Final = "0029"
down_revision: Final = "0028"


def upgrade() -> None:
    """Add the column; what a router asks for is known again when it connects."""
    op.execute("alter table routers add column takes_limits boolean default true not null")
