"""``events``: the audit log of all deployments as it grows."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from typing import Annotated, Final

import typer

from celadon.cli.options import DeploymentOption, OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

_SHOWN: Final = 100


@speaks_to_celadon
def events(  # noqa: PLR0913 - each is an option that a person can give
    target: TargetChoice,
    *,
    deployment: DeploymentOption = None,
    after: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="The lines that come after this one, as they came; 0 begins with the first.",
            show_default="the newest",
        ),
    ] = None,
    before: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The lines that are older than this one.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="N",
            help="How many at most; with --follow, how many of the newest to begin with.",
            show_default="100; none with --follow",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C; with -o json one object a line."),
    ] = False,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Read the newest lines of the audit log, newest first: who did what, through which door, and why.

    With --follow, what comes from now on. For programs that read on from where they were: 'next_after' of one answer is
    '--after' of the next, and no line is skipped, however late it is committed; these lines stand as they came, the
    newest last.

    Examples:
    ```console
    celadon events --deployment chat
    celadon events --before 1200             # the lines before that one
    celadon events --after 0                 # from the beginning
    celadon events --after 1200 -o json | jq .next_after
    celadon events --follow --limit 10       # the last ten, then what comes
    celadon events --follow -o json | jq -r 'select(.kind == "switched") | .deployment'
    ```
    """
    from celadon.cli.events import Span, follow_events, show_events

    if before is not None and (follow or after is not None):
        other = "--follow" if follow else "--after"
        raise typer.BadParameter(f"{other} goes forward, and --before goes back; leave one out", param_hint="--before")
    if follow:
        if after is not None and limit is not None:
            raise typer.BadParameter(
                "with --follow, --after already says where to begin; leave one of the two out",
                param_hint="--limit",
            )
        run(lambda: follow_events(deployment, after, limit, target, output), output)
    run(lambda: show_events(deployment, Span(before, after), limit or _SHOWN, target, output), output)
