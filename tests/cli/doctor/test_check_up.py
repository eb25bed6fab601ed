"""The check-up as a whole: it finds what is wrong, says what to do next, and without --fix changes nothing."""

import json

import pytest
from temporalio.client import Client

from tests.cli.conftest import Command
from tests.cli.doctor.conftest import Doctor, not_fine, without_keeper
from tests.cli.doctor.test_rollouts import terminated
from tests.table.rows import Rows


@pytest.mark.parametrize("arguments", [(), ("--fix",)])
async def test_a_celadon_that_is_well_is_left_as_it_is(doctor: Doctor, well: Rows, arguments: tuple[str, ...]) -> None:
    before = await well.dump()

    code, findings = await doctor(*arguments)

    assert (code, not_fine(findings)) == (0, {})
    assert await well.dump() == before


async def test_each_thing_that_is_wrong_is_named_with_why_and_what_to_do(
    doctor: Doctor,
    temporal: Client,
    well: Rows,
) -> None:
    unfinished = await terminated(temporal, well)
    await well.router("edge-2", 1)
    await well.sql("update routers set nack = 'unknown field' where node = 'edge-2'")
    await without_keeper(well)
    await well.sql("update route_sets set condition = 'failed' where id = :id", id=unfinished.green)
    await well.sql(
        "insert into outbox (workflow_id, signal, payload, created_at) values ('w', 's', '{}', to_timestamp(0))",
    )
    before = await well.dump()

    code, findings = await doctor()

    assert code == 1
    assert not_fine(findings) == {
        "keeper": "wrong",
        "signals": "wrong",
        "router edge-2": "wrong",
        f"set {unfinished.green}": "wrong",
        f"rollout {unfinished.begun.rollout}": "wrong",
    }
    assert all(findings[check]["why"] and findings[check]["next_step"] for check in not_fine(findings))
    assert {check for check, one in findings.items() if one["remedy"]} == {
        "signals",
        f"rollout {unfinished.begun.rollout}",
    }
    assert await well.dump() == before


async def test_what_only_a_person_can_do_stays_wrong_with_fix(doctor: Doctor, well: Rows) -> None:
    await without_keeper(well)

    code, findings = await doctor("--fix")

    assert (code, not_fine(findings)) == (1, {"keeper": "wrong"})
    assert "celadon worker" in findings["keeper"]["next_step"]


async def test_people_are_told_how_much_fix_would_mend(command: Command, temporal: Client, well: Rows) -> None:
    await terminated(temporal, well)

    told = (await command("doctor")).stdout
    mended = (await command("doctor", "--fix")).stdout

    assert "→ --fix would end it as failed" in told
    assert "1 not well. 'celadon doctor --fix' mends 1 of that." in told
    assert "mended: ended it as failed (terminated)" in mended
    assert "mended 1; nothing is wrong any more." in mended


async def test_without_temporal_the_table_is_checked_all_the_same(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("doctor", "-o", "json")

    findings = {one["check"]: one["verdict"] for one in json.loads(result.stdout)["findings"]}
    assert result.exit_code == 1
    assert findings["Temporal"] == "wrong"
    assert findings["keeper"] == "fine"
    assert findings["signals"] == "fine"
