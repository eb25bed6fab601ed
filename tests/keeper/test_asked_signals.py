"""A rollout that waits for blue or for a keeper is told, also when the keeper that it asked has died meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.states import Channel, RouteHealthStatus
from celadon.domain.language.steps import SwitchAnswer, SwitchStep
from celadon.table.core.engine import Table
from celadon.table.rollouts.switch import switch, switch_back
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.programs import server, until
from tests.table.rows import TRUSTING, promotion, rollback

pytestmark = pytest.mark.parts


async def _ask(
    chat: Deploying,
    change: Callable[[AsyncSession, SwitchStep, Authority], Awaitable[SwitchAnswer]],
    decision: str,
) -> RefusalCode | None:
    step = SwitchStep(
        ack_timeout_seconds=30.0,
        deployment=chat.name,
        rollout=chat.rollout,
        blue_set=chat.blue,
        green_set=chat.green,
        by="ann",
        door=Channel.UPDATE,
        reason="",
        decision=decision,
        message=rollback() if change is switch_back else promotion(),
        keeps_asking=True,
    )
    async with chat.table.transaction() as tx:
        answer = await change(tx, step, TRUSTING)
    return None if answer.refusal is None else answer.refusal.code


async def _asked_until_done(
    chat: Deploying,
    rollouts: Rollouts,
    change: Callable[[AsyncSession, SwitchStep, Authority], Awaitable[SwitchAnswer]],
    signal: str,
    refusal: RefusalCode,
) -> None:
    """Ask once for each signal, as a rollout does, until the step is carried out."""
    refused: RefusalCode | None = refusal
    tries = 0
    while refused is refusal:
        tries += 1
        await until(partial(_has_heard, rollouts, signal, tries))
        refused = await _ask(chat, change, f"run-2/later-{tries}")
    assert refused is None


def _has_heard(rollouts: Rollouts, signal: str, times: int) -> bool:
    return [kind for _, kind, _ in rollouts.heard].count(signal) >= times


async def test_a_rollout_hears_of_a_blue_that_recovered_while_no_keeper_lived(
    table: Table,
    state_dir: Path,
    chat: Deploying,
    tmp_path: Path,
) -> None:
    rollouts, sick = Rollouts(), tmp_path / "sick"
    async with running_keeper(table, state_dir, rollouts):
        blue = await chat.make_live({"command": server(), "env": {"SICK_FILE": str(sick)}}, replicas=2)
        await chat.open({"command": server(), "env": {"VERSION": "2"}}, replicas=2)
        await chat.healthy(2)
        await chat.switch()
        await asyncio.to_thread(sick.touch)

        async def is_sick() -> bool:
            return all(one.health is RouteHealthStatus.UNHEALTHY for one in await chat.routes(blue))

        await until(is_sick)
        assert await _ask(chat, switch_back, "run-2/1") is RefusalCode.NO_HEALTHY_BLUE
    await asyncio.to_thread(sick.unlink)
    assert "blue_changed" not in [signal for _, signal, _ in rollouts.heard]

    async with running_keeper(table, state_dir, rollouts):
        await _asked_until_done(chat, rollouts, switch_back, "blue_changed", RefusalCode.NO_HEALTHY_BLUE)

    assert (await chat.row()).live_set == blue


async def test_a_rollout_hears_of_the_next_keeper_when_it_has_looked_at_green(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    rollouts = Rollouts()
    async with running_keeper(table, state_dir, rollouts):
        green = await chat.open({"command": server()}, replicas=2)
        await chat.healthy(2)
    assert await _ask(chat, switch, "run-1/1") is RefusalCode.KEEPER_SILENT
    assert "keeper_back" not in [signal for _, signal, _ in rollouts.heard]

    async with running_keeper(table, state_dir, rollouts):
        await _asked_until_done(chat, rollouts, switch, "keeper_back", RefusalCode.KEEPER_SILENT)

    assert (await chat.row()).live_set == green
