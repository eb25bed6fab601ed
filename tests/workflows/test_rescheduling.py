"""A rollout that waits gets other timers, and goes by them: while it is paused too, and in its later runs."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from temporalio.client import Client

from celadon.client.rollouts import RolloutClient
from celadon.domain.decisions.reschedule import rescheduled_policy
from celadon.domain.language import contracts
from celadon.domain.language.commands import JudgedAnswer, RescheduleCommand
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Judged
from tests.workflows.conftest import FOR_EVER
from tests.workflows.test_pausing import pause, resume

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


async def reschedule(rollout: "RunningRollout", client: Client, **command: object) -> JudgedAnswer:
    """Ask for other timers, and let the table answer as it does when they count."""
    asked = parse_payload(RescheduleCommand, FOR_EVER | {"by": "ann", "reason": "ben looks"} | command)
    known = (await rollout.status()).policy or resolve_policy()
    rollout.script.judge = [
        Judged(refusals=(None,), policy=rescheduled_policy(known, asked)),
        Judged(refusals=(None,)),
    ]
    return await RolloutClient(client).ask(rollout.deployment, contracts.RESCHEDULE, asked)


async def test_reschedule_while_waiting_moves_the_timer(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    await rollout.skip(timedelta(minutes=30))

    answer = await reschedule(rollout, client, promote_after="3h")

    status = await rollout.status()
    assert [(timer.name, timer.fires_at) for timer in status.timers] == [("automatic promotion", answer.promotes_at)]
    assert status.timers_set is not None
    assert (status.timers_set.by, status.timers_set.reason) == ("ann", "ben looks")
    await rollout.skip(timedelta(hours=2))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.skip(timedelta(minutes=31))
    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.notes().count("reschedule_requested") == 1
    await rollout.record("rescheduled")


async def test_a_delay_that_is_over_with_the_new_timers_promotes_at_once(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="10h")
    await rollout.skip(timedelta(hours=2))

    await reschedule(rollout, client, promote_after="1h")

    await rollout.phase(RolloutPhase.BAKING)


async def test_a_timer_that_is_switched_off_promotes_nothing(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")

    answer = await reschedule(rollout, client, auto_promote=False)
    await rollout.skip(timedelta(days=2))

    assert answer.promotes_at is None
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION


async def test_reschedule_while_paused_counts_once_it_is_resumed(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    await pause(rollout, client)

    answer = await reschedule(rollout, client, promote_after="30m")
    assert answer.paused_since is not None
    await rollout.skip(timedelta(hours=5))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION

    await resume(rollout, client)
    await rollout.skip(timedelta(minutes=31))
    await rollout.phase(RolloutPhase.BAKING)


async def test_new_timers_while_green_is_verified_count_from_then_on(rollout: "RunningRollout", client: Client) -> None:
    await rollout.start()
    await reschedule(rollout, client, auto_promote=True, promote_after="1h")

    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    await rollout.skip(timedelta(minutes=61))

    await rollout.phase(RolloutPhase.BAKING)


async def test_new_timers_outlive_a_continue_as_new(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion()
    before = (await rollout.handle.describe()).run_id

    await reschedule(rollout, client, auto_promote=True, promote_after="20d")
    await rollout.skip(timedelta(days=15))

    status = await rollout.status()
    assert (await rollout.handle.describe()).run_id != before
    assert status.policy is not None
    assert status.policy.promote_after == timedelta(days=20)
    assert status.timers_set is not None
    await rollout.skip(timedelta(days=6))
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED


async def test_new_timers_that_do_not_count_change_nothing(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="10h")
    refusal = Refusal(code=RefusalCode.FORBIDDEN, message="the sender has no right to promote chat", next_step="ask")
    known = resolve_policy(BlueGreenPolicy(auto_promote=True, promote_after=timedelta(hours=10)))
    rollout.script.judge = [Judged(refusals=(refusal,), policy=known)]
    asked = parse_payload(RescheduleCommand, FOR_EVER | {"promote_after": "0s"})

    with pytest.raises(RefusedError) as refused:
        await RolloutClient(client).ask(rollout.deployment, contracts.RESCHEDULE, asked)

    assert refused.value.refusal == refusal
    status = await rollout.status()
    assert status.timers_set is None
    assert status.phase is RolloutPhase.AWAITING_PROMOTION


async def test_a_run_that_was_reset_hears_of_the_timers_that_counted_before(
    rollout: "RunningRollout",
) -> None:
    """The table refuses the message as spent in the new run, and tells the policy that the rollout has."""
    await rollout.wait_for_promotion()
    spent = Refusal(code=RefusalCode.REQUEST_SPENT, message="the reschedule counted before")
    known = resolve_policy(BlueGreenPolicy(auto_promote=True, promote_after=timedelta(hours=1)))
    rollout.script.judge = [Judged(refusals=(spent,), policy=known)]

    await rollout.handle.signal(contracts.RESCHEDULE, {"auto_promote": True, "promote_after": "1h"})

    await rollout.until_status(lambda status: status.policy == known)
    await rollout.skip(timedelta(minutes=61))
    await rollout.phase(RolloutPhase.BAKING)


async def test_a_moment_by_signal(rollout: "RunningRollout", client: Client) -> None:
    del client
    await rollout.wait_for_promotion()
    at = datetime.now(UTC) + timedelta(hours=5)
    asked = parse_payload(RescheduleCommand, {"auto_promote": True, "promote_at": at.isoformat()})
    known = (await rollout.status()).policy
    assert known is not None
    rollout.script.judge = [Judged(refusals=(None,), policy=rescheduled_policy(known, asked))]

    await rollout.handle.signal(contracts.RESCHEDULE, {"auto_promote": True, "promote_at": at.isoformat()})

    status = await rollout.until_status(lambda status: bool(status.timers))
    assert [timer.fires_at for timer in status.timers] == [at]


@pytest.mark.parametrize("payload", [None, {}, {"promote_after": "soon"}, {"bake": "1h"}, {"promote_after": "2h"}])
async def test_a_signal_that_changes_no_timer_is_refused_and_shown(rollout: "RunningRollout", payload: object) -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal(contracts.RESCHEDULE, payload)

    status = await rollout.until_status(lambda status: bool(status.refused))
    assert status.refused[-1].message == "reschedule"
    assert "judge" not in rollout.script.names()


async def test_timers_are_not_changed_after_the_switch(rollout: "RunningRollout", client: Client) -> None:
    await rollout.bake(bake="1h")

    with pytest.raises(RefusedError) as refused:
        await reschedule(rollout, client, auto_promote=True)

    assert refused.value.refusal.code is RefusalCode.NOTHING_TO_RESCHEDULE
