"""What the keeper does for rollouts."""

from pathlib import Path

from celadon.domain.language.names import Epoch, RouterNode
from celadon.domain.language.states import Channel, RolloutOutcome, RouteSetState
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.core.models import Deployment, Rollout
from celadon.table.routers.enrolments import NewEnrolment, enrol_router
from celadon.table.routers.reports import router_acknowledged, router_connected
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, Running, running_keeper
from tests.provisioners.programs import server, until


async def test_a_rollout_hears_when_the_last_router_has_caught_up(
    keeper: Running,
    chat: Deploying,
    rollouts: Rollouts,
    table: Table,
) -> None:
    await chat.open({"command": server()}, replicas=0)
    epoch = Epoch(await chat.epoch() + 1)
    async with table.transaction() as tx:
        await enrol_router(tx, NewEnrolment(node=RouterNode("east")), Author(by="ann", door=Channel.CLI))
        await router_connected(tx, "east", "gateway")
        await router_acknowledged(tx, "east", {chat.name: Epoch(0)})
        rollout = await tx.get_one(Rollout, chat.rollout)
        rollout.awaits_epoch = epoch
    async with table.transaction() as tx:
        await router_acknowledged(tx, "east", {chat.name: epoch})
    await until(lambda: any(signal == "routers_acknowledged" for _, signal, _ in rollouts.heard))
    [payload] = [payload for _, signal, payload in rollouts.heard if signal == "routers_acknowledged"]
    assert payload == {"epoch": epoch, "rollout": (await chat.rollout_row()).id}
    assert (await chat.rollout_row()).awaits_epoch is None
    del keeper


async def test_a_rollout_whose_workflow_is_gone_is_ended_and_green_closed(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    rollouts = Rollouts()
    async with running_keeper(table, state_dir, rollouts):
        blue = await chat.make_live({"command": server()})
        green = await chat.open({"command": server(), "env": {"VERSION": "2"}})
        await chat.healthy(1)
    rollouts.gone.add(f"rollout-{chat.name}")
    async with running_keeper(table, state_dir, rollouts):

        async def has_ended() -> bool:
            return (await chat.rollout_row()).outcome is RolloutOutcome.FAILED

        await until(has_ended)
        assert (await chat.rollout_row()).outcome_reason == "terminated"
        await chat.gone(green)
        assert (await chat.set_row(blue)).state is RouteSetState.OPEN
        async with table.transaction() as tx:
            assert (await tx.get_one(Deployment, chat.name)).live_set == blue


async def test_no_rollout_is_ended_while_temporal_cannot_be_asked(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    rollouts = Rollouts(is_away=True, gone={f"rollout-{chat.name}"})
    async with running_keeper(table, state_dir, rollouts) as running:
        await chat.open({"command": server()}, replicas=1)
        await chat.healthy(1)
        assert running.metric("celadon_keeper_lease_held") == 1
        assert (await chat.rollout_row()).outcome is None


async def test_temporal_is_asked_only_for_rollouts_that_it_does_not_list(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    rollouts = Rollouts(index={f"rollout-{chat.name}"})
    async with running_keeper(table, state_dir, rollouts):
        await chat.open({"command": server()}, replicas=1)
        await chat.healthy(1)
    before = rollouts.lists
    async with running_keeper(table, state_dir, rollouts):
        await until(lambda: rollouts.lists > before)
        assert rollouts.asked == []
    rollouts.index.clear()
    async with running_keeper(table, state_dir, rollouts):
        await until(lambda: rollouts.asked == [f"rollout-{chat.name}"])
        assert (await chat.rollout_row()).outcome is None
