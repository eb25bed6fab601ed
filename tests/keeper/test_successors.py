"""The keeper starts what has waited as soon as it is its turn, and until it has begun."""

from pathlib import Path

from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import DeploymentName, RevisionNumber
from celadon.domain.language.policy import OnNewRevision
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.core.locks import lock_deployment
from celadon.table.core.models import NextRolloutRow, Rollout
from celadon.table.rollouts.next_rollouts import AskedStart, Wanted, place
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.programs import until

BEN = Author(by="ben", door=Channel.API, verified=True, issuer="token")


async def waits(table: Table, chat: Deploying) -> int:
    """Let something wait behind the deployment's rollout; return its number."""
    async with table.transaction() as tx:
        lock = await lock_deployment(tx, chat.name)
        request = RolloutRequest(deployment=DeploymentName(chat.name), revision=1, requested_by="ben")
        asked = AskedStart.of(request, RevisionNumber(1), BEN, frozenset())
        wanted = Wanted(asked=asked, mode=OnNewRevision.QUEUE, request_id="")
        placed = await place(tx, lock, await tx.get_one(Rollout, chat.rollout), wanted, BEN)
    return placed.waiting.id


async def promoted(chat: Deploying) -> None:
    """Let the deployment's rollout end well."""
    await chat.switch()
    await chat.finish()


async def test_what_waits_is_started_when_the_rollout_before_it_has_ended(
    table: Table, state_dir: Path, chat: Deploying
) -> None:
    rollouts = Rollouts()
    async with running_keeper(table, state_dir, rollouts):
        await chat.open({"command": ["sleep", "60"]}, replicas=0)
        number = await waits(table, chat)
        await until(lambda: any(signal == "successor_waits" for _, signal, _ in rollouts.heard))
        assert rollouts.started == []

        await promoted(chat)

        await until(lambda: (chat.name, number) in rollouts.started)


async def test_what_waits_is_started_until_the_workflow_before_it_has_closed(
    table: Table, state_dir: Path, chat: Deploying
) -> None:
    rollouts = Rollouts(closing=5)
    async with running_keeper(table, state_dir, rollouts):
        await chat.open({"command": ["sleep", "60"]}, replicas=0)
        number = await waits(table, chat)

        await promoted(chat)

        await until(lambda: (chat.name, number) in rollouts.started)
    assert rollouts.closing == 0


async def test_another_keeper_starts_what_one_that_died_has_not(table: Table, state_dir: Path, chat: Deploying) -> None:
    rollouts = Rollouts(is_away=True)
    async with running_keeper(table, state_dir, rollouts):
        await chat.open({"command": ["sleep", "60"]}, replicas=0)
        number = await waits(table, chat)
        await promoted(chat)
    assert rollouts.started == []
    rollouts.is_away = False

    async with running_keeper(table, state_dir, rollouts):
        await until(lambda: (chat.name, number) in rollouts.started)


async def test_nothing_is_started_that_has_begun(table: Table, state_dir: Path, chat: Deploying) -> None:
    rollouts = Rollouts()
    async with running_keeper(table, state_dir, rollouts):
        await chat.open({"command": ["sleep", "60"]}, replicas=0)
        number = await waits(table, chat)
        await promoted(chat)
        await until(lambda: (chat.name, number) in rollouts.started)
        async with table.transaction() as tx:
            await tx.delete(await tx.get_one(NextRolloutRow, number))
        before = len(rollouts.started)
        other = Deploying(table, f"{chat.name}-other")
        await other.open({"command": ["sleep", "60"]}, replicas=0)
        others = await waits(table, other)
        await promoted(other)
        await until(lambda: (other.name, others) in rollouts.started)
    # One attempt may have been under way.
    assert rollouts.started[before:].count((chat.name, number)) <= 1
