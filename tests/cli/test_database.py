"""``celadon db upgrade`` brings tables to this version, and says when they are there."""

import json

from celadon.table.core.engine import Table
from celadon.table.core.schema_revision import newest_revision
from tests.cli.conftest import Command


async def test_tables_that_are_there_are_left(command: Command, on_table: Table) -> None:
    result = await command("db", "upgrade", "-o", "json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"before": newest_revision(), "after": newest_revision()}
    assert on_table.database_url
