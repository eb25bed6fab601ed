"""The command line on a real database, in this process."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import pytest_asyncio
from typer import rich_utils
from typer.testing import CliRunner, Result

from celadon.cli.main import app
from celadon.table.core.engine import Table
from tests.table.rows import Rows

NOBODY = "127.0.0.1:1"
"""An address at which no Temporal answers."""

Command = Callable[..., Coroutine[Any, Any, Result]]


@pytest.fixture(autouse=True)
def _no_celadon_of_the_operator(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep tests away from whatever the environment names."""
    for name in os.environ:
        if name == "DATABASE_URL" or name.startswith(("TEMPORAL_", "CELADON_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "120")
    # Rich takes any output for a terminal when one of these is set, Typer when it was at its import; a dumb terminal
    # is 80 columns wide, whatever COLUMNS says.
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(rich_utils, "FORCE_TERMINAL", None)
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", None)


async def stay_connected(rows: Rows) -> None:
    """Let the streams of all routers be up as long as any test takes: no gateway writes that they are.

    One that is told of as cut off must have been: ten seconds pass quickly on a busy machine.
    """
    await rows.sql("update routers set seen_at = now() + interval '1 hour'")


@pytest.fixture
def command() -> Command:
    """Return what runs a command line as a person types it, with its output."""

    async def run(*arguments: str, stdin: str | None = None) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), input=stdin)

    return run


@pytest.fixture
def on_table(table: Table, monkeypatch: pytest.MonkeyPatch) -> Table:
    """Let commands read the test's database; no Temporal is there."""
    monkeypatch.setenv("DATABASE_URL", table.database_url)
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOBODY)
    return table


@pytest_asyncio.fixture(loop_scope="session")
async def rows(on_table: Table) -> Rows:
    """Return empty tables with a keeper that is alive."""
    return await Rows.with_keeper(on_table)
