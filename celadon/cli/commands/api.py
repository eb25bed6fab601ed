"""``api`` and ``token``: the process that serves callers, and what lets them in."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from celadon.cli.options import DataDirOption, OutputOption, parse_duration_option
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.domain.language.identity import check_name
from celadon.domain.language.permissions import Role

api_app = typer.Typer(no_args_is_help=False, rich_markup_mode="markdown")
token_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@api_app.callback(invoke_without_command=True)
def api(context: typer.Context) -> None:
    """Run the API: GraphQL, REST and live streams for other systems and for the console.

    It is told by its environment; `deploy/README.md` lists every variable:
    ```text
    DATABASE_URL                where the table is (needed)
    TEMPORAL_ADDRESS            where Temporal is               localhost:7233
    CELADON_API_ADDRESS         where callers reach it          127.0.0.1:18080
    CELADON_SIGNING_KEY_FILE    signs who asked                 workers take its messages for unsigned ones
    CELADON_OIDC_ISSUER ...     lets callers with a JWT in      only static tokens
    ```

    Examples:
    ```console
    DATABASE_URL=postgresql+asyncpg://celadon@db/celadon celadon api
    celadon api schema docs/api     # schema.graphql and openapi.json of this version
    ```
    """
    if context.invoked_subcommand is not None:
        return
    from celadon.cli.api_process import run_api_process

    run(run_api_process)


@api_app.command()
def schema(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the files are written.")],
) -> None:
    """Write the schemas of this version: `schema.graphql` and `openapi.json`.

    Examples:
    ```console
    celadon api schema docs/api
    ```
    """
    from celadon.cli.api_process import write_schemas

    run(lambda: write_schemas(directory))


@api_app.command()
def keys(
    *,
    private: Annotated[
        Path,
        typer.Option("--private", metavar="FILE", help="The API's own: CELADON_SIGNING_KEY_FILE."),
    ],
    public: Annotated[
        Path,
        typer.Option("--public", metavar="FILE", help="The workers': CELADON_VERIFY_KEYS_FILE."),
    ],
) -> None:
    """Create the pair of keys with which the API signs and the workers check, unless it exists.

    The workers trust whoever can read the private key, whatever name is given: keep it readable by its owner alone.

    Examples:
    ```console
    celadon api keys --private /etc/celadon/signing/key.pem --public /etc/celadon/verify/key.pub
    ```
    """
    from celadon.cli.api_process import make_keys

    run(lambda: make_keys(private, public))


@token_app.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The owner's name, for the audit log; each name can be used once.")
    ],
    *,
    roles: Annotated[
        list[Role],
        typer.Option("--role", help="A role of the owner: viewer, operator, approver or admin. May be repeated."),
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="Only deployments with this label. May be repeated."),
    ] = None,
    expires_in: Annotated[
        timedelta | None,
        typer.Option(
            "--expires-in",
            parser=parse_duration_option,
            metavar="DURATION",
            help="How long the token is valid, for example 720h.",
            show_default="until it is revoked",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Create a token of the API and print it, this once.

    Examples:
    ```console
    celadon token create ci --role operator --expires-in 2160h
    celadon token create search-leads --role viewer --role approver --label team=search
    ```
    """
    try:
        check_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    from celadon.cli.tokens import create as create_token

    run(lambda: create_token(name, tuple(roles), tuple(labels or ()), expires_in, data_dir, output), output)


@token_app.command(name="list")
def list_(data_dir: DataDirOption = None, output: OutputOption = OutputFormat.TEXT) -> None:
    """List tokens, their roles and when they were used; never their secrets.

    Examples:
    ```console
    celadon token list
    celadon token list -o json | jq -r '.tokens[] | select(.revoked_at == null) | .name'
    ```
    """
    from celadon.cli.tokens import show

    run(lambda: show(data_dir, output), output)


@token_app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The token's name.")],
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Revoke a token for ever; the API refuses it from now on.

    Examples:
    ```console
    celadon token revoke ci
    ```
    """
    from celadon.cli.tokens import revoke as revoke_token

    run(lambda: revoke_token(name, data_dir, output), output)
