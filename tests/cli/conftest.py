"""The command line on a real database, in this process."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import pytest_asyncio
import structlog
from typer.testing import CliRunner, Result

from celadon.cli.main import app
from celadon.table.engine import Table
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


@pytest.fixture
def command() -> Command:
    """Return what runs a command line as a person types it, with its output."""

    async def run(*arguments: str, stdin: str | None = None) -> Result:
        try:
            return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), input=stdin)
        finally:
            structlog.reset_defaults()

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
