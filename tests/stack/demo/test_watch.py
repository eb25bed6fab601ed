"""What the demonstration reads of its deployment, from a real database."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from celadon.domain.messages import RolloutRequest
from celadon.domain.policy import BlueGreenPolicy
from celadon.domain.revision import Revision
from celadon.domain.states import RolloutPhase, RouteHealthStatus, RouteSetState, RouteStatus
from celadon.domain.steps import BeginStep, Begun, Step
from celadon.stack.demo.watch import blue_gone_at, view_deployment
from celadon.stack.postgres import create_database, drop_database
from celadon.table.begin import begin
from celadon.table.engine import Table
from celadon.table.migrate import upgrade
from celadon.table.models import Route
from celadon.table.route_sets import open_green


@pytest.fixture
async def table(postgres_url: str) -> AsyncIterator[Table]:
    """Return a migrated database of its own."""
    name = f"watch_{uuid.uuid4().hex}"
    url = await create_database(postgres_url, name)
    await upgrade(url)
    async with Table(url, "tests") as made:
        yield made
    await drop_database(postgres_url, name)


async def begin_rollout(table: Table) -> Begun:
    request = RolloutRequest(
        deployment="chat",
        replicas=1,
        revision=Revision(command=("serve",)),
        policy=BlueGreenPolicy(bake=timedelta(seconds=7)),
    )
    step = BeginStep(request=request, workflow_id="rollout-chat", run_id="run-1", at=datetime.now(UTC))
    async with table.transaction() as tx:
        return await begin(tx, step)


async def test_a_deployment_that_does_not_exist_has_no_view(table: Table) -> None:
    async with table.transaction() as tx:
        assert await view_deployment(tx, "chat") is None


async def test_a_rollout_that_has_just_begun_is_seen_without_sets(table: Table) -> None:
    await begin_rollout(table)
    async with table.transaction() as tx:
        view = await view_deployment(tx, "chat")
    assert view is not None
    assert view.sets == ()
    assert view.rollout is not None
    assert (view.rollout.run_id, view.rollout.phase) == ("run-1", RolloutPhase.PROVISIONING)
    assert view.rollout.bake == timedelta(seconds=7)
    assert not view.rollout.switched


async def test_green_is_seen_with_its_replicas(table: Table) -> None:
    begun = await begin_rollout(table)
    async with table.transaction() as tx:
        opened = await open_green(tx, Step(deployment="chat", rollout=begun.rollout))
        tx.add(
            Route(
                id=str(uuid.uuid4()),
                set_id=opened.route_set,
                host="127.0.0.1",
                port=15001,
                status=RouteStatus.RUNNING,
                health=RouteHealthStatus.NOT_CHECKED,
            ),
        )
    async with table.transaction() as tx:
        view = await view_deployment(tx, "chat")
    assert view is not None
    (green,) = view.sets
    assert (green.route_set, green.is_green, green.is_live) == (opened.route_set, True, False)
    assert green.state is RouteSetState.OPEN
    assert [(replica.port, replica.health) for replica in green.replicas] == [(15001, RouteHealthStatus.NOT_CHECKED)]


async def test_a_first_rollout_has_no_blue_that_could_be_gone(table: Table) -> None:
    begun = await begin_rollout(table)
    async with table.transaction() as tx:
        assert await blue_gone_at(tx, begun.rollout) is None
