"""Watching a rollout ends with it, and its exit code says how."""

import asyncio
import io
import json

import pytest

from celadon.cli.tree import fitting_tree, rollout_tree
from celadon.cli.watching import exit_code_of
from celadon.domain.language.states import RolloutOutcome
from celadon.terminal import TerminalConsole, fits_on
from tests.cli.conftest import Command
from tests.sample_views import NOW, VIEWS
from tests.table.rows import Rows


@pytest.mark.parametrize("outcome", list(RolloutOutcome))
def test_only_a_promotion_is_a_success(outcome: RolloutOutcome) -> None:
    assert (exit_code_of(outcome) == 0) is (outcome is RolloutOutcome.PROMOTED)


@pytest.mark.parametrize("view_name", VIEWS)
def test_a_live_picture_fits_a_small_terminal(view_name: str) -> None:
    console = TerminalConsole(io.StringIO(), width=80)
    console.height = 24

    tree = fitting_tree(VIEWS[view_name], lambda shown: fits_on(console, shown), NOW)

    assert fits_on(console, tree)


def test_a_live_picture_shows_all_that_there_is_room_for() -> None:
    console = TerminalConsole(io.StringIO(), width=120)
    console.height = 60
    console.show(fitting_tree(VIEWS["provisioning"], lambda shown: fits_on(console, shown), NOW))
    whole = TerminalConsole(io.StringIO(), width=120)
    whole.show(rollout_tree(VIEWS["provisioning"], NOW))

    assert written(console) == written(whole)


def test_a_small_terminal_shows_the_newest_event_and_what_was_printed() -> None:
    console = TerminalConsole(io.StringIO(), width=80)
    console.height = 24
    console.show(fitting_tree(VIEWS["provisioning"], lambda shown: fits_on(console, shown), NOW))

    assert "phase: awaiting promotion" in written(console)
    assert written(console).count("CUDA out of memory") == 1


def written(console: TerminalConsole) -> str:
    """Return what was shown."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_a_watch_ends_with_the_rollout(command: Command, rows: Rows) -> None:
    await rows.live()
    opened = await rows.switched("run-2")

    watching = asyncio.create_task(command("rollout", "watch", "chat"))
    await asyncio.sleep(0)
    await rows.finish(opened)
    result = await watching

    assert result.exit_code == 0
    told = f"Rollout {opened.begun.rollout} of chat (r1 → r2): promoted: because"
    assert result.stdout.splitlines()[-1] == told


async def test_a_watch_of_an_ended_rollout_tells_its_outcome_at_once(command: Command, rows: Rows) -> None:
    await rows.live()
    await rows.finish(await rows.ready("run-2"), RolloutOutcome.ABORTED)

    result = await command("rollout", "watch", "chat")

    assert result.exit_code == 1
    assert "aborted: because" in result.stdout


async def test_a_watch_for_programs_writes_an_object_a_line(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("rollout", "watch", "chat", "-o", "json")

    assert [json.loads(line)["phase"] for line in result.stdout.splitlines()] == ["completed"]


async def test_a_watch_of_an_unknown_rollout_is_refused(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("rollout", "watch", "chat", "--rollout", "777777")

    assert result.exit_code == 1
    assert "chat has no rollout 777777" in result.stderr
