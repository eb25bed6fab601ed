"""Answers of steps stay small beside thousands of routers: Temporal bounds the result of an activity."""

import asyncio

import pytest
from temporalio.testing import ActivityEnvironment

from activities.rollout import RolloutActivities
from celadon.domain.language.limits import TRANSPORTED_BYTES
from celadon.domain.language.router_names import MOST_NAMED
from celadon.domain.language.steps import DrainEnd, SwitchAnswer
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from tests.table.rows import TRUSTING, Rows

pytestmark = pytest.mark.parts

MANY = 3_000
FEW_BYTES = 8_000


async def _add_silent_routers(rows: Rows) -> None:
    """Add live routers with long names, none of which acknowledges anything any more."""
    await rows.connect("edge-0")
    await rows.sql(
        "insert into routers select (jsonb_populate_record(router, jsonb_build_object("
        "'node', 'edge-' || n || repeat('x', 90), 'acknowledged_at', now(), 'seen_at', now() + interval '1 day'"
        "))).* from routers router, generate_series(1, :many) n",
        many=MANY,
    )


async def test_the_answers_of_a_switch_and_a_drain_name_some_routers_and_count_all(table: Table) -> None:
    rows = await Rows.with_keeper(table)
    await rows.live()
    opened = await rows.ready("run-2")
    await _add_silent_routers(rows)
    environment = ActivityEnvironment()
    async with Listener(table.database_url, "celadon-tests-routers") as listener, asyncio.timeout(60):
        activities = RolloutActivities(table, listener, TRUSTING)
        switched: SwitchAnswer = await environment.run(activities.switch, opened.switch_step(ack_timeout_seconds=0.1))
        assert switched.epoch is not None, switched.refusal
        close = opened.close_step(opened.blue, needs_acknowledgement=switched.epoch)
        refused: DrainEnd = await environment.run(activities.drain, close)

    assert (len(switched.silent), switched.silent_count, switched.acknowledged_count) == (MOST_NAMED, MANY, 0)
    assert len(switched.model_dump_json().encode()) < FEW_BYTES < TRANSPORTED_BYTES
    assert refused.refusal is not None
    assert (len(refused.silent), refused.silent_count) == (MOST_NAMED, MANY)
    assert len(refused.model_dump_json().encode()) < FEW_BYTES
