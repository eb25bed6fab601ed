"""Which revisions of the tables this version knows, and which one a database has, told without what migrates.

Every process asks this when it starts; Alembic takes a tenth of a worker's start to load, and only migrates.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import text

from celadon.table.core.connecting import open_engine

MIGRATIONS: Final = Path(__file__).parent / "migrations"

_APPLICATION_NAME: Final = "celadon-startup"
_IS_MIGRATED: Final = text("select to_regclass('alembic_version') is not null")
_REVISION: Final = text("select version_num from alembic_version")


def known_revisions() -> tuple[str, ...]:
    """Return the revisions that this version can go on from, oldest first: the numbers that migrations begin with."""
    return tuple(sorted(one.name.partition("_")[0] for one in (MIGRATIONS / "versions").glob("[0-9]*_*.py")))


def newest_revision() -> str:
    """Return the schema revision that this version of Celadon needs.

    Raises:
        RuntimeError: the installation holds no migrations.

    """
    known = known_revisions()
    if not known:
        raise RuntimeError("this installation of celadon holds no migrations; install it again")
    return known[-1]


def is_known_revision(revision: str) -> bool:
    """Return whether this version of Celadon has the migration, so that it can go on from there."""
    return revision in known_revisions()


async def current_revision(database_url: str) -> str | None:
    """Return the revision that the database has, or ``None`` when it was never migrated."""
    engine = open_engine(database_url, _APPLICATION_NAME)
    try:
        async with engine.connect() as connection:
            if not (await connection.execute(_IS_MIGRATED)).scalar_one():
                return None
            revision: str | None = (await connection.execute(_REVISION)).scalar_one_or_none()
            return revision
    finally:
        await engine.dispose()
