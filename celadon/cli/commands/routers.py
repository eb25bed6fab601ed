"""``router``: the Envoys that take their routes from the gateways."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from typing import Annotated

import typer

from celadon.cli.commands.decisions import ByOption, ReasonOption
from celadon.cli.options import OutputOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target_choice import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

router_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@router_app.command(name="list")
@speaks_to_celadon
def list_(target: TargetChoice, output: OutputOption = OutputFormat.TEXT) -> None:
    """List routers: who serves the present routes, who is cut off or refuses them, and who is gone.

    Promotions and drains wait for routers that are live or cut off: blue is not stopped before they have acknowledged.
    Nobody waits for a router that is new or gone.

    Examples:
    ```console
    celadon router list
    celadon router list -o json | jq -r '.routers[] | select(.state == "cut_off") | .router'
    ```
    """
    from celadon.cli.routers import show_routers

    run(lambda: show_routers(target, output), output)


@router_app.command()
@speaks_to_celadon
def forget(
    node: Annotated[str, typer.Argument(help="The router's name, as in the list.", metavar="NODE")],
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also when it is connected: for one that hangs or refuses what it is told. Requests that it still "
            "sends to blue are lost when blue stops.",
        ),
    ] = False,
    reason: ReasonOption = "",
    by: ByOption = None,
    target: TargetChoice,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Say that a router is gone for good, so that nobody waits for it any more.

    Use it when you scale routers in, after the router has stopped: an Envoy that ends looks like one that was cut off,
    and those are waited for 10 minutes. A router that comes back is live again. The audit log of each deployment
    that it has served tells who forgot it and why.

    Examples:
    ```console
    celadon router forget edge-3 --reason "scaled in"
    celadon router forget edge-2 --force --reason "hangs, taken out of the load balancer"
    ```
    """
    from celadon.cli.routers import forget as forget_router

    run(lambda: forget_router(node, target, output, by=by, reason=reason, force=force), output)
