"""``celadon events``: lines of the audit log, those that there are and those that come."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from celadon.cli.access.opening import open_access
from celadon.cli.access.protocol import Access
from celadon.cli.columns import table_of
from celadon.cli.faults import CommandError, is_outage
from celadon.cli.log_lines import log_warning
from celadon.cli.output import OutputFormat, print_object, print_one_of_many, print_text
from celadon.cli.target import TargetChoice
from celadon.cli.tree import STYLES
from celadon.domain.language.moments import moment, utc
from celadon.ending import ExitCode
from celadon.service.views.events import EventList, event_row, event_rows
from celadon.table.records.events import DeploymentEvent
from celadon.terminal import Table, Text

POLL_SECONDS: Final = 1.0
PAGE: Final = 100


class Span(NamedTuple):
    """Which lines are meant: the newest when neither is given."""

    before: int | None = None
    """Those that are older than this line."""
    after: int | None = None
    """Those that come after this line."""


async def show_events(
    deployment: str | None,
    span: Span,
    limit: int,
    target: TargetChoice,
    output: OutputFormat,
) -> ExitCode:
    """Show the newest lines of the audit log, newest first, or those that come after a line, as they came.

    Raises:
        CommandError: there is no Celadon.
        RefusedError: there is no such deployment.

    """
    async with open_access(target) as access:
        page = await access.events(deployment, before=span.before, after=span.after, limit=limit)
    if output.is_for_programs:
        print_object(page, output)
    elif page.items:
        print_text(event_table(page.items))
        if page.cursor is not None:
            print_text("", f"There are older lines: the same command with --before {page.cursor}")
        elif span.after is not None and len(page.items) == limit:
            print_text("", f"There may be more: the same command with --after {page.next_after}")
    else:
        print_text("There is no such line." if span.before or span.after else "Nothing has happened yet.")
    return ExitCode.DONE


async def follow_events(
    deployment: str | None,
    after: int | None,
    limit: int | None,
    target: TargetChoice,
    output: OutputFormat,
) -> ExitCode:
    """Show what comes from now on, for ever; before it the lines after one of them, or the newest ``limit``.

    Errors as above, until the first answer.
    """
    async with open_access(target) as access:
        if after is None:
            page = await access.events(deployment, limit=limit or 1)
            after = page.next_after
            for line in reversed(page.items) if limit else ():
                _show_line(line, output)
        async with aclosing(coming_events(access, deployment, after)) as coming:
            async for line in coming:
                _show_line(line, output)
    return ExitCode.DONE


def _show_line(line: DeploymentEvent, output: OutputFormat) -> None:
    if output.is_for_programs:
        print_one_of_many(line, output)
    else:
        print_text(Text(f"{utc(line.at)}  {line.deployment}  {event_row(line).text}"))


async def coming_events(
    access: Access,
    deployment: str | None,
    after: int,
) -> AsyncGenerator[DeploymentEvent, None]:
    """Yield the lines of the audit log that come after one of them, and those that are still to come, each once.

    A Celadon that goes away after its first answer is asked until it is back.
    """
    page = await access.events(deployment, after=after, limit=PAGE)
    lost = False
    while True:
        for line in page.items:
            yield line
        if len(page.items) < PAGE:
            await asyncio.sleep(POLL_SECONDS)
        try:
            page = await access.events(deployment, after=page.next_after, limit=PAGE)
        except CommandError as error:
            if not is_outage(error):
                raise
            page = EventList(items=(), next_after=page.next_after)
            if not lost:
                log_warning("celadon_lost", error=str(error))
            lost = True
        else:
            lost = False


def event_table(events: tuple[DeploymentEvent, ...]) -> Table:
    """Return lines of the audit log of several deployments."""
    table = table_of("LINE", "TIME (UTC)", "DEPLOYMENT", "ROLLOUT", "EVENT")
    for one, row in zip(events, event_rows(events), strict=True):
        table.add_row(
            str(one.id),
            moment(one.at),
            Text(one.deployment, style="bold"),
            row.rollout,
            Text(row.text, style=STYLES[row.tone]),
        )
    return table
