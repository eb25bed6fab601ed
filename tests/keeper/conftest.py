"""Keepers on a real table with real processes, none of which outlives its test."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.keeper.times import USUAL_TIMES, KeeperTimes
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.settings import LocalSettings
from celadon.table.core.engine import Table
from tests.keeper.rollouts import Deploying
from tests.keeper.routers import Router
from tests.keeper.running import Rollouts, Running, running_keeper


@pytest_asyncio.fixture(loop_scope="session")
async def state_dir(tmp_path: Path) -> AsyncIterator[Path]:
    """Return a state directory whose replicas end with the test."""
    directory = tmp_path / "state"
    yield directory
    rest = LocalProvisioner(LocalSettings(state_dir=directory))
    await asyncio.gather(*(rest.end_stray(route) for route in await rest.remembered()))


@pytest.fixture
def rollouts() -> Rollouts:
    return Rollouts()


@pytest.fixture
def chat(table: Table) -> Deploying:
    """Return a deployment of which the table knows nothing yet."""
    return Deploying(table, f"chat-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def keeper_times() -> KeeperTimes:
    """Return the times of the keeper; a test says by a parameter of this name that it wants others."""
    return USUAL_TIMES


@pytest_asyncio.fixture(loop_scope="session")
async def keeper(
    table: Table, state_dir: Path, rollouts: Rollouts, keeper_times: KeeperTimes
) -> AsyncIterator[Running]:
    """Run a keeper."""
    async with running_keeper(table, state_dir, rollouts, times=keeper_times) as running:
        yield running


@pytest.fixture
def east(table: Table, chat: Deploying) -> Router:
    """Return a router that has not connected yet."""
    return Router(table, chat, "east")


@pytest.fixture
def west(table: Table, chat: Deploying) -> Router:
    """Return another router that has not connected yet."""
    return Router(table, chat, "west")
