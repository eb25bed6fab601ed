"""Run or prepare a part of Celadon: ``up``, ``down``, ``env``, ``demo``, ``worker``, ``gateway``, ``db``."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from celadon.cli.options import ByOption, DataDirOption, OutputOption, ValidForOption, parse_duration_option
from celadon.cli.output import OutputFormat
from celadon.cli.running import faults_told, run
from celadon.extras import Extra, need
from celadon.stack.process_counts import ProcessCountChoice

gateway_app = typer.Typer(no_args_is_help=False, rich_markup_mode="markdown")
_ENDS_WITHIN: Final = timedelta(minutes=3)
"""Longer than all children of a stack are given, one after the other."""

db_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


def up(
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Where the stack keeps its data; else CELADON_DATA_DIR."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=9, help="How many workers.", show_default="as at the last start, else 1"),
    ] = None,
    gateways: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=9, help="How many gateways.", show_default="as at the last start, else 1"),
    ] = None,
    routers: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=9, help="How many routers.", show_default="as at the last start, else 1"),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Run a whole Celadon on this machine until Ctrl-C, or 'celadon down'.

    Postgres, Temporal with its UI, the gateway, a router (Envoy) and the worker, on loopback ports that stay the same
    from start to start. In another terminal the other commands find it by themselves.

    Examples:
    ```console
    celadon up
    celadon up --data-dir /var/tmp/celadon
    celadon up --workers 2 --gateways 2 --routers 3      # a process that dies is replaced by another
    celadon up -o json      # the addresses as one JSON object, also in stack.json of the data directory
    ```
    """
    with faults_told(output):
        need(Extra.LOCAL)
    from celadon.cli.local_stack import run_up

    shape: ProcessCountChoice = {}
    if workers is not None:
        shape["workers"] = workers
    if gateways is not None:
        shape["gateways"] = gateways
    if routers is not None:
        shape["routers"] = routers
    run(lambda: run_up(data_dir, output, shape), output)


def down(
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="The stack's directory; else CELADON_DATA_DIR."),
    ] = None,
    timeout: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration_option, metavar="DURATION", help="How long to wait for its end.", show_default="3m"
        ),
    ] = _ENDS_WITHIN,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Stop the Celadon that 'celadon up' runs, in whichever terminal, and wait until it is gone.

    Everything is stopped in good order and kept: the next 'celadon up' resumes it. A stack that does not run counts as
    stopped; processes that a killed stack left behind are ended.

    Examples:
    ```console
    celadon down
    celadon down --data-dir /var/tmp/celadon
    ```
    """
    from celadon.cli.local_stack import run_down

    run(lambda: run_down(data_dir, timeout, output), output)


def env(
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="The stack's directory; else CELADON_DATA_DIR."),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Print lines that let a shell's 'temporal' and 'celadon' speak to the stack of 'celadon up'.

    Lines for any POSIX shell: where Temporal is, which stack is meant, the way to the program 'temporal', and 'unset'
    for what would lead elsewhere. They stay valid from start to start, and contain no secret.

    Examples:
    ```console
    eval "$(celadon env)"
    eval "$(celadon env --data-dir .celadon/demo)"
    celadon env -o json
    ```
    """
    from celadon.cli.shell_environment import print_shell_environment

    run(lambda: print_shell_environment(data_dir, output), output)


def demo(
    *,
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object a line; the last is the summary.")
    ] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Wait for your promotion instead of a timer.")] = False,
    promote_after: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="How long the promotion's timer runs, for example 10s.",
            show_default="2s",
        ),
    ] = None,
    requests_per_second: Annotated[float, typer.Option(metavar="N", help="The load, scheduled ahead.")] = 200.0,
    streams: Annotated[int, typer.Option(metavar="N", help="Long streams that each switch must meet.")] = 20,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Where it runs: a new or empty directory, or the one of an earlier demonstration.",
            show_default=".celadon/demo",
        ),
    ] = None,
) -> None:
    """Watch three switches under live traffic, on a stack of its own.

    A small model server with the OpenAI API moves from revision 1 to revision 2, back, and forward again while 200
    requests a second and long streams run. Exits 0 only when not one of them was lost. Its records and logs stay in its
    directory, which its next run empties; a directory with anything else in it is refused and left as it is.

    Examples:
    ```console
    celadon demo
    celadon demo --hold                      # you promote: it prints how
    celadon demo --json | tail -1            # the summary
    celadon demo --requests-per-second 500 --streams 50
    ```
    """
    with faults_told():
        need(Extra.LOCAL)
    from celadon.cli.local_stack import run_demonstration

    options: dict[str, object] = {
        "requests_per_second": requests_per_second,
        "streams": streams,
        "json_lines": json_lines,
        "hold": hold,
    }
    options |= {"promote_after": promote_after} if promote_after is not None else {}
    options |= {"data_dir": data_dir} if data_dir is not None else {}
    run(lambda: run_demonstration(options))


def worker() -> None:
    """Run a worker: it carries rollouts out, keeps replicas, and sends notifications.

    It is told by its environment, of which deploy/README.md has the whole list:
    ```text
    DATABASE_URL              where the table is (needed)
    CELADON_STATE_DIR         where it keeps records of replicas that it starts (needed)
    TEMPORAL_ADDRESS          where Temporal is                  localhost:7233
    CELADON_VERIFY_KEYS_FILE  by which it knows the API          trusts no API
    CELADON_METRICS_ADDRESS   where Prometheus scrapes it        127.0.0.1:9464
    ```

    Several may run; the keeper of one of them starts, probes and stops replicas.

    Examples:
    ```console
    export DATABASE_URL=postgresql+asyncpg://celadon@db/celadon TEMPORAL_ADDRESS=temporal:7233
    CELADON_STATE_DIR=/var/lib/celadon celadon worker
    ```
    """
    from celadon.cli.worker_process import become_worker

    with faults_told():
        become_worker()


@gateway_app.callback(invoke_without_command=True)
def gateway(context: typer.Context) -> None:
    """Run the gateway: it tells routers (Envoy, over xDS) where each deployment is served.

    It is told by its environment:
    ```text
    DATABASE_URL                     where the table is (needed)
    CELADON_GATEWAY_ADDRESS          where routers reach it          127.0.0.1:18000
    CELADON_GATEWAY_TLS_DIR          its certificate, for TCP        only unix:/path then
    CELADON_ROUTER_ADDRESS           where routers listen            127.0.0.1:8000
    CELADON_PREVIEW_ROUTER_ADDRESS   where routers listen for green  nowhere
    CELADON_PREVIEW_KEY              lets x-celadon-preview through  never
    CELADON_DOMAINS                  of NAME.DOMAIN as host name     localhost
    CELADON_GATEWAY_METRICS_ADDRESS  where Prometheus scrapes it     nowhere
    ```

    Examples:
    ```console
    export DATABASE_URL=postgresql+asyncpg://celadon@db/celadon
    CELADON_GATEWAY_TLS_DIR=/etc/celadon/gateway celadon gateway
    CELADON_GATEWAY_ADDRESS=unix:/run/celadon/gateway.sock celadon gateway     # for routers of the same user
    ```
    """
    if context.invoked_subcommand is not None:
        return
    from celadon.cli.gateway_process import run_gateway_process

    run(run_gateway_process)


@gateway_app.command()
def certificate(
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where it is written, for its owner alone.")],
    valid_for: ValidForOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Write the certificate by which routers know a gateway: tls.crt, tls.key, and ca.crt by which it knows routers.

    The CA is the installation's own, in the directory that CELADON_AUTHORITY_DIR names; it is made at the first use.
    Gateways on several hosts have a certificate each. One that runs takes a new certificate by itself. Certificates
    of another CA are put into such a directory without this command.

    Examples:
    ```console
    export CELADON_AUTHORITY_DIR=/etc/celadon/authority
    celadon gateway certificate --to /etc/celadon/gateway
    CELADON_GATEWAY_TLS_DIR=/etc/celadon/gateway celadon gateway
    ```
    """
    from celadon.cli.enrolment import write_gateway_certificate

    with faults_told(output):
        code = write_gateway_certificate(to, valid_for, output)
    raise typer.Exit(code)


@db_app.command()
def upgrade(data_dir: DataDirOption = None, output: OutputOption = OutputFormat.TEXT) -> None:
    """Upgrade the tables in Postgres to this version of Celadon. Idempotent.

    Examples:
    ```console
    DATABASE_URL=postgresql+asyncpg://celadon@db/celadon celadon db upgrade
    ```
    """
    from celadon.cli.database import upgrade_database

    run(lambda: upgrade_database(data_dir, output), output)


@db_app.command()
def prune(
    older_than: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            help="Of what ended or was written longer ago than this, at least 1h.",
            show_default="event_retention of each policy",
        ),
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    by: ByOption = None,
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Delete what has had its time, and say per table how many rows went.

    Keepers do the same by themselves once an hour. What is live, under way, or may be gone back to stays, and so does
    the whole audit log of every rollout that is kept.

    Examples:
    ```console
    celadon db prune --dry-run
    celadon db prune --older-than 30d
    ```
    """
    from celadon.domain.language.policy import SHORTEST_RETENTION

    if older_than is not None and older_than < SHORTEST_RETENTION:
        raise typer.BadParameter("nothing younger than 1h is ever deleted", param_hint="--older-than")
    from celadon.cli.author_name import author_name
    from celadon.cli.pruning import prune_database

    run(lambda: prune_database(data_dir, older_than, author_name(by), output, dry_run=dry_run), output)
