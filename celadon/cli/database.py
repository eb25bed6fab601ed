"""``celadon db upgrade``."""

from pathlib import Path

from alembic.util import CommandError as MigrationError

from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.table_access import database_faults_told
from celadon.cli.target import choose_target
from celadon.domain.language.base_models import Record
from celadon.ending import ExitCode
from celadon.table.core.migrate import upgrade
from celadon.table.core.schema_revision import current_revision, newest_revision


class Upgraded(Record):
    """The schema's revision before and after."""

    before: str | None
    after: str


async def upgrade_database(data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Migrate the database to this version.

    Raises:
        CommandError: Postgres is not there, or the database cannot be migrated.

    """
    upgraded = await migrate(choose_target(data_dir).database_url)
    before, after = upgraded.before, upgraded.after
    if output.is_for_programs:
        print_object(upgraded, output)
    elif before == after:
        print_text(f"The tables were at revision {after} already; nothing was done.")
    else:
        print_text(f"The tables are at revision {after} now (before: {before or 'none'}).")
    return ExitCode.DONE


async def migrate(database_url: str) -> Upgraded:
    """Bring a database's tables to this version.

    Raises:
        CommandError: Postgres is not there, or the database cannot be migrated.

    """
    with database_faults_told(database_url):
        before = await current_revision(database_url)
        try:
            after = await upgrade(database_url)
        except MigrationError as error:
            raise CommandError(
                f"the tables are at revision {before} and cannot be brought to {newest_revision()}: {error}; a newer "
                "Celadon has upgraded them, use that one",
            ) from error
    return Upgraded(before=before, after=after)
