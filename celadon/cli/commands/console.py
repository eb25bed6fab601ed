"""``console``: where the console is, with a link that logs in once."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from typing import Annotated

import typer

from celadon.cli.options import DataDirOption, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.domain.permissions import Role


def console(
    *,
    role: Annotated[
        list[Role] | None,
        typer.Option("--role", help="What whoever follows the link may do; may be repeated.", show_default="admin"),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Where people reach the console.",
            show_default="CELADON_CONSOLE_URL, else the local stack's",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Print the console's address with a link that logs you in, once and within an hour.

    Whoever can reach the table may make one, as with tokens. Others log in with a token of theirs.

    Examples:
    ```console
    celadon console
    celadon console --role viewer
    celadon console --url https://celadon.example.com -o json | jq -r .link
    ```
    """
    from celadon.cli.console import print_login_link

    run(lambda: print_login_link(tuple(dict.fromkeys(role or [Role.ADMIN])), url, data_dir, output), output)
