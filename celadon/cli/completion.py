"""Completion in the shell: names that this Celadon knows, quickly or not at all."""

# ruff: noqa: PLC0415 - a shell waits for this; what is not needed is not loaded

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import typer

from celadon.cli.target import TargetChoice
from celadon.domain.language.base_models import Record
from celadon.domain.language.shown_text import find_control

if TYPE_CHECKING:
    from celadon.cli.target import ApiTarget

PATIENCE_SECONDS: Final = 1.0
"""A person has pressed Tab and waits."""


class _Named(Record):
    deployment: str


class _Names(Record):
    """A list of deployments, of which nothing but their names is wanted."""

    deployments: tuple[_Named, ...]
    next_after: str | None = None


def complete_deployments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of deployments that begin so; none when they cannot be had at once."""
    try:
        with _quickly():
            return [name for name in _deployment_names(ctx) if name.startswith(incomplete) and not find_control(name)]
    except Exception:  # noqa: BLE001 - whatever is wrong, a shell's line is no place to say it
        return []


def complete_profiles(incomplete: str) -> list[str]:
    """Return the names of profiles that begin so."""
    try:
        from celadon.cli.profiles import read_profiles

        return sorted(name for name in read_profiles().profiles if name.startswith(incomplete))
    except Exception:  # noqa: BLE001 - as above
        return []


def _deployment_names(ctx: typer.Context) -> list[str]:
    import asyncio

    from celadon.cli.target import ApiTarget, find_target

    options = ctx.params
    data_dir = options.get("data_dir")
    target = find_target(
        TargetChoice(
            data_dir=None if data_dir is None else Path(str(data_dir)),
            profile=options.get("profile"),
            direct=bool(options.get("direct")),
            insecure=bool(options.get("insecure")),
        ),
    )
    if isinstance(target, ApiTarget):
        return asyncio.run(asyncio.wait_for(names_of_api(target), PATIENCE_SECONDS))
    return asyncio.run(asyncio.wait_for(names_of_table(target.database_url), PATIENCE_SECONDS))


async def names_of_api(target: "ApiTarget") -> list[str]:
    """Return the names of all deployments that the caller may see."""
    from celadon.cli.access.calls import calling
    from celadon.table.core.paging import LONGEST_PAGE

    # Somebody waits for what a key shall complete.
    async with calling(target, timedelta(0)) as calls:
        pages = [await calls.get("/v1/deployments", _Names, limit=LONGEST_PAGE)]
        while (after := pages[-1].next_after) is not None:
            pages.append(await calls.get("/v1/deployments", _Names, after=after, limit=LONGEST_PAGE))
    return [one.deployment for page in pages for one in page.deployments]


async def names_of_table(database_url: str) -> list[str]:
    """Return the names of all deployments."""
    from celadon.table.core.engine import Table
    from celadon.table.read.overview import list_names

    async with Table(database_url, "celadon-completion", pool_size=1) as table, table.transaction() as tx:
        return list(await list_names(tx))


@contextmanager
def _quickly() -> Iterator[None]:
    """Give up after a moment, also while modules are still loaded."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
