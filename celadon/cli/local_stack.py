"""``celadon up`` and ``celadon demo``."""

import logging
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import typer
from pydantic import ValidationError

from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.patience import Patience
from celadon.cli.target import local_data_dir
from celadon.domain.language.error_words import what_is_wrong
from celadon.ending import ExitCode
from celadon.logs import log_to_stderr
from celadon.stack.addresses import StackAddresses
from celadon.stack.demo.demo import DemoOptions, run_demo
from celadon.stack.layout import DEFAULT_DATA_DIR
from celadon.stack.process_counts import ProcessCountChoice
from celadon.stack.shutdown import stop_stack
from celadon.stack.stack import Stack, run_stack
from celadon.standard_streams import lead_nowhere
from celadon.terminal import Shown, Table, Text


async def run_up(data_dir: Path | None, output: OutputFormat, shape: ProcessCountChoice) -> ExitCode:
    """Run a local stack until a signal ends it; what ``shape`` leaves out is as it was at the last start.

    Raises:
        StackError: it cannot be started, or not be kept running.

    """
    log_to_stderr(logging.INFO)

    def announce(addresses: StackAddresses) -> None:
        try:
            if output.is_for_programs:
                print_object(addresses, output)
            else:
                print_text(*_describe(addresses))
        except OSError:  # nobody reads that any more, which is no reason to stop what is served
            lead_nowhere(sys.stdout)

    await run_stack(Stack(local_data_dir(data_dir), **shape), announce)
    return ExitCode.DONE


async def run_down(data_dir: Path | None, timeout: timedelta, output: OutputFormat) -> ExitCode:
    """Stop the local stack and wait until it is gone; one that does not run is stopped already.

    Raises:
        StackError: there is none, or it is not this user's.
        CommandError: it has not ended in time.

    """
    directory = local_data_dir(data_dir)
    what = f"the stack in {directory.absolute()} has not ended"
    instead = f"it goes on stopping; see {directory.absolute() / 'logs'}, or run 'celadon down' again to wait on"
    async with Patience(timeout).waiting(what, instead):
        stopped = await stop_stack(directory)
    if output.is_for_programs:
        print_object(stopped, output)
        return ExitCode.DONE
    if stopped.pid is not None:
        print_text(f"Stopped the stack in {stopped.data_dir} (process {stopped.pid}).")
    else:
        print_text(f"No stack runs in {stopped.data_dir}.")
    if stopped.ended:
        print_text(f"Ended what was left behind: {', '.join(stopped.ended)}.")
    return ExitCode.DONE


async def run_demonstration(given: Mapping[str, object]) -> int:
    """Run the demonstration; 0 only when nothing was lost.

    Raises:
        BadParameter: an option has no sensible value.
        StackError: its stack cannot be started.

    """
    try:
        options = DemoOptions.model_validate(given)
    except ValidationError as error:
        problems = [_option_problem(one["loc"], what_is_wrong(one)) for one in error.errors(include_url=False)]
        raise typer.BadParameter("; ".join(problems)) from error
    return await run_demo(options)


def _option_problem(location: tuple[int | str, ...], message: str) -> str:
    where = f"--{str(location[0]).replace('_', '-')}: " if location else ""
    return where + message


def _describe(addresses: StackAddresses) -> tuple[Shown, ...]:
    here = addresses.data_dir == (Path.cwd() / DEFAULT_DATA_DIR).resolve()
    option = "" if here else f" --data-dir {addresses.data_dir}"
    where = Table.of_pairs()
    for name, value in (
        ("router", f"{addresses.router}/DEPLOYMENT/..."),
        ("preview router", f"{addresses.preview_router}/DEPLOYMENT/..."),
        ("console", f"{addresses.api}/  log in by the link of celadon console{option}"),
        ("API", f"{addresses.api}  token in {addresses.admin_token_file}"),
        ("Temporal UI", addresses.temporal_ui),
        ("Temporal", addresses.temporal_address),
        ("Postgres", addresses.database_url),
        ("gateway", addresses.gateway),
        ("metrics", f"{addresses.metrics}  {addresses.gateway_metrics}"),
        ("Envoy admin", str(addresses.router_admin)),
        *((f"router {one.node}", f"{one.live}  {one.preview}  {one.admin}") for one in addresses.routers[1:]),
        *(("gateway", one) for one in addresses.gateways[1:]),
        *(("metrics", one) for one in addresses.workers[1:]),
        ("logs", str(addresses.data_dir / "logs")),
    ):
        where.add_row(Text(name, style="dim"), value)
    return (
        Text("")
        .append("Celadon runs.", style="bold green")
        .append(" Ctrl-C or 'celadon down' stops it; the same command resumes it with nothing lost."),
        where,
        f"In another terminal: celadon deploy -f FILE{option} · celadon deployment list{option} · celadon --help",
        f"So that plain 'temporal' commands speak to it: eval \"$(celadon env{option})\"",
    )
