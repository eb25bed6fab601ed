"""Text from outside that Postgres cannot hold."""

import pytest

from celadon.domain.language.steps import Note
from tests.table.rows import HEALTHY, NOW, Rows

REPLACED = "\N{REPLACEMENT CHARACTER}"


async def test_a_nul_in_a_reason_does_not_stop_a_rollout(rows: Rows) -> None:
    opened = await rows.open()
    note = Note(seq=1, at=NOW, kind="promotion_refused", reason="new\0weights")

    await rows.close(opened, opened.green, notes=(note,))

    told = await rows.value("select reason from rollout_events where kind = 'promotion_refused'")
    assert told == f"new{REPLACED}weights"


@pytest.mark.parametrize(("printed", "stored"), [("killed\0", f"killed{REPLACED}"), ("half \ud83d", "half ?")])
async def test_what_a_replica_printed_does_not_stop_the_keeper(rows: Rows, printed: str, stored: str) -> None:
    opened = await rows.open(policy={"max_replacements": 0})
    route = await rows.add(opened, HEALTHY)

    await rows.end(opened, route, error=printed)

    assert await rows.value("select last_error from routes") == stored
    told = await rows.value("select payload from outbox order by id desc limit 1")
    assert told["last_error"].startswith(stored)
    assert await rows.value("select reason from rollout_events where kind = 'replica_failed'") == stored
