"""The command ``celadon``: which commands there are, and the process that runs one."""

from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from celadon.cli.commands.checks import doctor
from celadon.cli.commands.decisions import abort, promote, rollback
from celadon.cli.commands.processes import db_app, demo, gateway_app, up
from celadon.cli.commands.rollouts import deploy, rollout_app
from celadon.cli.ending import run_to_exit
from celadon.logs import log_to_stderr

app = typer.Typer(
    name="celadon",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_ROLL_OUT = "Roll out"
_DECIDE = "Decide"
_RUN = "Run Celadon"

app.command(rich_help_panel=_ROLL_OUT)(deploy)
app.add_typer(rollout_app, name="rollout", rich_help_panel=_ROLL_OUT, help="Start rollouts and look at them.")
app.command(rich_help_panel=_DECIDE)(promote)
app.command(rich_help_panel=_DECIDE)(abort)
app.command(rich_help_panel=_DECIDE)(rollback)

app.command(rich_help_panel=_RUN)(up)
app.command(rich_help_panel=_RUN)(demo)
app.add_typer(gateway_app, name="gateway", rich_help_panel=_RUN)
app.add_typer(db_app, name="db", rich_help_panel=_RUN, help="The tables in Postgres.")
app.command(rich_help_panel=_RUN)(doctor)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if asked:
        typer.echo(version("celadon"))
        raise typer.Exit


@app.callback()
def celadon(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Blue-green rollouts of model-serving deployments, each one a durable Temporal workflow.

    Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong.
    """
    log_to_stderr()


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    run_to_exit(app)


if __name__ == "__main__":
    main()
