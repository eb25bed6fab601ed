"""Bringing a database's schema to this version."""

from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from celadon.table.core.connecting import open_engine
from celadon.table.core.schema_revision import MIGRATIONS, newest_revision

_APPLICATION_NAME: Final = "celadon-migrations"

_LOCK: Final = 7_229_135_001
"""The advisory lock under which one process at a time migrates."""

_IS_RESTORED: Final = """
    select exists (
        select from rollout_events where transaction_id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    )
"""
_FORGET_TRANSACTIONS: Final = (
    "alter table rollout_events drop column transaction_id",
    "alter table rollout_events add column transaction_id bigint default 0 not null",
    "alter table rollout_events alter column transaction_id set default pg_current_xact_id()::text::bigint",
    "create index ix_rollout_events_order on rollout_events (transaction_id, id)",
    "create index ix_rollout_events_deployment_order on rollout_events (deployment, transaction_id, id)",
)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def upgrade(database_url: str) -> str:
    """Migrate to the newest revision, one process at a time; return that revision.

    Of a database that was restored into another cluster, whose transactions are counted anew, the lines of the audit
    log get the order of their numbers: else new lines would come before them, where no reader looks any more.
    """

    def run(connection: Connection) -> None:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        command.upgrade(_config(connection), "head")
        if connection.execute(text(_IS_RESTORED)).scalar_one():
            for statement in _FORGET_TRANSACTIONS:
                connection.execute(text(statement))

    engine = open_engine(database_url, _APPLICATION_NAME)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()
    return newest_revision()
