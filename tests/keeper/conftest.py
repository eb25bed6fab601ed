"""Keepers on a real table with real processes, none of which outlives its test."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.keeper import lease
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.settings import LocalSettings
from celadon.table.core import fences
from celadon.table.core.engine import Table
from tests.keeper.rollouts import Deploying
from tests.keeper.routers import Router
from tests.keeper.running import Rollouts, Running, running_keeper

LONG = timedelta(hours=1)


@pytest_asyncio.fixture(loop_scope="session")
async def state_dir(tmp_path: Path) -> AsyncIterator[Path]:
    """Return a state directory whose replicas end with the test."""
    directory = tmp_path / "state"
    yield directory
    rest = LocalProvisioner(LocalSettings(state_dir=directory))
    await asyncio.gather(*(rest.end_stray(route) for route in await rest.remembered()))


@pytest.fixture(autouse=True)
def leases_last_long(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no keeper of this process lose its lease because the machine stood still.

    Not where a test waits for a lease to expire, and is marked with ``leases_expire``.
    """
    if request.node.get_closest_marker("leases_expire") is None:
        monkeypatch.setattr(fences, "KEEPER_LEASE", LONG)
        monkeypatch.setattr(lease, "KEEPER_LEASE", LONG)
        # One that is not given back does not expire either.
        monkeypatch.setattr(lease, "RELEASE_WITHIN", LONG)


@pytest.fixture
def rollouts() -> Rollouts:
    return Rollouts()


@pytest.fixture
def chat(table: Table) -> Deploying:
    """Return a deployment of which the table knows nothing yet."""
    return Deploying(table, f"chat-{uuid.uuid4().hex[:8]}")


@pytest_asyncio.fixture(loop_scope="session")
async def keeper(table: Table, state_dir: Path, rollouts: Rollouts) -> AsyncIterator[Running]:
    """Run a keeper."""
    async with running_keeper(table, state_dir, rollouts) as running:
        yield running


@pytest.fixture
def east(table: Table, chat: Deploying) -> Router:
    """Return a router that has not connected yet."""
    return Router(table, chat, "east")


@pytest.fixture
def west(table: Table, chat: Deploying) -> Router:
    """Return another router that has not connected yet."""
    return Router(table, chat, "west")
