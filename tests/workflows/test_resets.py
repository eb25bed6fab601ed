"""A run that was reset to before a decision of a person, a freeze or a window goes by what the table knows."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio.client import Client

from celadon.client.rollouts import RolloutClient
from celadon.domain.language import contracts
from celadon.domain.language.commands import BakeCommand
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import RolloutPhase, SetCondition
from celadon.domain.language.steps import AskedForEdge, Judged
from tests.workflows.conftest import FOR_EVER
from tests.workflows.resets import count_tasks, reset_to_task
from tests.workflows.test_approvals import ONE, TWO
from tests.workflows.test_freezes import freezes, told
from tests.workflows.test_windows import in_hours, until_held

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

AWAITING = RolloutPhase.AWAITING_PROMOTION
SPENT = Refusal(code=RefusalCode.REQUEST_SPENT, message="the withdrawal counted before", next_step="send it again")


async def tasks_so_far(rollout: "RunningRollout", client: Client) -> int:
    """Let the rollout have one more task in which nothing changes, and count its tasks."""
    await rollout.until_nothing_is_in_flight()
    await rollout.edge(SetCondition.READY)
    await rollout.until_nothing_is_in_flight()
    return await count_tasks(client, contracts.workflow_id(rollout.deployment))


async def reset(rollout: "RunningRollout", client: Client, **to: Any) -> None:
    policy = (await rollout.status()).policy
    assert policy is not None
    rollout.script.edge = AskedForEdge(policy=policy)
    await rollout.until_nothing_is_in_flight()
    await reset_to_task(client, contracts.workflow_id(rollout.deployment), **to)
    await rollout.until(lambda: "ask_for_edge" in rollout.script.names())


async def test_a_withdrawal_that_counted_leaves_no_approval_after_a_reset_to_before_it(
    rollout: "RunningRollout", client: Client
) -> None:
    rollout.script.switch = [ONE]
    await rollout.wait_for_promotion(**TWO)
    await rollout.promote(by="ann")
    before = await tasks_so_far(rollout, client)
    rollout.script.judge = [
        Judged(refusals=(None,), approvals=()),
        Judged(refusals=(SPENT,), approvals=()),
    ]
    command = parse_payload(BakeCommand, FOR_EVER | {"by": "ann"})
    await RolloutClient(client).ask(rollout.deployment, contracts.WITHDRAW, command)

    await reset(rollout, client, task=before)

    await rollout.until(lambda: rollout.script.names().count("judge") == 2)
    status = await rollout.until_status(lambda status: bool(status.refused))
    assert (status.phase, status.approvals) == (AWAITING, 0)
    assert status.refused[-1].refusal.code is RefusalCode.REQUEST_SPENT


async def test_a_freeze_holds_timers_after_a_reset_to_before_it(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    since = (await rollout.status()).since
    before = await tasks_so_far(rollout, client)
    await told(rollout, freezes(since, (timedelta(0), None)))

    await reset(rollout, client, task=before)

    await rollout.until(lambda: rollout.script.names().count("read_freezes") >= 2)
    await rollout.until_status(lambda status: "until somebody ends it: celadon unfreeze" in status.holding)
    await rollout.skip(timedelta(hours=2))
    assert (await rollout.status()).phase is AWAITING
    assert "switch" not in rollout.script.names()


async def test_closed_windows_hold_a_timer_after_a_reset_to_before_it_was_due(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.wait_for_promotion(auto_promote=True, windows=[in_hours(5, 6)])
    await until_held(rollout)
    looked_up = rollout.script.names().count("look_up_windows")

    policy = (await rollout.status()).policy
    assert policy is not None
    rollout.script.edge = AskedForEdge(policy=policy)
    await reset_to_task(client, contracts.workflow_id(rollout.deployment), first=True)

    await rollout.until(lambda: rollout.script.names().count("look_up_windows") > looked_up)
    await until_held(rollout)
    assert "switch" not in rollout.script.names()
