"""Owed signals are sent until Temporal has taken them."""

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.testing import WorkflowEnvironment

from celadon.stack.programs import temporal_program
from celadon.table.core.engine import Table
from celadon.table.core.models import OutboxMessage
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, Running, running_keeper
from tests.provisioners.programs import server, until
from worker.temporal_signals import TemporalSignals


async def test_signals_wait_while_temporal_is_away_and_come_in_order(
    keeper: Running,
    chat: Deploying,
    rollouts: Rollouts,
) -> None:
    rollouts.is_away = True
    await chat.open({"command": server()}, replicas=1)
    await chat.healthy(1)
    assert [one.signal for one in await chat.owed()] == ["green_changed", "green_changed"]
    await until(lambda: keeper.metric("celadon_keeper_outbox") == 2)
    rollouts.is_away = False
    await until(lambda: rollouts.conditions(chat.name) == ["running", "ready"])

    async def is_empty() -> bool:
        return not await chat.owed()

    await until(is_empty)
    await until(lambda: keeper.metric("celadon_keeper_outbox") == 0)


async def test_a_signal_for_a_workflow_that_is_gone_is_dropped(
    keeper: Running,
    chat: Deploying,
    rollouts: Rollouts,
) -> None:
    rollouts.deaf.add(f"rollout-{chat.name}")
    await chat.open({"command": server()}, replicas=1)
    await chat.healthy(1)

    async def is_empty() -> bool:
        return not await chat.owed()

    await until(is_empty)
    assert not rollouts.heard
    del keeper


@pytest.fixture
def code(table: Table) -> Deploying:
    """Return another deployment of which the table knows nothing yet."""
    return Deploying(table, f"code-{uuid.uuid4().hex[:8]}")


async def test_signals_carry_the_rollout_that_they_are_for(
    keeper: Running,
    chat: Deploying,
    rollouts: Rollouts,
) -> None:
    await chat.open({"command": server()}, replicas=1)
    await until(lambda: rollouts.conditions(chat.name) == ["running", "ready"])
    assert {payload["rollout"] for _, _, payload in rollouts.heard} == {chat.rollout}
    del keeper


async def test_a_workflow_that_takes_no_more_signals_gets_its_own_later_and_in_order(
    keeper: Running,
    chat: Deploying,
    rollouts: Rollouts,
) -> None:
    workflow = f"rollout-{chat.name}"
    rollouts.exhausted.add(workflow)
    await chat.open({"command": server()}, replicas=1)
    await chat.healthy(1)
    await until(lambda: rollouts.refused.count(workflow) >= 2)
    assert [one.signal for one in await chat.owed()] == ["green_changed", "green_changed"]
    rollouts.exhausted.clear()
    await until(lambda: rollouts.conditions(chat.name) == ["running", "ready"])
    await until(lambda: keeper.metric("celadon_keeper_outbox") == 0)


@pytest.mark.parametrize("trouble", ["exhausted", "broken", "hanging"])
async def test_the_trouble_of_one_workflow_delays_no_other(
    trouble: str,
    keeper: Running,
    chat: Deploying,
    code: Deploying,
    rollouts: Rollouts,
) -> None:
    getattr(rollouts, trouble).add(f"rollout-{chat.name}")
    await chat.open({"command": server()}, replicas=1)
    await chat.healthy(1)
    await code.open({"command": server()}, replicas=1)
    await until(lambda: rollouts.conditions(code.name) == ["running", "ready"])
    assert [one.signal for one in await chat.owed()] == ["green_changed", "green_changed"]
    await until(lambda: keeper.metric("celadon_keeper_outbox") == 2)


async def test_a_crowd_of_signals_that_one_workflow_does_not_take_hides_no_others(
    keeper: Running,
    chat: Deploying,
    code: Deploying,
    rollouts: Rollouts,
    table: Table,
) -> None:
    crowded = f"rollout-{chat.name}"
    rollouts.exhausted.add(crowded)
    async with table.transaction() as tx:
        # More than are read at once.
        tx.add_all(OutboxMessage(workflow_id=crowded, signal="green_changed", payload={}) for _ in range(1200))
    await code.open({"command": server()}, replicas=1)
    await until(lambda: rollouts.conditions(code.name) == ["running", "ready"])
    await until(lambda: keeper.metric("celadon_keeper_outbox") == 1200)


@pytest.mark.parts
async def test_a_run_that_has_taken_all_its_signals_is_followed_by_one_that_takes_the_rest(
    table: Table,
    state_dir: Path,
    chat: Deploying,
    code: Deploying,
) -> None:
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(temporal_program()),
        dev_server_startup_timeout=timedelta(seconds=60),
        dev_server_extra_args=["--dynamic-config-value", "history.maximumSignalsPerExecution=1"],
    ) as environment:
        client = environment.client
        await start(client, chat)
        async with running_keeper(table, state_dir, TemporalSignals(client)):
            await chat.open({"command": server()}, replicas=1)
            await chat.healthy(1)

            async def one_is_refused() -> bool:
                return len(await chat.owed()) == 1

            await until(one_is_refused)
            await start(client, code)
            await code.open({"command": server()}, replicas=1)

            async def is_told() -> bool:
                return await signals_of(client, code) == 1

            await until(is_told)
            assert len(await chat.owed()) == 1

            # As it continues as new: at no moment does no run take signals.
            await start(client, chat)

            async def is_empty() -> bool:
                return not await chat.owed()

            await until(is_empty)
            assert await signals_of(client, chat) == 1


async def start(client: Client, chat: Deploying) -> None:
    """Begin a run of a rollout that no worker carries, in the place of the one that there is."""
    await client.start_workflow(
        "Anything",
        id=f"rollout-{chat.name}",
        task_queue="nobody",
        id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
    )


async def signals_of(client: Client, chat: Deploying) -> int:
    """Return how many signals the latest run of a rollout has taken."""
    history = await client.get_workflow_handle(f"rollout-{chat.name}").fetch_history()
    return sum(event.HasField("workflow_execution_signaled_event_attributes") for event in history.events)
