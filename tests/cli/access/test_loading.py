"""Whoever speaks to an API waits for no library that only Celadon's own processes need."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
REFUSAL: Final = {"title": "Forbidden", "status": 403, "code": "FORBIDDEN", "detail": "nobody may do anything here"}
"""What the API answers to everything: without an answer a command would ask again."""

_MORE: Final = {"reschedule": ("--promote-after", "2h")}
"""What a command of a rollout has to say, by its verb."""

LINES: Final = (
    ("whoami",),
    ("deployment", "list"),
    ("deployment", "create", "chat"),
    ("deployment", "label", "chat", "team=search"),
    ("deployment", "hosts", "chat", "llm.example.com"),
    ("deployment", "traffic", "chat", "--retries", "0"),
    ("deployment", "scale", "chat", "2"),
    ("deployment", "delete", "chat", "--yes"),
    ("revision", "add", "-f", "-"),
    ("policy", "show", "chat"),
    ("policy", "set", "chat", "bake=1m"),
    ("policy", "show", "--default"),
    ("policy", "set", "--default", "bake=1m"),
    ("revision", "list", "chat"),
    ("deploy", "-f", "-"),
    ("plan", "-f", "-"),
    ("rollout", "start", "chat", "--revision", "1"),
    ("rollout", "list"),
    ("rollout", "status", "chat"),
    ("rollout", "watch", "chat"),
    ("rollout", "history", "chat"),
    ("rollout", "find"),
    ("events",),
    ("router", "list"),
    ("freezes",),
    ("router", "forget", "edge-1"),
    ("retry", "chat"),
    ("restart", "chat"),
    ("drop", "chat"),
    ("freeze", "chat"),
    ("unfreeze", "chat"),
    ("schedule", "create", "chat", "nightly", "promote", "--cron", "0 3 * * *"),
    ("schedule", "list", "chat"),
    ("schedule", "delete", "chat", "nightly"),
    *((*words_of(one), "chat", *_MORE.get(one.verb, ())) for one in commands() if one.scope is Scope.ROLLOUT),
)

_DECLARED: Final = tuple(words_of(one) for one in commands())
_FROM_DECLARATION: Final = tuple(
    words_of(one)
    for one in commands()
    if one.terminal.is_there and not one.terminal.file and not one.terminal.takes_settings
)

QUICK: Final = (
    ("promote", "chat", "--reason", "reviewed", "-o", "json"),
    ("rollout", "status", "chat"),
    *(line for line in LINES for words in _FROM_DECLARATION if line[: len(words)] == words),
)
"""What people wait for with traffic at stake: the status, and each command that is declared and reads no file."""

OTHERS: Final = (
    "celadon.cli.commands.rollouts",
    "celadon.cli.commands.api",
    "celadon.service.rollout_view",
    "celadon.domain.decisions.gate",
    "celadon.domain.language.messages",
    "celadon.domain.language.policy",
    "celadon.domain.language.progress",
    "celadon.service.commands.scale",
    "celadon.stack.addresses",
    "celadon.table.records.deployments",
)
"""What other commands are made of."""

FILE: Final = "deployment: chat\nrevision:\n  command: [serve]\n  health_check: {tcp: true}\n"

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
        assert "nobody may do anything here" in output


class _Refusing(BaseHTTPRequestHandler):
    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        body = json.dumps(REFUSAL).encode()
        self.send_response(403)
        self.send_header("content-type", "application/problem+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _refuse  # noqa: N815 - the library names them

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(autouse=True)
def _api_refuses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("CELADON_URL", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("CELADON_TOKEN", "x")
        yield
        server.shutdown()


def test_commands_through_an_api_load_neither_database_nor_temporal() -> None:
    check_loads_nothing_of(HEAVY, LINES)


def test_decisions_and_the_status_load_nothing_that_draws_follows_or_logs() -> None:
    check_loads_nothing_of(SLOW, QUICK)


def test_a_promotion_loads_nothing_of_other_commands() -> None:
    check_loads_nothing_of(OTHERS, [("promote", "chat", "--reason", "reviewed")])


def test_the_lines_above_are_of_every_command_that_the_api_has() -> None:
    typed = {" ".join(line) for line in LINES}

    names = (*COMMAND_OF.values(), *map(" ".join, _DECLARED))
    assert [name for name in names if not any(line.startswith(name) for line in typed)] == []
