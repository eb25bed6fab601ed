"""The ports of a replica beside its main one."""

from typing import Final

from alembic import op

revision: Final = "0025"
down_revision: Final = "0024"

_STATEMENTS: Final = ("alter table routes add column other_ports jsonb default '{}'::jsonb not null",)


def upgrade() -> None:
    """Add the column; a replica that there is has its main port alone."""
    for statement in _STATEMENTS:
        op.execute(statement)
