"""``login``, ``logout``, ``whoami`` and ``profile``: which APIs a person speaks to, and as whom."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

import re
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from celadon.cli.completion import complete_profiles
from celadon.cli.options import OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

profile_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def _check_profile_name(value: str | None) -> str | None:
    if value is not None and not _NAME.fullmatch(value):
        raise typer.BadParameter("a profile's name has letters, digits, '.', '_' and '-', at most 63")
    return value


ProfileArgument: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The profile.", callback=_check_profile_name, autocompletion=complete_profiles),
]


def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the API is.")],
    *,
    profile: Annotated[
        str,
        typer.Option("--profile", metavar="NAME", help="The profile's name.", callback=_check_profile_name),
    ] = "default",
    token_stdin: Annotated[
        bool,
        typer.Option("--token-stdin", help="Read the token from standard input, in place of asking for it."),
    ] = False,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file",
            metavar="FILE",
            help="The authority's certificate, in PEM, when the system does not know it.",
            envvar="CELADON_CA_FILE",
            show_envvar=False,
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Send the token to an address that is not https and not on this machine."),
    ] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Log in to an API: check a token there and keep both as a profile, which becomes the current one.

    The file `~/.config/celadon/config.toml` (or below `XDG_CONFIG_HOME`) can be read by you alone. Commands use the
    current profile when neither they nor the environment name another Celadon and no local stack runs here.

    Examples:
    ```console
    celadon login https://celadon.example.com
    celadon login https://celadon.staging.example.com --profile staging --token-stdin < token
    ```
    """
    from celadon.cli.logins import Login
    from celadon.cli.logins import login as log_in

    request = Login(url=url, profile=profile, token_stdin=token_stdin, ca_file=ca_file, insecure=insecure)
    run(lambda: log_in(request, output), output)


def logout(
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="The profile to forget.",
            show_default="the current one",
            callback=_check_profile_name,
            autocompletion=complete_profiles,
        ),
    ] = None,
) -> None:
    """Forget a profile and its token. The token stays valid until it expires or is revoked.

    Examples:
    ```console
    celadon logout
    celadon logout --profile staging
    ```
    """
    from celadon.cli.logins import logout as log_out

    run(lambda: log_out(profile))


@speaks_to_celadon
def whoami(target: TargetChoice, output: OutputOption = OutputFormat.TEXT) -> None:
    """Show which Celadon commands speak to from here, as whom, and what that person may do.

    Examples:
    ```console
    celadon whoami
    celadon whoami --profile staging -o json
    ```
    """
    from celadon.cli.logins import show_who

    run(lambda: show_who(target, output), output)


@profile_app.command(name="list")
def list_(output: OutputOption = OutputFormat.TEXT) -> None:
    """List profiles; never their tokens.

    Examples:
    ```console
    celadon profile list
    ```
    """
    from celadon.cli.logins import show_profiles

    run(lambda: show_profiles(output), output)


@profile_app.command()
def use(name: ProfileArgument) -> None:
    """Make a profile the current one.

    Examples:
    ```console
    celadon profile use staging
    ```
    """
    from celadon.cli.logins import use

    run(lambda: use(name))
