"""What the command line says that it does, before the rollout has answered."""

import pytest

from tests.service.doors import CALLER, Doors, Scenarios, Way
from tests.table.rows import Rows


@pytest.mark.parametrize("way", [Way.CLI, Way.DIRECT])
async def test_only_what_is_under_way_is_announced(way: Way, doors: Doors, rows: Rows) -> None:
    await Scenarios(doors, rows).bring("awaiting")
    by: tuple[str, ...] = ()
    if way is Way.CLI:
        await doors.ways.through_api()
    else:
        doors.ways.directly()
        by = ("--by", CALLER)
    under_way = (await rows.rows("select id from rollouts where outcome is null"))[0]["id"]

    another_rollout = await doors.command("abort", "chat", "--rollout", "777777", *by)
    another_revision = await doors.command("promote", "chat", "--revision", "r9", *by)
    done = await doors.command("abort", "chat", "--rollout", str(under_way), *by)

    for refused in (another_rollout, another_revision):
        assert refused.exit_code == 1
        assert "777777" in refused.stderr or "revision 9" in refused.stderr
        assert not refused.stdout
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"Aborting r2 of chat, rollout {under_way}, by {CALLER}.")
