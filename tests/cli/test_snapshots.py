"""What people see, whole: a change of it is a change of a file in ``snapshots``.

Recorded anew, after a look at the difference, with ``pytest tests/cli/test_snapshots.py --record-snapshots``.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console, RenderableType

from celadon.cli import deployments, events, listings, registering, routers
from celadon.cli.deliveries import delivery_table
from celadon.cli.output import OutputFormat
from celadon.cli.tree import rollout_tree
from celadon.cli.watching import LineScreen
from tests.cli.conftest import Command
from tests.sample_views import LINES, LISTED, NOW, PAST, REVISIONS, ROUTERS, VIEWS

SNAPSHOTS: Final = Path(__file__).parent / "snapshots"
WIDTH: Final = 120

TABLES: Final[dict[str, tuple[RenderableType, ...]]] = {
    "deployment-list": (deployments.deployment_table(LISTED),),
    "rollout-history": (
        listings.history_table(PAST, NOW),
        "",
        listings.event_table(PAST.events),
        "",
        delivery_table(PAST.notified),
    ),
    "rollout-list": (listings.rollout_table(PAST.items, NOW),),
    "revision-list": (registering.revision_table(REVISIONS),),
    "events": (events.event_table(LINES),),
    "router-list": (routers.router_table(ROUTERS),),
}
REFUSED: Final = {
    "no-celadon": (("rollout", "list"), {}),
    "half-an-api": (("rollout", "list"), {"CELADON_URL": "https://celadon.example.com"}),
    "half-a-celadon": (("rollout", "list"), {"TEMPORAL_ADDRESS": "127.0.0.1:7233"}),
    "no-such-profile": (("rollout", "list", "--profile", "staging"), {}),
    "in-the-clear": (
        ("rollout", "list"),
        {"CELADON_URL": "http://celadon.example.com", "CELADON_TOKEN": "celadon_t"},
    ),
    "api-away": (("promote", "chat"), {"CELADON_URL": "http://127.0.0.1:1", "CELADON_TOKEN": "celadon_t"}),
    "api-away-json": (
        ("promote", "chat", "-o", "json"),
        {"CELADON_URL": "http://127.0.0.1:1", "CELADON_TOKEN": "celadon_t"},
    ),
    "wrong-name": (("promote", "Chat_"), {}),
    "force-without-reason": (("promote", "chat", "--force"), {}),
    "timeout-without-wait": (("promote", "chat", "--timeout", "5m"), {}),
    "two-targets": (("rollout", "list", "--profile", "staging", "--direct"), {}),
    "token-without-terminal": (("login", "https://celadon.example.com"), {}),
}

HELPED: Final[tuple[tuple[str, ...], ...]] = ((), ("promote",), ("deploy",), ("rollout", "status"))
"""How help looks, of a group and of some commands; what each command says stands in the reference page of commands."""

LOG_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\S+Z")
"""The moment of a line that is logged while an API is waited for."""

Snapshot = Callable[[str, str], None]


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Snapshot:
    """Return what compares a text with the one that was recorded, or records it."""
    recording = bool(request.config.getoption("--record-snapshots"))

    def compare(name: str, text: str) -> None:
        whole = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
        file = SNAPSHOTS / f"{name}.txt"
        if recording:
            file.parent.mkdir(exist_ok=True)
            file.write_text(whole, encoding="utf-8")
        assert whole == file.read_text(encoding="utf-8"), "look at it; if it is right, record: --record-snapshots"

    return compare


def _printed(*parts: RenderableType) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, highlight=False, color_system=None)
    for part in parts:
        console.print(part)
    return stream.getvalue()


@pytest.mark.parametrize("view_name", VIEWS)
def test_trees(view_name: str, snapshot: Snapshot) -> None:
    snapshot(f"tree-{view_name}", _printed(rollout_tree(VIEWS[view_name], NOW)))


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, snapshot: Snapshot) -> None:
    snapshot(name, _printed(*TABLES[name]))


def test_a_deployment_with_its_policy(snapshot: Snapshot) -> None:
    shown = VIEWS["awaiting-promotion"].deployment
    assert shown is not None
    snapshot("deployment-show", _printed(rollout_tree(VIEWS["ended"], NOW), "", deployments.policy_text(shown)))


def test_a_watch_without_a_terminal(snapshot: Snapshot, capsys: pytest.CaptureFixture[str]) -> None:
    with LineScreen(OutputFormat.TEXT, lambda: NOW) as screen:
        for view in VIEWS.values():
            screen.show(view)
            screen.show(view)

    snapshot("rollout-watch", capsys.readouterr().out)


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals(
    name: str,
    command: Command,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    words, environment = REFUSED[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    result = await command(*words)

    errors = LOG_MOMENT.sub("MOMENT", result.stderr)
    told = f"$ celadon {' '.join(words)}\n{result.stdout}{errors}exit code {result.exit_code}\n"
    snapshot(f"refused-{name}", told.replace(str(tmp_path), "/home/ann"))


@pytest.mark.parametrize("words", HELPED, ids=lambda words: " ".join(words) or "celadon")
async def test_help(words: tuple[str, ...], command: Command, snapshot: Snapshot) -> None:
    result = await command(*words, "--help")

    assert result.exit_code == 0
    snapshot("-".join(("help", *words)), result.stdout)


def test_no_snapshot_is_left_over() -> None:
    wanted = {
        *(f"tree-{name}" for name in VIEWS),
        *TABLES,
        *(f"refused-{name}" for name in REFUSED),
        *("-".join(("help", *words)) for words in HELPED),
        "deployment-show",
        "rollout-watch",
    }

    assert {file.stem for file in SNAPSHOTS.iterdir()} == wanted
