"""Words of people and programs never command a terminal: not in what commands print, not in logs, not in errors.

What was stored before such words were refused, what replicas and other programs wrote, and what a hostile API answers
is shown as text.
"""

import ast
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
import structlog
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import text as sql_text
from sqlalchemy.exc import DBAPIError

from celadon import standard_streams
from celadon.cli import deployments, events, listings, output, registering, routers
from celadon.cli.deliveries import delivery_table
from celadon.cli.doctor.findings import Finding, Verdict
from celadon.cli.doctor.printing import describe
from celadon.cli.output import OutputFormat
from celadon.cli.tree import rollout_tree
from celadon.cli.watching import LineScreen
from celadon.domain.language.permissions import Role
from celadon.domain.language.shown_text import find_control
from celadon.logs import log_to_stderr
from celadon.service.principal import Principal, Scheme
from celadon.stack.demo.screen import LineScreen as DemoLines
from celadon.terminal import Shown, TerminalConsole, live_picture
from tests.cli.conftest import Command, _no_celadon_of_the_operator, command, on_table, rows
from tests.sample_views import LINES, LISTED, NOW, PAST, REVISIONS, ROUTERS, VIEWS
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

__all__ = ["_no_celadon_of_the_operator", "command", "on_table", "rows"]

CELADON: Final = Path(output.__file__).parents[1]
OWN_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE: Final = (
    "ann [/ci] [red]x[/red] [link=http://evil.example]y[/link] :boom:"
    "\x1b[38;5;201m\x1b]0;title\x07\x1b]8;;http://evil.example\x1b\\\x9b2J\u202e\u2066\u200b\u2028\u2029\r\n\x7f\U000e0041"
)
"""Markup of Rich, colours, a window's title, a link, a wiped screen, turned writing, and lines of the writer's own."""

some = settings(max_examples=15)
words = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["\x1b[31m", "\x9b2J", "\u202e", "\n", "\r", "\t", "[/ci]", "[bold]", "[/]", "\\", "[", "ann"]),
        max_size=8,
    ).map("".join),
)


def hostile(value: Any, said: str) -> Any:
    """Return a copy of a model in which every word that is no name of ours is ``said``."""
    match value:
        case BaseModel():
            # Numbers, moments and enumerations stay; a name of a deployment is one of DNS.
            changes = {
                name: hostile(getattr(value, name), said)
                for name in type(value).model_fields
                if name not in {"deployment", "policy", "content"}
            }
            return value.model_copy(update=changes)
        case Enum():
            return value
        case str():
            return said
        case tuple():
            return tuple(hostile(one, said) for one in value)
        case dict():
            return {f"{said} {name}": hostile(one, said) for name, one in value.items()}
        case _:
            return value


def outputs(said: str) -> Iterator[Shown]:
    """Yield everything that is drawn, with other words in it."""
    for view in VIEWS.values():
        yield rollout_tree(hostile(view, said), NOW)
    yield deployments.deployment_table(hostile(LISTED, said))
    past = hostile(PAST, said)
    yield from (listings.history_table(past, NOW), listings.rollout_table(past.items, NOW))
    yield from (listings.event_table(past.events), delivery_table(past.notified))
    yield registering.revision_table(hostile(REVISIONS, said))
    yield events.event_table(tuple(hostile(line, said) for line in LINES))
    yield routers.router_table(hostile(ROUTERS, said))
    yield describe(hostile(Finding(check="c", verdict=Verdict.WRONG, told="t", why="w", next_step="n"), said))


def refuse_raw(printed: str, *, styled: bool = False) -> None:
    """Fail where anything but a line's end would be obeyed, or our own styles where there are some."""
    assert "\x1b[38;5;201m" not in printed
    rest = OWN_STYLE.sub("", printed) if styled else printed
    assert find_control(rest.replace("\n", "")) == ""


@some
@given(words)
@example(HOSTILE)
def test_what_is_drawn_into_a_file_holds_no_control_character(said: str) -> None:
    stream = io.StringIO()
    console = TerminalConsole(stream, width=100)
    for shown in outputs(said):
        console.show(shown)

    refuse_raw(stream.getvalue())


@some
@given(words)
@example(HOSTILE)
def test_what_is_drawn_on_a_terminal_holds_no_control_character_but_our_styles(said: str) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TERM", "xterm-256color")
        console = TerminalConsole(stream, width=100)
        assert console.is_terminal
        for shown in outputs(said):
            console.show(shown)

    refuse_raw(stream.getvalue(), styled=True)


@some
@given(words)
@example(HOSTILE)
def test_words_begin_no_line_of_notes_and_errors(said: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        output.print_text(f"by {said}.")
        output.print_line(said)
        output.print_note(said)
        output.print_error(said, OutputFormat.TEXT)
        standard_streams.print_ending(said)
        DemoLines(out).say("event", said)

    for printed in (out.getvalue(), err.getvalue()):
        refuse_raw(printed)
        assert sum(not line.startswith("  ") for line in printed.split("\n")[:-1]) <= 3


@some
@given(words)
@example(HOSTILE)
def test_objects_for_programs_keep_their_content_without_control_characters(said: str) -> None:
    for answer in (*VIEWS.values(), PAST, LISTED, REVISIONS, ROUTERS):
        shown = hostile(answer, said)
        if any(0xD800 <= ord(one) < 0xE000 for one in said):
            continue  # No JSON and no database holds half a pair.
        as_json, as_yaml = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", as_json)
            output.print_object(shown, OutputFormat.JSON)
            patch.setattr(sys, "stdout", as_yaml)
            output.print_object(shown, OutputFormat.YAML)
        refuse_raw(as_json.getvalue())
        refuse_raw(as_yaml.getvalue())
        assert json.loads(as_json.getvalue()) == shown.model_dump(mode="json")
        assert yaml.safe_load(as_yaml.getvalue()) == shown.model_dump(mode="json")


@some
@given(words)
@example(HOSTILE)
def test_a_watched_rollout_is_told_in_lines_without_control_characters(said: str) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        with LineScreen(OutputFormat.TEXT, lambda: NOW) as screen:
            for view in VIEWS.values():
                screen.show(hostile(view, said))

    refuse_raw(out.getvalue())
    assert all(line.startswith(f"{NOW:%H:%M:%S}") for line in out.getvalue().splitlines())


def test_a_live_picture_draws_words_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with live_picture(lambda: rollout_tree(hostile(VIEWS["draining"], HOSTILE), NOW), redraws_a_second=100):
        pass

    assert "ann [/ci] [red]x[/red]" in out.getvalue()
    refuse_raw(out.getvalue())


@pytest.mark.parametrize("fault", [SystemExit(HOSTILE), RuntimeError(HOSTILE)], ids=["ending", "bug"])
def test_a_program_that_fails_shows_words_as_text(fault: BaseException) -> None:
    program = (
        "import sys\nfrom celadon.ending import run_to_exit\n"
        f"def program():\n    raise {type(fault).__name__}(sys.argv[1])\nrun_to_exit(program)"
    )

    ended = subprocess.run([sys.executable, "-c", program, HOSTILE], check=False, capture_output=True, text=True)

    assert ended.returncode == 1
    assert "ann [/ci]" in ended.stderr
    refuse_raw(ended.stderr)


def test_a_wrong_command_line_is_quoted_as_text() -> None:
    for line in ([HOSTILE], ["rollout", "list", "-o", HOSTILE], ["promote", HOSTILE], ["promote", f"--{HOSTILE}"]):
        ended = subprocess.run(
            [sys.executable, "-m", "celadon", *line],
            check=False,
            capture_output=True,
            text=True,
            env={"COLUMNS": "120"},
        )
        assert ended.returncode == 2, ended.stderr
        assert "Error" in ended.stderr
        refuse_raw(ended.stderr)


def test_a_log_line_is_one_line_and_holds_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(logging.INFO)
    log = structlog.get_logger()
    log.info("scaled", by=HOSTILE, reason="plain", many=[HOSTILE])
    lines = capsys.readouterr().err
    try:
        json.loads(HOSTILE.join("{}"))
    except json.JSONDecodeError as error:
        error.add_note(HOSTILE)
        log.exception("failed")
        traced = capsys.readouterr().err
        logging.lastResort.handle(  # type: ignore[union-attr]
            logging.LogRecord("library", logging.WARNING, __file__, 1, HOSTILE, (), sys.exc_info()),
        )
        library = capsys.readouterr().err

    assert lines.count("\n") == 1
    for printed in (lines, traced, library):
        assert "ann [/ci]" in printed
        refuse_raw(printed)
    assert all(line.startswith("    ") for line in (*traced.splitlines()[1:], *library.splitlines()[1:]))


# The commands, on rows as an earlier version could have stored them.

PRINTING: Final = (
    ("rollout", "status", "chat"),
    ("rollout", "list"),
    ("rollout", "history", "chat"),
    ("rollout", "find"),
    ("deployment", "list"),
    ("deployment", "show", "chat"),
    ("revision", "list", "chat"),
    ("events",),
    ("router", "list"),
    ("freezes",),
    ("token", "list"),
    ("notify", "list"),
    ("notify", "target", "list"),
    ("doctor",),
    ("whoami",),
)
"""Commands that show what is stored; what the others print is made of their own words and of the same answers."""
KEPT: Final = {
    # Numbers and words of ours, which nobody else writes.
    ("alembic_version", "version_num"),
    ("rollout_events", "kind"),
    ("rollout_events", "deployment"),
}


async def _fill(rows: Rows, command: Command) -> None:
    """Arrange a deployment with everything that is shown."""
    for line in (
        ("token", "create", "ci", "--role", "viewer"),
        ("notify", "target", "add", "team", "--kind", "slack", "--url-secret", "team-url", "--every-deployment"),
    ):
        assert (await command(*line)).exit_code == 0
    await rows.live()
    opened = await rows.ready("run-2")
    await rows.end(opened, opened.routes[0])
    await rows.router("edge-1", 1)


async def _make_hostile(rows: Rows) -> set[str]:
    """Write hostile words into every column of text that takes them; return which did."""
    columns = await rows.rows(
        "select table_name, column_name, data_type from information_schema.columns "
        "where table_schema = 'public' and data_type in ('text', 'character varying', 'jsonb') order by 1, 2",
    )
    written = set()
    for column in columns:
        table, name, kind = column["table_name"], column["column_name"], column["data_type"]
        if (table, name) in KEPT:
            continue
        value = "jsonb_build_object(cast(:said as text), cast(:said as text))" if kind == "jsonb" else ":said"
        if kind == "jsonb" and name != "evidence":
            continue
        try:
            async with rows.table.transaction() as tx:
                if table == "rollout_events":  # a trigger lets nobody change a line
                    await tx.execute(sql_text("set local session_replication_role = replica"))
                done = await tx.execute(sql_text(f"update {table} set {name} = {value}"), {"said": HOSTILE})  # noqa: S608
        except DBAPIError:
            continue
        if done.rowcount:  # type: ignore[attr-defined]
            written.add(f"{table}.{name}")
    return written


async def test_commands_show_stored_words_as_text(rows: Rows, command: Command) -> None:
    await _fill(rows, command)
    written = await _make_hostile(rows)
    assert written >= {"rollouts.requested_by", "rollouts.reason", "rollout_events.actor", "rollout_events.reason"}
    assert written >= {"api_tokens.name", "notify_targets.disabled_reason", "routes.last_error", "routers.nack"}
    for line in PRINTING:
        for kind in OutputFormat:
            result = await command(*line, "-o", kind.value)

            assert result.exception is None or isinstance(result.exception, SystemExit), (line, result.exception)
            refuse_raw(result.stdout)
            refuse_raw(result.stderr)
    shown = await command("rollout", "history", "chat")
    assert "ann [/ci] [red]x[/red]" in shown.stdout


@pytest_asyncio.fixture
async def hostile_api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Let commands speak to an API that answers with hostile words, in answers and in refusals."""
    answers: dict[str, BaseModel] = {
        "/v1/deployments": LISTED,
        "/v1/deployments/chat": VIEWS["draining"],
        "/v1/deployments/chat/history": PAST,
        "/v1/deployments/chat/revisions": REVISIONS,
        "/v1/routers": ROUTERS,
        "/v1/whoami": Principal(
            name="ann", roles=(Role.VIEWER,), scope={"team": "search"}, issuer="token", scheme=Scheme.TOKEN
        ),
    }

    async def answer(request: web.Request) -> web.Response:
        found = answers.get(request.path)
        if found is not None:
            return web.Response(text=hostile(found, HOSTILE).model_dump_json(), content_type="application/json")
        problem = {"title": HOSTILE, "detail": HOSTILE, "code": HOSTILE, "next_step": HOSTILE, "status": 400}
        return web.json_response(problem, status=400, reason="Bad", content_type="application/problem+json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        monkeypatch.setenv("CELADON_URL", str(server.make_url("")).rstrip("/"))
        monkeypatch.setenv("CELADON_TOKEN", "celadon_t")
        yield


@pytest.mark.usefixtures("hostile_api")
@pytest.mark.parametrize("kind", list(OutputFormat))
@pytest.mark.parametrize(
    "line",
    [
        ("rollout", "list"),
        ("rollout", "status", "chat"),
        ("rollout", "history", "chat"),
        ("revision", "list", "chat"),
        ("router", "list"),
        ("whoami",),
        ("promote", "chat"),
        ("deployment", "scale", "chat", "3"),
        ("events",),
    ],
    ids=" ".join,
)
async def test_what_an_api_answers_is_shown_as_text(
    line: tuple[str, ...], kind: OutputFormat, command: Command
) -> None:
    result = await command(*line, "-o", kind.value)

    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "ann [/" in result.output
    refuse_raw(result.stdout)
    refuse_raw(result.stderr)


def test_nothing_but_the_output_layer_reaches_a_terminal() -> None:
    """Rich reads markup, and streams take everything: one module of the whole product uses the one, few the other."""
    allowed = {
        "terminal.py": {"rich"},
        "standard_streams.py": {"sys.stdout", "sys.stderr"},
        "logs.py": {"sys.stderr"},
        "cli/output.py": {"sys.stdout", "sys.stderr", "typer.confirm", "typer.prompt"},
        # What a program asks of its streams, or wraps in ones of its own.
        "ending.py": {"sys.stdout", "sys.stderr"},
        "cli/watching.py": {"sys.stdout"},
        # Flushes them before another program takes its place.
        "cli/worker_process.py": {"sys.stdout", "sys.stderr"},
        "cli/local_stack.py": {"sys.stdout"},
        "stack/demo/demo.py": {"sys.stdout"},
        "stack/demo/screen.py": {"rich", "sys.stdout"},
        "stack/demo/load.py": {"sys.stdout"},
    }
    found: dict[str, set[str]] = {}
    for file in CELADON.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            used = _reaches(node)
            if used:
                found.setdefault(str(file.relative_to(CELADON)), set()).add(used)

    assert {
        name: used - allowed.get(name, set()) for name, used in found.items() if used - allowed.get(name, set())
    } == {}


def _reaches(node: ast.AST) -> str:
    match node:
        case ast.ImportFrom(module=str(module)) if module.partition(".")[0] == "rich":
            return "rich"
        case ast.Import(names=names) if any(one.name.partition(".")[0] in {"rich", "click"} for one in names):
            return "rich"
        case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" as stream):
            return f"sys.{stream}"
        case ast.Attribute(value=ast.Name(id="typer"), attr="echo" | "secho" | "prompt" | "confirm" as name):
            return f"typer.{name}"
        case ast.Call(func=ast.Name(id="print")):
            return "print"
        case _:
            return ""
