"""``celadon notify``: targets and deliveries, from the table alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.cli.author_name import author_name
from celadon.cli.columns import table_of
from celadon.cli.deliveries import delivery_table
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.session import open_session
from celadon.domain.language.base_models import Record
from celadon.domain.language.error_words import problems_of
from celadon.domain.language.moments import span
from celadon.domain.language.notification import DeliveryState
from celadon.domain.language.targets import TargetRequest
from celadon.ending import ExitCode
from celadon.table.notifications.deliveries import (
    TargetLoad,
    owe_test,
    read_delivery,
    read_loads,
    read_told,
    retry_dead,
)
from celadon.table.notifications.targets import (
    NotifyTargetRecord,
    add_target,
    enable_target,
    list_targets,
    remove_target,
)
from celadon.table.records.deliveries import ToldRecord
from celadon.terminal import Table, Text

_POLL_SECONDS: Final = 0.2

AnswerT = TypeVar("AnswerT")


class ListedTarget(NotifyTargetRecord):
    """A target with how far it is behind."""

    waiting: int
    dead: int
    oldest_due_at: datetime | None
    last_error: str


class TargetList(Record):
    """What ``notify target list -o json`` prints."""

    targets: tuple[ListedTarget, ...]


class DeliveryList(Record):
    """What ``notify list -o json`` prints, oldest first."""

    deliveries: tuple[ToldRecord, ...]


class Done(Record):
    """What a command that changes a target prints for programs."""

    target: str
    done: str
    retried: int | None = None


async def add_target_of(
    given: Mapping[str, object],
    by: str | None,
    data_dir: Path | None,
    output: OutputFormat,
    *,
    replace: bool,
) -> ExitCode:
    """Add a target.

    Raises:
        CommandError: what was given is no target; the text never shows the URL.
        RefusedError: there is one of this name.

    """
    try:
        request = TargetRequest.model_validate(given)
    except ValidationError as error:
        raise CommandError(problems_of(error)) from None
    await _change(data_dir, lambda tx: add_target(tx, request, author_name(by), replace=replace))
    _say(
        Done(target=request.name, done="added"),
        output,
        f"see whether it works: celadon notify target test {request.name}",
    )
    return ExitCode.DONE


async def remove_target_of(name: str, data_dir: Path | None, output: OutputFormat, *, force: bool) -> ExitCode:
    """Remove a target; refused while unfinished rollouts name it."""
    await _change(data_dir, lambda tx: remove_target(tx, name, force=force))
    _say(Done(target=name, done="removed"), output)
    return ExitCode.DONE


async def enable_target_of(name: str, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Enable a target; refused when there is none."""
    await _change(data_dir, lambda tx: enable_target(tx, name))
    _say(Done(target=name, done="enabled"), output, f"send what was given up: celadon notify retry {name}")
    return ExitCode.DONE


async def retry_target(name: str, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Begin anew with what was given up; refused when there is no such target."""
    count = await _change(data_dir, lambda tx: retry_dead(tx, name))
    _say(Done(target=name, done="retried", retried=count), output, f"{count} that were given up are sent again")
    return ExitCode.DONE


async def show_targets(data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Show all targets.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.

    """
    async with open_session(data_dir) as session:
        targets = await session.read(list_targets)
        loads = {load.target: load for load in await session.read(read_loads)}
    listed = tuple(_listed(target, loads[target.name]) for target in targets if target.name in loads)
    none = "There is no target; add one with: celadon notify target add NAME"
    print_answer(
        TargetList(targets=listed), output, lambda: [_target_table(listed, datetime.now(UTC)) if listed else none]
    )
    return ExitCode.DONE


async def show_deliveries(limit: int, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Show the last deliveries.

    Raises:
        CommandError: Postgres is not there, or lacks the tables.

    """
    async with open_session(data_dir) as session:
        deliveries = await session.read(lambda tx: read_told(tx, None, limit=limit))
    none = "Nobody has been notified of anything yet."
    print_answer(
        DeliveryList(deliveries=deliveries), output, lambda: [delivery_table(deliveries) if deliveries else none]
    )
    return ExitCode.DONE


async def send_sample_to(
    name: str,
    by: str | None,
    timeout: timedelta,
    data_dir: Path | None,
    output: OutputFormat,
) -> ExitCode:
    """Send a sample and wait for what comes of its first attempt.

    Raises:
        CommandError: no worker sent it in time, or the target did not take it.
        RefusedError: there is no such target.

    """
    async with open_session(data_dir) as session:
        identity = await session.read(lambda tx: owe_test(tx, name, author_name(by)))
        deadline = time.monotonic() + timeout.total_seconds()
        delivery = await session.read(lambda tx: read_delivery(tx, identity))
        while not _attempted(delivery) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
            delivery = await session.read(lambda tx: read_delivery(tx, identity))
    if not _attempted(delivery):
        raise CommandError(
            f"no worker has told within {timeout.total_seconds():g} s what came of the sample for {name}; see that one "
            "runs ('celadon doctor'); it will be sent as soon as one does",
        )
    if delivery.state is not DeliveryState.DELIVERED:
        again = "; it is tried again, see 'celadon notify list'" if delivery.state is DeliveryState.WAITING else ""
        raise CommandError(f"{name} did not take the sample: {delivery.last_error}{again}")
    _say(Done(target=name, done="tested"), output, f"answered {delivery.last_status}")
    return ExitCode.DONE


async def _change(data_dir: Path | None, change: Callable[[AsyncSession], Awaitable[AnswerT]]) -> AnswerT:
    async with open_session(data_dir) as session:
        return await session.read(change)


def _say(done: Done, output: OutputFormat, next_step: str = "") -> None:
    text = f"Target {done.target} {done.done}" + (f"; {next_step}" if next_step else "") + "."
    print_answer(done, output, lambda: [text])


def _attempted(told: ToldRecord) -> bool:
    return told.state is not DeliveryState.WAITING or bool(told.last_error)


def _listed(target: NotifyTargetRecord, load: TargetLoad) -> ListedTarget:
    return ListedTarget(
        **dict(target),
        waiting=load.waiting,
        dead=load.dead,
        oldest_due_at=load.oldest_due_at,
        last_error=load.last_error,
    )


def _target_table(targets: tuple[ListedTarget, ...], now: datetime) -> Table:
    table = table_of("TARGET", "KIND", "TO", "TOLD OF", "WAITING", "DEAD", "STATE")
    for one in targets:
        events = ", ".join(event.value for event in one.events) or "all events"
        oldest = "" if one.oldest_due_at is None else f", for {span(now - one.oldest_due_at)}"
        disabled = one.disabled_at is not None
        state = f"disabled: {one.disabled_reason}" if disabled else one.last_error or "enabled"
        table.add_row(
            Text(one.name, style="bold"),
            one.kind.value,
            Text(one.url if one.url is not None else f"secret {one.url_secret}"),
            f"every deployment: {events}" if one.every_deployment else "where a policy names it",
            f"{one.waiting}{oldest}",
            str(one.dead),
            Text(state, style="bold red" if disabled else "yellow" if one.last_error else "green"),
        )
    return table
