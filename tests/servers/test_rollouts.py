"""Each model server goes through a rollout and back under a steady load, with the deployment file of its page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from temporalio.client import Client as TemporalClient
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.client.rollouts import RolloutClient
from celadon.domain.language.states import RolloutOutcome
from celadon.stack.access import signer_of
from celadon.stack.addresses import StackAddresses
from tests.servers.clients import ASKS, Client
from tests.servers.environments import deployment_name, servers, working_directory
from tests.servers.operating import DEADLINE_SECONDS, Operator
from tests.servers.steady_load import SteadyLoad

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3000)]

SOME: Final = 20
"""Answers of each kind that are waited for in each part of a rollout."""
HUNG_SECONDS: Final = 5.0
"""A request that takes so much longer than others has waited for a server that could not answer yet: the models take
ten seconds to load."""


@asynccontextmanager
async def operating(server: str, stack: StackAddresses, directory: Path) -> AsyncIterator[Operator]:
    """Return an operator of a server that is not deployed yet; delete the deployment when the block ends."""
    files = working_directory(server, directory)
    temporal = await TemporalClient.connect(stack.temporal_address, data_converter=pydantic_data_converter)
    operator = Operator(deployment_name(files), stack, RolloutClient(temporal, signer_of(stack)), files)
    try:
        yield operator
    finally:
        await operator.delete()


async def until_answered(load: SteadyLoad, revision: str, more: int = SOME) -> None:
    """Wait until a revision has answered so many more requests of each kind."""
    wanted = {kind: load.answered(kind, revision) + more for kind in load.asks}
    async with asyncio.timeout(DEADLINE_SECONDS):
        while any(load.answered(kind, revision) < count for kind, count in wanted.items()):
            assert load.lost() == []
            await asyncio.sleep(0.2)


@asynccontextmanager
async def live_under_load(
    server: str, stack: StackAddresses, directory: Path
) -> AsyncIterator[tuple[Operator, SteadyLoad]]:
    """Let revision 1 of a server go live, and send requests from then on until the block ends."""
    async with AsyncExitStack() as stays:
        operator = await stays.enter_async_context(operating(server, stack, directory))
        session = await stays.enter_async_context(aiohttp.ClientSession())
        client = Client(operator.name, stack, session)
        stays.push_async_callback(client.close)
        await operator.deploy("r1", "--wait")
        load = await stays.enter_async_context(SteadyLoad(ASKS[server](client)).running())
        await until_answered(load, "r1")
        yield operator, load


async def switch_as_soon_as_possible(operator: Operator, load: SteadyLoad, *options: str) -> None:
    """Roll out revision 2, promote it the moment that it is verified, and let it answer."""
    await operator.deploy("r2", *options)
    await operator.until_green_is_verified()
    assert {record.revision for record in load.records} == {"r1"}
    await operator.promote()
    await until_answered(load, "r2")


@pytest.mark.parametrize("server", servers())
async def test_a_server_is_switched_and_switched_back_without_a_lost_or_hung_request(
    server: str, stack: StackAddresses, tmp_path: Path
) -> None:
    async with live_under_load(server, stack, tmp_path) as (operator, load):
        await switch_as_soon_as_possible(operator, load)
        await operator.roll_back()
        await until_answered(load, "r1")
        outcome = await operator.outcome()

    print(f"{server}: {load.summary()}")  # noqa: T201 - for whoever runs them by hand
    assert outcome is RolloutOutcome.ROLLED_BACK
    assert load.lost() == []
    assert len(load.records) == load.sent
    assert {kind: load.revisions(kind) for kind in load.asks} == {kind: {"r1", "r2"} for kind in load.asks}
    assert load.hung(HUNG_SECONDS) == []


async def test_a_server_that_listens_too_early_keeps_requests_waiting_behind_a_probe_of_its_port(
    stack: StackAddresses, tmp_path: Path
) -> None:
    """Why BentoML has a preset; and a request that hangs is seen as one."""
    async with live_under_load("bentoml", stack, tmp_path) as (operator, load):
        await switch_as_soon_as_possible(operator, load, "--set", "revision.health_check={tcp: true}")

    assert load.hung(HUNG_SECONDS) != []
