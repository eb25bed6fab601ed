"""``console``: where the console is, with a link that logs in once; and the end of sessions."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from typing import Annotated

import typer

from celadon.cli.options import DataDirOption, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.domain.language.permissions import Role

console_app = typer.Typer(no_args_is_help=False, rich_markup_mode="markdown")


@console_app.callback(invoke_without_command=True)
def console(
    context: typer.Context,
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

    Whoever can reach Postgres may make a link, as with tokens. Others log in with their own token.

    Examples:
    ```console
    celadon console
    celadon console --role viewer
    celadon console --url https://celadon.example.com -o json | jq -r .link
    ```
    """
    if context.invoked_subcommand is not None:
        return
    from celadon.cli.console import print_login_link

    run(lambda: print_login_link(tuple(dict.fromkeys(role or [Role.ADMIN])), url, data_dir, output), output)


@console_app.command()
def logout(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Whose sessions end, as the audit log shows the name.", show_default=False
        ),
    ] = None,
    *,
    everybody: Annotated[bool, typer.Option("--all", help="End all sessions.")] = False,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """End sessions of the console at once, and make unused links invalid.

    Tokens stay valid: `celadon token revoke` ends one, with the sessions that it has opened.

    Examples:
    ```console
    celadon console logout ann
    celadon console logout --all
    ```
    """
    if (name is None) is not everybody:
        raise typer.BadParameter("name whose sessions end, or say --all; not both", param_hint="NAME")
    from celadon.cli.console import log_out

    run(lambda: log_out(name, data_dir, output), output)
