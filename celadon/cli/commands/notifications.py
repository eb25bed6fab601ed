"""``notify``: who is told what rollouts do, and whether they were."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from datetime import timedelta
from typing import Annotated

import typer

from celadon.cli.options import ByOption, DataDirOption, OutputOption, parse_duration_option
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.domain.language.notification import NotificationKind, TargetKind

notify_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
target_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
notify_app.add_typer(target_app, name="target", help="Where notifications go.")

NameArgument = Annotated[str, typer.Argument(help="The target's name, as policies name it.", metavar="NAME")]


@target_app.command()
def add(  # noqa: PLR0913 - an option each
    name: NameArgument,
    *,
    kind: Annotated[TargetKind, typer.Option(help="Signed CloudEvents, or messages for Slack.")] = TargetKind.WEBHOOK,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where to.", show_default=False)] = None,
    url_secret: Annotated[
        str | None,
        typer.Option(metavar="SECRET", help="The secret that holds the URL.", show_default=False),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECRET",
            help="The secret that holds the key which signs; twice during a rotation, the newest first.",
            show_default=False,
        ),
    ] = None,
    every_deployment: Annotated[
        bool,
        typer.Option("--every-deployment", help="Also notify it about deployments whose policy does not name it."),
    ] = False,
    event: Annotated[
        list[NotificationKind] | None,
        typer.Option(help="With --every-deployment: only this event. May be repeated."),
    ] = None,
    allow_plain_url: Annotated[
        bool,
        typer.Option("--allow-plain-url", help="Keep a Slack URL in the table, although it is a password."),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the target of this name.")] = False,
    by: ByOption = None,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Add a target. Secrets are named here and read by the workers from CELADON_SERVICE_SECRETS_DIR at every attempt.

    Examples:
    ```console
    celadon notify target add ops --url https://ops.example/celadon --secret hook-key
    celadon notify target add audit --url https://audit.example/in --secret audit-key --every-deployment
    celadon notify target add team --kind slack --url-secret team-slack-url
    celadon notify target add ops --replace --url https://ops.example/celadon --secret new-key --secret hook-key
    ```
    """
    from celadon.cli.notifications import add_target_of

    fields = {
        "name": name,
        "kind": kind,
        "url": url,
        "url_secret": url_secret,
        "signing_secrets": tuple(secret or ()),
        "every_deployment": every_deployment,
        "events": tuple(event or ()),
        "allow_plain_url": allow_plain_url,
    }
    run(lambda: add_target_of(fields, by, data_dir, output, replace=replace), output)


@target_app.command(name="list")
def list_targets(data_dir: DataDirOption = None, output: OutputOption = OutputFormat.TEXT) -> None:
    """List targets: what they are told, how far they are behind, and which have been disabled.

    Examples:
    ```console
    celadon notify target list
    celadon notify target list -o json | jq -r '.targets[] | select(.dead > 0) | .name'
    ```
    """
    from celadon.cli.notifications import show_targets

    run(lambda: show_targets(data_dir, output), output)


@target_app.command()
def remove(
    name: NameArgument,
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also when unfinished rollouts name it; their notifications to it are lost."),
    ] = False,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Remove a target; what it is still owed is given up.

    Examples:
    ```console
    celadon notify target remove ops
    ```
    """
    from celadon.cli.notifications import remove_target_of

    run(lambda: remove_target_of(name, data_dir, output, force=force), output)


@target_app.command()
def enable(name: NameArgument, data_dir: DataDirOption = None, output: OutputOption = OutputFormat.TEXT) -> None:
    """Send to a target again that was disabled because it had answered 410 Gone.

    Examples:
    ```console
    celadon notify target enable ops && celadon notify retry ops
    ```
    """
    from celadon.cli.notifications import enable_target_of

    run(lambda: enable_target_of(name, data_dir, output), output)


@target_app.command(name="test")
def send_sample(
    name: NameArgument,
    *,
    timeout: Annotated[
        timedelta,
        typer.Option(parser=parse_duration_option, metavar="DURATION", help="How long to wait for the first answer."),
    ] = timedelta(seconds=20),
    by: ByOption = None,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Let a worker send a sample to a target, on the way that every notification takes, and show what came of it.

    Examples:
    ```console
    celadon notify target test ops
    ```
    """
    from celadon.cli.notifications import send_sample_to

    run(lambda: send_sample_to(name, by, timeout, data_dir, output), output)


@notify_app.command(name="list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="How many of the newest.")] = 20,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List the last deliveries of all deployments; 'celadon rollout history' shows those of one.

    Examples:
    ```console
    celadon notify list
    celadon notify list --limit 1000 -o json | jq '.deliveries[] | select(.state == "dead")'
    ```
    """
    from celadon.cli.notifications import show_deliveries

    run(lambda: show_deliveries(limit, data_dir, output), output)


@notify_app.command()
def retry(name: NameArgument, data_dir: DataDirOption = None, output: OutputOption = OutputFormat.TEXT) -> None:
    """Send the notifications again that were given up for a target, with the same ids.

    Examples:
    ```console
    celadon notify retry ops
    ```
    """
    from celadon.cli.notifications import retry_target

    run(lambda: retry_target(name, data_dir, output), output)
