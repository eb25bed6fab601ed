"""The command ``celadon``: which commands there are, and the process that runs one."""

import sys
from typing import Annotated, Final, NoReturn

import typer

from celadon.cli.commands.api import api_app, token_app
from celadon.cli.commands.checks import doctor
from celadon.cli.commands.console import console_app
from celadon.cli.commands.declared import add_declared
from celadon.cli.commands.deployments import deployment_app
from celadon.cli.commands.events import events
from celadon.cli.commands.files import init, schema
from celadon.cli.commands.logins import login, logout, profile_app, whoami
from celadon.cli.commands.notifications import notify_app
from celadon.cli.commands.processes import db_app, demo, down, env, gateway_app, up, worker
from celadon.cli.commands.revisions import revision_app
from celadon.cli.commands.rollouts import deploy, rollout_app
from celadon.cli.commands.routers import router_app
from celadon.cli.ending import run_to_exit
from celadon.cli.output import print_text
from celadon.cli.usage import PlainUsageGroup
from celadon.logs import libraries_log_to_stderr, log_to_stderr

app = typer.Typer(
    name="celadon",
    cls=PlainUsageGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_ROLL_OUT = "Roll out"
_LOG_IN = "Which Celadon, and as whom"
_RUN = "Run Celadon"

_THROUGH_API: Final = frozenset(
    {"promote", "abort", "rollback", "deploy", "rollout", "deployment", "revision", "events", "router", "whoami"},
)
"""Commands that mostly go through an API, and log nothing: what logs is loaded by whoever goes another way."""

app.command(rich_help_panel=_ROLL_OUT)(init)
app.command(rich_help_panel=_ROLL_OUT)(deploy)
app.add_typer(rollout_app, name="rollout", rich_help_panel=_ROLL_OUT, help="Start rollouts and look at them.")
app.add_typer(
    deployment_app,
    name="deployment",
    rich_help_panel=_ROLL_OUT,
    help="Deployments: create, list, show, label, scale and delete them.",
)
app.add_typer(
    revision_app, name="revision", rich_help_panel=_ROLL_OUT, help="What a deployment can serve: add and list it."
)
app.command(rich_help_panel=_ROLL_OUT)(events)
add_declared({"": app, "deployment": deployment_app, "router": router_app})

app.command(rich_help_panel=_LOG_IN)(login)
app.command(rich_help_panel=_LOG_IN)(logout)
app.command(rich_help_panel=_LOG_IN)(whoami)
app.add_typer(profile_app, name="profile", rich_help_panel=_LOG_IN, help="The APIs that you have logged in to.")

app.command(rich_help_panel=_RUN)(up)
app.command(rich_help_panel=_RUN)(down)
app.command(rich_help_panel=_RUN)(env)
app.command(rich_help_panel=_RUN)(demo)
app.add_typer(console_app, name="console", rich_help_panel=_RUN)
app.add_typer(router_app, name="router", rich_help_panel=_RUN, help="The routers that take their routes from Celadon.")
app.add_typer(notify_app, name="notify", rich_help_panel=_RUN, help="Tell people and programs what rollouts do.")
app.command(rich_help_panel=_RUN)(worker)
app.add_typer(gateway_app, name="gateway", rich_help_panel=_RUN)
app.add_typer(api_app, name="api", rich_help_panel=_RUN)
app.add_typer(
    token_app, name="token", rich_help_panel=_RUN, help="Tokens of the API: who may call it, and what each may do."
)
app.add_typer(db_app, name="db", rich_help_panel=_RUN, help="The tables in Postgres.")
app.command(rich_help_panel=_RUN)(doctor)
app.command(rich_help_panel=_RUN)(schema)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 - slow to load, and needed for this alone

        print_text(version("celadon"))
        raise typer.Exit


@app.callback()
def celadon(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Blue-green rollouts of model-serving deployments, each one a durable Temporal workflow.

    Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong.
    """
    libraries_log_to_stderr()
    if context.invoked_subcommand not in _THROUGH_API or "structlog" in sys.modules:
        log_to_stderr()


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    run_to_exit(app)


if __name__ == "__main__":
    main()
