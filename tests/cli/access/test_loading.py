"""Whoever speaks to an API waits for no library that only Celadon's own processes need."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import pytest

from celadon.service.command import Scope, words_of
from celadon.service.registry import commands
from tests.cli.access.test_completeness import COMMAND_OF

HEAVY: Final = ("sqlalchemy", "asyncpg", "temporalio", "grpc", "fastapi")
SLOW: Final = (
    *("aiohttp", "rich", "structlog", "typer.rich_utils", "yaml", "pydantic_settings", "strawberry"),
    "celadon.service.views",
)
"""What no command needs before it has something to follow, to draw, or to log."""
NOBODY: Final = "http://127.0.0.1:1"
"""An address at which no API answers."""

LINES: Final = (
    ("whoami",),
    ("deployment", "list"),
    ("deployment", "create", "chat"),
    ("deployment", "label", "chat", "team=search"),
    ("deployment", "scale", "chat", "2"),
    ("deployment", "delete", "chat", "--yes"),
    ("revision", "add", "-f", "-"),
    ("revision", "list", "chat"),
    ("deploy", "-f", "-"),
    ("rollout", "start", "chat", "--revision", "1"),
    ("rollout", "list"),
    ("rollout", "status", "chat"),
    ("rollout", "watch", "chat"),
    ("rollout", "history", "chat"),
    ("rollout", "find"),
    ("events",),
    ("router", "list"),
    ("router", "forget", "edge-1"),
    *((*words_of(one), "chat") for one in commands() if one.scope is Scope.ROLLOUT),
)

QUICK: Final = (
    ("promote", "chat"),
    ("promote", "chat", "--reason", "reviewed", "-o", "json"),
    ("abort", "chat"),
    ("rollback", "chat"),
    ("rollout", "status", "chat"),
)
"""What people wait for with traffic at stake."""

OTHERS: Final = (
    "celadon.cli.commands.rollouts",
    "celadon.cli.commands.api",
    "celadon.client.rollout_view",
    "celadon.domain.decisions.gate",
    "celadon.domain.language.messages",
    "celadon.domain.language.policy",
    "celadon.domain.language.progress",
    "celadon.service.commands.scale",
    "celadon.stack.addresses",
    "celadon.table.records.deployments",
)
"""What other commands are made of."""

FILE: Final = "deployment: chat\nrevision:\n  command: [serve]\n"

PROGRAM: Final = """
import json, sys
from typer.testing import CliRunner
from celadon.cli.main import app

lines, heavy, file = json.loads(sys.argv[1])
results = []
for line in lines:
    result = CliRunner().invoke(app, line, input=file)
    results.append([line, result.exit_code, result.output, [name for name in heavy if name in sys.modules]])
print(json.dumps(results))
"""


def check_loads_nothing_of(names: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Run command lines in one process, and check that none of them loads one of the modules."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([lines, names, FILE])],
        check=True,
        capture_output=True,
        text=True,
    )

    for line, exit_code, output, loaded in json.loads(ran.stdout):
        assert (exit_code, loaded) == (1, []), f"{' '.join(line)}: {output}"
        assert f"the API does not answer at {NOBODY}" in output


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELADON_URL", NOBODY)
    monkeypatch.setenv("CELADON_TOKEN", "x")


def test_commands_through_an_api_load_neither_database_nor_temporal() -> None:
    check_loads_nothing_of(HEAVY, LINES)


def test_decisions_and_the_status_load_nothing_that_draws_follows_or_logs() -> None:
    check_loads_nothing_of(SLOW, QUICK)


def test_a_promotion_loads_nothing_of_other_commands() -> None:
    check_loads_nothing_of(OTHERS, [("promote", "chat", "--reason", "reviewed")])


def test_the_lines_above_are_of_every_command_that_the_api_has() -> None:
    typed = {" ".join(line) for line in LINES}

    assert [name for name in COMMAND_OF.values() if not any(line.startswith(name) for line in typed)] == []
