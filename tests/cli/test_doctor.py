"""A check-up finds what is wrong, says what to do next, and changes nothing."""

import json

import pytest
from temporalio.testing import WorkflowEnvironment
from typer.testing import Result

from tests.cli.conftest import Command
from tests.table.rows import Rows


@pytest.fixture
def with_temporal(temporal_env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch, rows: Rows) -> Rows:
    """Return rows of a Celadon whose Temporal answers."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_env.client.service_client.config.target_host)
    return rows


def _verdicts(result: Result) -> dict[str, str]:
    return {one["check"]: one["verdict"] for one in json.loads(result.stdout)["findings"]}


async def test_a_celadon_that_is_well(command: Command, with_temporal: Rows) -> None:
    await with_temporal.live()
    await with_temporal.router("edge-1", 1000)
    before = await with_temporal.dump()

    result = await command("doctor", "-o", "json")

    assert result.exit_code == 0, result.stdout
    assert set(_verdicts(result).values()) == {"fine"}
    assert await with_temporal.dump() == before


async def test_each_thing_that_is_wrong_is_named(command: Command, with_temporal: Rows) -> None:
    await with_temporal.live()
    unfinished = await with_temporal.ready("run-2")
    await with_temporal.router("edge-1", 1)
    await with_temporal.sql("update routers set nack = 'unknown field'")
    await with_temporal.sql("update keepers set seen_at = to_timestamp(0)")
    await with_temporal.sql("update route_sets set condition = 'failed' where id = :id", id=unfinished.green)
    await with_temporal.sql(
        "insert into outbox (workflow_id, signal, payload, created_at) values ('w', 's', '{}', to_timestamp(0))",
    )

    result = await command("doctor", "-o", "json")

    assert result.exit_code == 1
    verdicts = _verdicts(result)
    wrong = {check for check, verdict in verdicts.items() if verdict == "wrong"}
    assert wrong == {
        "keeper",
        "signals",
        "router edge-1",
        f"set {unfinished.green}",
        f"rollout {unfinished.begun.rollout}",
    }
    assert all(one["next_step"] for one in json.loads(result.stdout)["findings"] if one["verdict"] != "fine")


async def test_a_router_that_is_behind_is_odd(command: Command, with_temporal: Rows) -> None:
    await with_temporal.live()
    await with_temporal.router("edge-1", 0)

    result = await command("doctor", "-o", "json")

    assert _verdicts(result)["router edge-1"] == "odd"


async def test_a_live_deployment_without_a_router_is_wrong(command: Command, with_temporal: Rows) -> None:
    await with_temporal.live()

    result = await command("doctor")

    assert result.exit_code == 1
    assert "✘ routers: none is live" in result.stdout
    assert "celadon gateway bootstrap" in result.stdout


async def test_without_temporal_the_table_is_checked_all_the_same(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("doctor", "-o", "json")

    verdicts = _verdicts(result)
    assert result.exit_code == 1
    assert verdicts["Temporal"] == "wrong"
    assert verdicts["keeper"] == "fine"


async def test_an_older_schema_is_wrong(command: Command, rows: Rows) -> None:
    await rows.sql("update alembic_version set version_num = '0000'")
    try:
        result = await command("doctor")
    finally:
        await rows.sql("update alembic_version set version_num = '0001'")

    assert result.exit_code == 1
    assert "run 'celadon db upgrade'" in result.stdout
