"""What streams follow, read step by step."""

import pytest
from temporalio.testing import WorkflowEnvironment

from celadon.api.topics import DeploymentTopic
from celadon.client.rollouts import RolloutClient
from celadon.table.core.unfinished_rollouts import read_unfinished_rollouts
from celadon.table.read.event_order import Place
from celadon.table.replicas.abandoned_rollouts import abandon_rollout
from tests.table.rows import Rows

GONE = "a keeper ends this rollout, whose workflow is gone"


@pytest.fixture
def topic(temporal_env: WorkflowEnvironment) -> DeploymentTopic:
    """Follow a deployment of whose rollouts no workflow runs."""
    return DeploymentTopic(Place(0, 0), "chat", RolloutClient(temporal_env.client))


async def read(topic: DeploymentTopic, rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        await topic.read(tx)


async def end_rollout(rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        [left] = await read_unfinished_rollouts(tx)
        assert await abandon_rollout(tx, rows.fence, left, "terminated")


async def test_a_rollout_that_ends_while_its_workflow_is_asked_for_is_never_said_to_be_left(
    topic: DeploymentTopic, rows: Rows
) -> None:
    await rows.ready()
    await read(topic, rows)

    await end_rollout(rows)
    assert await topic.ask()
    assert topic.state == ""
    await read(topic, rows)
    assert not await topic.ask()

    assert GONE not in topic.state
    assert '"outcome":"failed"' in topic.state


async def test_a_rollout_that_no_workflow_carries_on_is_said_to_be_left(topic: DeploymentTopic, rows: Rows) -> None:
    await rows.ready()

    await read(topic, rows)
    assert await topic.ask()
    await read(topic, rows)
    assert not await topic.ask()

    assert GONE in topic.state
