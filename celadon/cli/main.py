"""The command ``celadon``: which commands there are, and the process that runs one."""

from typing import Annotated, Final, NoReturn

import typer

from celadon.cli.named_commands import MARKUP, Declared, LoadingGroup, Place
from celadon.cli.output import print_text
from celadon.ending import run_to_exit
from celadon.logs import libraries_log_to_stderr

_ROLL_OUT: Final = "Roll out"
_LOG_IN: Final = "Which Celadon, and as whom"
_RUN: Final = "Run Celadon"


class Root(LoadingGroup):
    """Every command, in the order of the help."""

    places = (
        Place(name="init", code="celadon.cli.commands.files:init", panel=_ROLL_OUT),
        Place(name="events", code="celadon.cli.commands.events:events", panel=_ROLL_OUT),
        Place(name="freezes", code="celadon.cli.commands.freezes:freezes", panel=_ROLL_OUT),
        Declared(group=()),
        Place(name="login", code="celadon.cli.commands.logins:login", panel=_LOG_IN),
        Place(name="logout", code="celadon.cli.commands.logins:logout", panel=_LOG_IN),
        Place(name="whoami", code="celadon.cli.commands.logins:whoami", panel=_LOG_IN),
        Place(name="up", code="celadon.cli.commands.processes:up", panel=_RUN),
        Place(name="down", code="celadon.cli.commands.processes:down", panel=_RUN),
        Place(name="env", code="celadon.cli.commands.processes:env", panel=_RUN),
        Place(name="demo", code="celadon.cli.commands.processes:demo", panel=_RUN),
        Place(name="worker", code="celadon.cli.commands.processes:worker", panel=_RUN),
        Place(name="doctor", code="celadon.cli.commands.checks:doctor", panel=_RUN),
        Place(name="schema", code="celadon.cli.commands.files:schema", panel=_RUN),
        Place(
            name="rollout",
            code="celadon.cli.commands.rollouts:rollout_app",
            panel=_ROLL_OUT,
            help="Start rollouts and look at them.",
        ),
        Place(
            name="deployment",
            code="celadon.cli.commands.deployments:deployment_app",
            panel=_ROLL_OUT,
            help="Deployments: create, list, show, label, scale and delete them.",
        ),
        Place(
            name="revision",
            code="celadon.cli.commands.revisions:revision_app",
            panel=_ROLL_OUT,
            help="What a deployment can serve: add and list it.",
        ),
        Place(
            name="policy",
            code="celadon.cli.commands.policies:policy_app",
            panel=_ROLL_OUT,
            help="How rollouts of a deployment go that say nothing themselves.",
        ),
        Place(
            name="schedule",
            code="celadon.cli.commands.schedules:schedule_app",
            panel=_ROLL_OUT,
            help="Commands that are given at a moment, or again and again.",
        ),
        Place(
            name="profile",
            code="celadon.cli.commands.logins:profile_app",
            panel=_LOG_IN,
            help="The APIs that you have logged in to.",
        ),
        Place(name="console", code="celadon.cli.commands.console:console_app", panel=_RUN),
        Place(
            name="router",
            code="celadon.cli.commands.routers:router_app",
            panel=_RUN,
            help="The routers that take their routes from Celadon.",
        ),
        Place(
            name="notify",
            code="celadon.cli.commands.notifications:notify_app",
            panel=_RUN,
            help="Tell people and programs what rollouts do.",
        ),
        Place(name="gateway", code="celadon.cli.commands.processes:gateway_app", panel=_RUN),
        Place(name="api", code="celadon.cli.commands.api:api_app", panel=_RUN),
        Place(
            name="token",
            code="celadon.cli.commands.api:token_app",
            panel=_RUN,
            help="Tokens of the API: who may call it, and what each may do.",
        ),
        Place(name="db", code="celadon.cli.commands.processes:db_app", panel=_RUN, help="The tables in Postgres."),
    )


app = typer.Typer(
    name="celadon",
    cls=Root,
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if asked:
        from importlib.metadata import version  # noqa: PLC0415 - slow to load, and needed for this alone

        print_text(version("celadon"))
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
    libraries_log_to_stderr()


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    run_to_exit(app)


if __name__ == "__main__":
    main()
