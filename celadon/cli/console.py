"""``celadon console``: the address of the console, with a link that logs in once."""

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.cli.author_name import author_name
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.session import open_session
from celadon.domain.language.base_models import Record
from celadon.domain.language.durations import format_duration
from celadon.domain.language.permissions import Role
from celadon.ending import ExitCode
from celadon.table.access.console_logins import CODE_WITHIN, create_login, void_logins
from celadon.table.access.console_sessions import SESSION_LASTS, end_sessions
from celadon.table.core.clock import database_now
from celadon.terminal import Text

URL_VARIABLE: Final = "CELADON_CONSOLE_URL"


class LoginLink(Record):
    """A link to the console that logs in once."""

    console: str
    link: str
    name: str
    roles: tuple[Role, ...]
    valid_until: datetime


async def print_login_link(
    roles: tuple[Role, ...],
    url: str | None,
    data_dir: Path | None,
    output: OutputFormat,
) -> ExitCode:
    """Make a link and print it.

    Raises:
        CommandError: nobody says where the console is, or Postgres is not there.

    """
    name = author_name(None)
    async with open_session(data_dir) as session:
        stack = session.target.stack
        console = url or os.environ.get(URL_VARIABLE) or (stack.api if stack is not None else "")
        if not console:
            raise CommandError(
                f"nothing says where the console is: set {URL_VARIABLE} to the address at which people reach the API, "
                "or name it with --url",
            )
        code = await session.read(lambda tx: create_login(tx, name, roles, {}))
        valid_until = await session.read(database_now) + CODE_WITHIN
    made = LoginLink(
        console=console.rstrip("/"),
        link=login_link(console, code),
        name=name,
        roles=roles,
        valid_until=valid_until,
    )
    text = (
        f"The console is at {made.console}. This link logs {name} in as {', '.join(roles)}, once, within "
        f"{format_duration(CODE_WITHIN)}, for {format_duration(SESSION_LASTS)}:"
    )
    print_answer(made, output, lambda: [text, Text(made.link)])
    return ExitCode.DONE


class LoggedOut(Record):
    """What ``console logout -o json`` prints."""

    name: str | None
    """Whose sessions ended; nothing for everybody's."""
    sessions: int
    """How many were open."""
    links: int
    """How many links to log in had not been followed yet; they open nothing any more."""


async def log_out(name: str | None, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """End the console's sessions, of one name or all, and let links that nobody has followed open nothing.

    Raises:
        CommandError: Postgres is not there.

    """

    async def end(tx: AsyncSession) -> LoggedOut:
        return LoggedOut(name=name, sessions=await end_sessions(tx, name), links=await void_logins(tx, name))

    async with open_session(data_dir) as session:
        ended = await session.read(end)
    whose = "Everybody is" if name is None else f"Everybody named {name} is"
    text = f"{whose} logged out of the console: sessions ended: {ended.sessions}, unused links: {ended.links}."
    print_answer(ended, output, lambda: [Text(text)])
    return ExitCode.DONE


def login_link(console: str, code: str) -> str:
    """Return the link that a code belongs to."""
    return f"{console.rstrip('/')}/login?code={code}"
