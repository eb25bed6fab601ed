"""Notifications of a whole stack: a rollout ends as without them, and nothing is lost with a worker."""

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.notification import TargetKind
from celadon.domain.language.states import RolloutOutcome
from celadon.domain.language.targets import TargetRequest
from celadon.stack.addresses import StackAddresses
from celadon.table.notifications.deliveries import read_told
from celadon.table.notifications.targets import add_target, remove_target
from tests.end_to_end.conftest import LiveDeployment, run_json, until
from tests.notifications.receiver import Receiver, running_receiver

pytestmark = pytest.mark.stack

NOBODY = "http://127.0.0.1:1/hook"


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as running:
        yield running


async def _add(deployment: LiveDeployment, name: str, url: str) -> None:
    # Messages for Slack need no secret, which the stack's workers would have to be told of.
    target = TargetRequest(name=name, kind=TargetKind.SLACK, url=url, allow_plain_url=True)
    async with deployment.table.transaction() as tx:
        await add_target(tx, target, "ann")


async def test_a_rollout_under_a_dead_target_and_a_dead_worker_ends_as_without(
    stack: StackAddresses,
    deployment: LiveDeployment,
    receiver: Receiver,
) -> None:
    dead, alive = f"{deployment.name}-dead", f"{deployment.name}-alive"
    await _add(deployment, dead, NOBODY)
    await _add(deployment, alive, receiver.url)
    notify = [{"target": dead}, {"target": alive}]
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2", bake="0s", notify=notify)
    # The receiver answers nothing while its worker dies in the middle of the delivery.
    receiver.hangs = True
    await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann", reason="looks good"))
    before = StackAddresses.of_running(stack.data_dir).children["worker"]
    os.kill(before, signal.SIGKILL)
    receiver.hangs = False

    ended = await deployment.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED

    async def all_told() -> bool:
        async with deployment.table.transaction() as tx:
            told = await read_told(tx, deployment.name, limit=100)
        states = [(one.kind, one.state.value) for one in told if one.target == alive]
        return [kind for kind, _ in states] == [
            "completed",
            "switched",
            "promoted",
            "waiting_for_promotion",
            "verified",
            "started",
        ] and {state for _, state in states} == {"delivered"}

    await until(all_told, "the living target was told of everything")
    texts = [one.content["text"] for one in receiver.received]
    assert any("promoted by ann (cli): looks good" in text for text in texts)
    history = await run_json(stack, "celadon", "rollout", "history", deployment.name, "-o", "json")
    of_dead = [one for one in history["notified"] if one["target"] == dead]
    assert {one["state"] for one in of_dead} == {"waiting"}
    assert "cannot be reached" in of_dead[-1]["last_error"]

    async with deployment.table.transaction() as tx:
        for name in (dead, alive):
            await remove_target(tx, name, force=True)
