"""``events``: the audit log of all deployments as it grows."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from typing import Annotated

import typer

from celadon.cli.options import DeploymentOption, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target_choice import TargetChoice
from celadon.cli.targeting import speaks_to_celadon


@speaks_to_celadon
def events(
    target: TargetChoice,
    *,
    deployment: DeploymentOption = None,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Only lines with a higher number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="How many at most.")] = 100,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C; with -o json one object a line."),
    ] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Read the audit log, oldest first: who did what, through which door, and why.

    For programs that read on from where they were: 'next_after' of one answer is '--after' of the next.

    Examples:
    ```console
    celadon events --deployment chat
    celadon events --after 1200 -o json | jq .next_after
    celadon events --follow -o json | jq -r 'select(.kind == "switched") | .deployment'
    ```
    """
    from celadon.cli.events import follow_events, show_events

    if follow:
        run(lambda: follow_events(deployment, after, target, output), output)
    run(lambda: show_events(deployment, after, limit, target, output), output)
