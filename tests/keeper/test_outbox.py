"""Owed signals are sent until Temporal has taken them."""

from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, Running
from tests.provisioners.programs import server, until


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
