"""``celadon console``: the address of the console, with a link that logs in once."""

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from celadon.cli.ending import ExitCode
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.person import person_named
from celadon.cli.session import open_session
from celadon.domain.durations import format_duration
from celadon.domain.permissions import Role
from celadon.domain.strictness import Record
from celadon.table.clock import database_now
from celadon.table.console_logins import CODE_WITHIN, SESSION_LASTS, create_login
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
    name = person_named(None)
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
    if output.is_for_programs:
        print_object(made, output)
    else:
        print_text(
            f"The console is at {made.console}. This link logs {name} in as {', '.join(roles)}, once, within "
            f"{format_duration(CODE_WITHIN)}, for {format_duration(SESSION_LASTS)}:",
            Text(made.link),
        )
    return ExitCode.DONE


def login_link(console: str, code: str) -> str:
    """Return the link that a code belongs to."""
    return f"{console.rstrip('/')}/login?code={code}"
