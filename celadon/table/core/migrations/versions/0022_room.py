"""Room: the signal of a rollout that waits for it, and a green that is opened as a preview and grows."""

from typing import Final

from alembic import op

revision: Final = "0022"
down_revision: Final = "0021"

_STATEMENTS: Final = (
    """
    alter table rollouts
    add column growth jsonb,
    add constraint ck_rollouts_growth check (growth is null or (outcome is null and switch_epoch is null)),
    drop constraint ck_rollouts_awaits_signal,
    add constraint ck_rollouts_awaits_signal check (
        awaits_signal is null
        or (outcome is null and awaits_signal in ('blue_changed', 'gate_changed', 'keeper_back', 'room_changed'))
    )
    """,
    "alter table route_sets add column preview boolean default false not null",
)


def upgrade() -> None:
    """Add the columns, and the signal."""
    for statement in _STATEMENTS:
        op.execute(statement)
