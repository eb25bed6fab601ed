"""``celadon db prune`` says per table what went, or would go."""

import json

from tests.cli.conftest import Command
from tests.table.retention.aging import DAY, let_pass, replace_live
from tests.table.rows import Rows


async def _old_rollouts(rows: Rows) -> None:
    policy = {"revision_history_limit": 1, "rollback_window": {"revisions": 0}}
    for number in range(3):
        await replace_live(rows, f"run-{number}", policy=policy if number == 0 else {})
    await let_pass(rows.table, 40 * DAY)


async def test_a_dry_run_says_what_would_go_and_nothing_goes(command: Command, rows: Rows) -> None:
    await _old_rollouts(rows)
    before = await rows.dump()

    result = await command("db", "prune", "--dry-run", "--older-than", "30d", "-o", "json")

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["dry_run"], told["older_than"], told["rows"]["rollouts"]) == (True, "30d", 2)
    assert await rows.dump() == before


async def test_it_prunes_and_the_audit_log_says_who_did(command: Command, rows: Rows) -> None:
    await _old_rollouts(rows)

    result = await command("db", "prune", "--older-than", "30d", "--by", "ann")

    assert result.exit_code == 0, result.output
    assert "rollouts" in result.stdout
    assert await rows.value("select count(*) from rollouts") == 1
    [line] = await rows.rows("select * from rollout_events where kind = 'pruned'")
    assert (line["actor"], line["door"], line["verified"]) == ("ann", "cli", False)
    assert line["reason"] == "celadon db prune, older than 30d"


async def test_without_an_age_each_policy_says_how_old(command: Command, rows: Rows) -> None:
    await _old_rollouts(rows)

    result = await command("db", "prune")

    assert (result.exit_code, result.stdout) == (0, "Nothing had had its time.\n")


async def test_an_age_below_an_hour_is_a_wrong_use(command: Command, rows: Rows) -> None:
    result = await command("db", "prune", "--older-than", "59m")

    assert result.exit_code == 2
    assert "nothing younger than 1h" in result.output
    del rows


async def test_a_pruned_rollout_is_said_to_be_one(command: Command, rows: Rows) -> None:
    await _old_rollouts(rows)
    first = await rows.value("select min(id) from rollouts")
    await command("db", "prune", "--older-than", "30d")

    result = await command("rollout", "history", "chat", "--rollout", str(first), "--direct")

    assert result.exit_code == 1
    assert "was pruned, or never was one of chat" in " ".join(result.output.split())
