"""``celadon up`` and ``celadon demo``."""

import logging
from collections.abc import Mapping
from pathlib import Path

import typer
from pydantic import ValidationError

from celadon.cli.ending import ExitCode
from celadon.cli.output import OutputFormat, print_object, print_text
from celadon.cli.target import local_data_dir
from celadon.logs import log_to_stderr
from celadon.stack.addresses import StackAddresses
from celadon.stack.demo.demo import DemoOptions, run_demo
from celadon.stack.layout import DEFAULT_DATA_DIR
from celadon.stack.shape import ShapeChoice
from celadon.stack.stack import Stack, run_stack
from celadon.terminal import Shown, Table, Text


async def run_up(data_dir: Path | None, output: OutputFormat, shape: ShapeChoice) -> ExitCode:
    """Run a local stack until a signal ends it; what ``shape`` leaves out is as it was at the last start.

    Raises:
        StackError: it cannot be started, or not be kept running.

    """
    log_to_stderr(logging.INFO)

    def announce(addresses: StackAddresses) -> None:
        if output.is_for_programs:
            print_object(addresses, output)
        else:
            print_text(*_describe(addresses))

    await run_stack(Stack(local_data_dir(data_dir), **shape), announce)
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
        told = [_option_problem(one["loc"], one["msg"]) for one in error.errors(include_url=False)]
        raise typer.BadParameter("; ".join(told)) from error
    return await run_demo(options)


def _option_problem(location: tuple[int | str, ...], message: str) -> str:
    where = f"--{str(location[0]).replace('_', '-')}: " if location else ""
    return where + message.removeprefix("Value error, ")


def _describe(addresses: StackAddresses) -> tuple[Shown, ...]:
    here = addresses.data_dir == (Path.cwd() / DEFAULT_DATA_DIR).resolve()
    option = "" if here else f" --data-dir {addresses.data_dir}"
    where = Table.of_pairs()
    for name, value in (
        ("router", f"{addresses.router}/DEPLOYMENT/..."),
        ("preview router", f"{addresses.preview_router}/DEPLOYMENT/..."),
        ("console", f"{addresses.api}/  log in by the link that celadon console{option} prints"),
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
        .append(" Ctrl-C stops it; the same command resumes it with nothing lost."),
        where,
        f"In another terminal: celadon deploy -f FILE{option} · celadon rollout list{option} · celadon --help",
    )
