"""``celadon db prune``: deletes what has had its time, as keepers do by themselves."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Final

from celadon.cli.columns import table_of
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.table_access import database_faults_told
from celadon.cli.target import choose_target
from celadon.domain.language.base_models import Record
from celadon.domain.language.durations import Duration, format_duration
from celadon.domain.language.states import Channel
from celadon.ending import ExitCode
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.retention.deployments import (
    Tally,
    count_doomed,
    prune_some,
    read_deployment_names,
    tell_pruned,
)
from celadon.table.retention.installation import count_doomed_of_installation, prune_some_of_installation

_BETWEEN_SECONDS: Final = 0.01
"""Between two transactions, so that switches come through."""


class Pruned(Record):
    """What went, or would go."""

    dry_run: bool
    """Whether it was only counted."""
    older_than: Duration | None
    """The age that was given; nothing when each deployment's own policy said it."""
    rows: dict[str, int]
    """Rows by table, of each table that lost one."""
    total: int
    """All of them."""


async def prune_database(
    data_dir: Path | None,
    older_than: timedelta | None,
    by: str,
    output: OutputFormat,
    *,
    dry_run: bool,
) -> ExitCode:
    """Prune the database, or count what would go, and say per table what went.

    Args:
        data_dir: the local stack's; ``None`` for the usual one, or where ``DATABASE_URL`` says.
        older_than: in place of each policy's ``event_retention``.
        by: who asks, for the audit log.
        output: how it is said.
        dry_run: whether it is only counted.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.

    """
    url = choose_target(data_dir).database_url
    with database_faults_told(url):
        async with Table(url, "celadon db prune", pool_size=1) as table:
            went = await (_count(table, older_than) if dry_run else _prune(table, older_than, by))
    rows = {name: count for name, count in sorted(went.items()) if count}
    pruned = Pruned(dry_run=dry_run, older_than=older_than, rows=rows, total=sum(rows.values()))
    if output.is_for_programs:
        print_object(pruned, output)
    else:
        _tell(pruned)
    return ExitCode.DONE


async def _count(table: Table, older_than: timedelta | None) -> Tally:
    total: Tally = Counter()
    async with table.reading() as tx:
        for deployment in await read_deployment_names(tx):
            total += await count_doomed(tx, deployment, older_than)
        return total + await count_doomed_of_installation(tx, older_than)


async def _prune(table: Table, older_than: timedelta | None, by: str) -> Tally:
    total: Tally = Counter()
    span = "" if older_than is None else f", older than {format_duration(older_than)}"
    author = Author(by=by, door=Channel.CLI, reason=f"celadon db prune{span}")
    async with table.reading() as tx:
        deployments = await read_deployment_names(tx)
    for deployment in deployments:
        went: Tally = Counter()
        while (step := await _step(table, deployment, older_than)).total():
            went += step
        async with table.transaction() as tx:
            await tell_pruned(tx, deployment, went, author)
        total += went
    while (step := await _step(table, None, older_than)).total():
        total += step
    return total


async def _step(table: Table, deployment: str | None, older_than: timedelta | None) -> Tally:
    await asyncio.sleep(_BETWEEN_SECONDS)
    async with table.transaction() as tx:
        if deployment is None:
            return await prune_some_of_installation(tx, older_than)
        return await prune_some(tx, deployment, older_than)


def _tell(pruned: Pruned) -> None:
    if not pruned.rows:
        print_text("Nothing has had its time: no row would go." if pruned.dry_run else "Nothing had had its time.")
        return
    listed = table_of("TABLE", "WOULD GO" if pruned.dry_run else "WENT")
    for name, count in pruned.rows.items():
        listed.add_row(name, f"{count:,}")
    print_text(listed)
