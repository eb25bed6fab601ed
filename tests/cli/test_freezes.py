"""``freezes`` on a real table."""

import json

import pytest

from tests.cli.conftest import Command
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

FREEZE_ALL = ("freeze", "--all", "--yes", "--reason")


async def test_the_freezes_of_all_deployments_are_told_newest_first(command: Command, rows: Rows) -> None:
    await rows.live()
    for line in (
        (*FREEZE_ALL, "audit"),
        (*FREEZE_ALL, "holidays", "--from", "2030-12-24T00:00:00Z", "--until", "2031-01-02T00:00:00Z"),
        ("freeze", "chat", "--reason", "its own"),
    ):
        made = await command(*line)
        assert made.exit_code == 0, made.output

    text = await command("freezes")
    given = await command("freezes", "-o", "json")

    planned, holding = text.stdout.splitlines()
    assert "holidays" in planned
    assert "audit" in holding
    assert "celadon unfreeze --all" in holding
    told = json.loads(given.stdout)
    assert [one["reason"] for one in told["freezes"]] == ["holidays", "audit"]
    assert told["next_before"] is None


async def test_without_a_freeze_that_is_said(command: Command, rows: Rows) -> None:
    await rows.live()

    assert (await command("freezes")).stdout == "No freeze of all deployments holds or is to come.\n"
