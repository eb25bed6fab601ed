"""Secrets of replicas, as far as the keeper sees them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from celadon.domain.language.states import RouteStatus
from celadon.table.core.engine import Table
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, Running, running_keeper
from tests.provisioners.programs import script, server


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "secrets"
    directory.mkdir()
    return directory


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def keeper_with_secrets(table: Table, state_dir: Path, secrets_dir: Path) -> AsyncIterator[Running]:
    async with running_keeper(table, state_dir, Rollouts(), secrets_dir=secrets_dir) as running:
        yield running


async def test_a_missing_secret_fails_to_start(chat: Deploying) -> None:
    revision = {"command": server(), "env": {"TOKEN": {"secret": "hub-token"}}}
    await chat.open(revision, replicas=1, max_replacements=0)
    [route] = await chat.ended(1)
    assert route.status is RouteStatus.FAILED_TO_START
    assert route.last_error.startswith("secret 'hub-token' is missing: ")


async def test_a_secret_that_a_replica_prints_is_in_no_table(chat: Deploying, secrets_dir: Path) -> None:
    (secrets_dir / "hub-token").write_text("hf_abcdefgh")
    command = script("import os, sys; sys.exit('bad token ' + os.environ['TOKEN'])")
    await chat.open({"command": command, "env": {"TOKEN": {"secret": "hub-token"}}}, replicas=1, max_replacements=0)
    [route] = await chat.ended(1)
    assert route.output == "bad token [secret hub-token]"
