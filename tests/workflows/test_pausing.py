"""A rollout that is paused waits without any timer, in each phase that has one, and goes on with what remained."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from temporalio.client import Client

from celadon.client.rollouts import RolloutClient
from celadon.domain.language import contracts
from celadon.domain.language.commands import BakeCommand, PauseCommand
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.pause import Pause
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import AskedForEdge, Judged
from tests.workflows.conftest import FOR_EVER
from tests.workflows.resets import count_tasks, reset_to_task

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


async def pause(rollout: "RunningRollout", client: Client, **command: object) -> None:
    asked = parse_payload(PauseCommand, FOR_EVER | {"by": "ann", "reason": "latencies"} | command)
    await RolloutClient(client).ask(rollout.deployment, contracts.PAUSE, asked)


async def resume(rollout: "RunningRollout", client: Client, **command: object) -> None:
    asked = parse_payload(BakeCommand, FOR_EVER | {"by": "ben"} | command)
    await RolloutClient(client).ask(rollout.deployment, contracts.RESUME, asked)


async def pause_for_a_moment(rollout: "RunningRollout", client: Client) -> tuple[asyncio.Task[None], datetime]:
    """Pause with an end that is near, however slow the machine is; return the request and the end."""
    for seconds in (1, 4, 16):
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        asked = asyncio.create_task(pause(rollout, client, until=until.isoformat()))
        await rollout.until(lambda asked=asked: asked.done() or "judge" in rollout.script.names())  # type: ignore[misc]
        if "judge" in rollout.script.names():
            return asked, until
        assert isinstance(asked.exception(), RefusedError)
    raise AssertionError("the end had passed each time before the rollout heard of it")


async def test_the_delay_stands_still_while_the_rollout_is_paused(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    await rollout.skip(timedelta(minutes=20))

    await pause(rollout, client)
    status = await rollout.status()
    assert (status.timers, status.phase) == ((), RolloutPhase.AWAITING_PROMOTION)
    assert "by ann (latencies): all timers stand still until it is resumed" in status.holding
    await rollout.skip(timedelta(days=3))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION

    await resume(rollout, client)
    await rollout.skip(timedelta(minutes=38))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.skip(timedelta(minutes=4))
    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.notes().count("pause_requested") == 1
    await rollout.record("paused-and-resumed")


async def test_a_pause_ends_by_itself_when_it_was_given_an_end(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    await pause(rollout, client, until=(datetime.now(UTC) + timedelta(hours=10)).isoformat())

    await rollout.skip(timedelta(hours=9))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.skip(timedelta(hours=2) + timedelta(minutes=1))

    await rollout.phase(RolloutPhase.BAKING)
    assert "resumed" in rollout.script.notes()


@pytest.mark.parametrize("by", ["update", "signal"])
async def test_a_pause_whose_end_has_passed_is_refused(rollout: "RunningRollout", client: Client, by: str) -> None:
    await rollout.bake(bake="1h")
    since = (await rollout.status()).since

    if by == "update":
        with pytest.raises(RefusedError) as refused:
            await pause(rollout, client, until="2020-01-01T00:00:00Z")
        assert refused.value.refusal.code is RefusalCode.INVALID_PAYLOAD
    else:
        await rollout.handle.signal(contracts.PAUSE, {"by": "ann", "until": "2020-01-01T00:00:00Z"})
        status = await rollout.until_status(lambda status: bool(status.refused))
        assert "has passed" in status.refused[-1].refusal.message

    status = await rollout.status()
    assert (status.phase, status.paused_since) == (RolloutPhase.BAKING, None)
    assert [timer.fires_at - since for timer in status.timers] == [timedelta(hours=1)]
    assert "judge" not in rollout.script.names()


async def test_an_end_that_passes_while_the_table_judges_is_the_present(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.bake(bake="1h")
    since = (await rollout.status()).since
    judging = rollout.script.hold("judge")
    asked, until = await pause_for_a_moment(rollout, client)
    await rollout.until(lambda: datetime.now(UTC) > until + timedelta(milliseconds=100))
    judging.set()
    await asked

    status = await rollout.until_status(lambda status: status.paused_since is None and bool(status.timers))

    assert status.phase is RolloutPhase.BAKING
    assert all(timer.fires_at - since >= timedelta(hours=1) for timer in status.timers)


async def test_a_bake_that_begins_behind_the_end_of_a_pause_lasts_its_whole_time(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.wait_for_promotion(bake="1h")
    switching = rollout.script.hold("switch")
    asked, until = await pause_for_a_moment(rollout, client)
    await asked
    promoting = asyncio.create_task(rollout.promote(by="ben"))
    await rollout.until(lambda: "switch" in rollout.script.names())
    await rollout.until(lambda: datetime.now(UTC) > until + timedelta(milliseconds=100))
    switching.set()
    await promoting

    status = await rollout.until_status(lambda status: status.phase is RolloutPhase.BAKING and bool(status.timers))

    assert status.paused_since is None
    assert [timer.fires_at - status.since for timer in status.timers] == [timedelta(hours=1)]


async def test_a_person_promotes_a_paused_rollout_whose_bake_then_stands_still(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.wait_for_promotion(bake="5m")
    await pause(rollout, client)

    await rollout.promote()

    await rollout.phase(RolloutPhase.BAKING)
    await rollout.skip(timedelta(days=1))
    assert (await rollout.status()).phase is RolloutPhase.BAKING
    await resume(rollout, client)
    await rollout.skip(timedelta(minutes=6))
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED


async def test_a_green_that_starts_slowly_loses_no_time_to_a_pause(rollout: "RunningRollout", client: Client) -> None:
    await rollout.start(provisioning_deadline="10m")
    await rollout.edge(SetCondition.RUNNING)
    await rollout.phase(RolloutPhase.VERIFYING)
    await pause(rollout, client)

    await rollout.skip(timedelta(hours=5))
    assert (await rollout.status()).phase is RolloutPhase.VERIFYING
    await resume(rollout, client)
    await rollout.skip(timedelta(minutes=11))

    ended = await rollout.ended()
    assert "green was not healthy within 10m" in ended.failure


async def test_a_bare_signal_pauses_and_resumes(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")

    await rollout.handle.signal(contracts.PAUSE)
    await rollout.until_status(lambda status: status.paused_since is not None)
    await rollout.handle.signal(contracts.RESUME)

    await rollout.until_status(lambda status: status.paused_since is None)


SPENT = Refusal(code=RefusalCode.REQUEST_SPENT, message="the pause counted before", next_step="send it again")


async def reset_to_before_the_pause(rollout: "RunningRollout", client: Client) -> None:
    """Pause as a signed person does, and reset the run to before that; the table knows of the pause."""
    policy = (await rollout.status()).policy
    assert policy is not None
    await rollout.until_nothing_is_in_flight()
    tasks = await count_tasks(client, contracts.workflow_id(rollout.deployment))
    rollout.script.judge = [Judged(refusals=(None,)), Judged(refusals=(SPENT,)), Judged(refusals=(None,))]
    await pause(rollout, client)
    since = (await rollout.status()).paused_since
    assert since is not None
    known = Pause(by="ann", door=Channel.API, reason="latencies", since=since)
    rollout.script.edge = AskedForEdge(policy=policy, paused=known)
    await rollout.until_nothing_is_in_flight()
    await reset_to_task(client, contracts.workflow_id(rollout.deployment), task=tasks)
    await rollout.until(lambda: "ask_for_edge" in rollout.script.names())


async def take_up_the_pause(rollout: "RunningRollout", client: Client) -> None:
    """Let a rollout that is paused be reset to before that, and hear of the pause from the table."""
    await reset_to_before_the_pause(rollout, client)
    await rollout.until_nothing_is_in_flight()
    assert (await rollout.status()).paused_since is not None


async def test_a_signed_pause_outlives_a_reset_to_before_it(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")

    await take_up_the_pause(rollout, client)

    await rollout.skip(timedelta(hours=5))
    status = await rollout.status()
    assert (status.phase, status.timers) == (RolloutPhase.AWAITING_PROMOTION, ())
    assert "by ann (latencies): all timers stand still until it is resumed" in status.holding
    await resume(rollout, client)
    await rollout.skip(timedelta(minutes=50))
    assert (await rollout.status()).phase is RolloutPhase.AWAITING_PROMOTION
    await rollout.skip(timedelta(minutes=12))
    await rollout.phase(RolloutPhase.BAKING)


async def test_a_signed_pause_of_a_bake_outlives_a_reset_to_before_it(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.bake(bake="1h")

    await take_up_the_pause(rollout, client)

    await rollout.skip(timedelta(hours=5))
    status = await rollout.status()
    assert (status.phase, status.timers) == (RolloutPhase.BAKING, ())


async def test_each_new_end_of_a_pause_adds_one_line(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion()
    until = (datetime.now(UTC) + timedelta(hours=10)).isoformat()

    await pause(rollout, client)
    await pause(rollout, client)
    await pause(rollout, client, by="ben", until=until)
    await pause(rollout, client, by="cem", until=until)
    await resume(rollout, client)

    await rollout.until_nothing_is_in_flight()
    assert rollout.script.notes().count("pause_requested") == 2
    assert [dict(one) for one in rollout.script.evidence("pause_requested")] == [{}, {"until": until}]


async def test_a_pause_says_who_has_changed_its_end(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion()
    await pause(rollout, client, until=(datetime.now(UTC) + timedelta(hours=10)).isoformat())

    await pause(rollout, client, by="ben")

    assert "until it is resumed (as ben has set it): celadon resume" in (await rollout.status()).holding


async def test_an_abort_ends_a_paused_rollout(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion()
    await pause(rollout, client)

    await rollout.abort(by="ben")

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED


async def test_a_pause_that_does_not_count_stops_no_timer(rollout: "RunningRollout", client: Client) -> None:
    refusal = Refusal(code=RefusalCode.FORBIDDEN, message="the sender has no right to pause chat", next_step="ask")
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    rollout.script.judge = [Judged(refusals=(refusal,))]

    with pytest.raises(RefusedError) as refused:
        await pause(rollout, client)

    assert refused.value.refusal == refusal
    status = await rollout.status()
    assert status.paused_since is None
    assert [timer.name for timer in status.timers] == ["automatic promotion"]


async def test_who_resumes_while_the_pause_is_judged_ends_it(rollout: "RunningRollout", client: Client) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    judging = rollout.script.hold("judge")
    pausing = asyncio.create_task(pause(rollout, client))
    await rollout.until(lambda: "judge" in rollout.script.names())

    before = await rollout.history_length()
    resuming = asyncio.create_task(resume(rollout, client))
    await rollout.until_history_is_longer(than=before)
    judging.set()
    await asyncio.gather(pausing, resuming)

    status = await rollout.status()
    assert status.paused_since is None
    assert [timer.name for timer in status.timers] == ["automatic promotion"]
    assert rollout.script.notes()[-2:] == ["pause_requested", "resume_requested"]


async def test_signals_that_pause_and_resume_count_in_their_order(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    judging = rollout.script.hold("judge")

    for message in (contracts.PAUSE, contracts.RESUME):
        await rollout.handle.signal(message, {"by": "ann"})
    judging.set()

    status = await rollout.until_status(lambda status: len(rollout.script.inputs("judge")) > 0 and bool(status.timers))
    assert (status.paused_since, status.refused) == (None, ())


async def test_who_resumes_behind_a_pause_that_does_not_count_is_told_so(
    rollout: "RunningRollout", client: Client
) -> None:
    refusal = Refusal(code=RefusalCode.FORBIDDEN, message="the sender has no right to pause chat", next_step="ask")
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    rollout.script.judge = [Judged(refusals=(refusal,)), Judged(refusals=(None,))]
    judging = rollout.script.hold("judge")
    pausing = asyncio.create_task(pause(rollout, client))
    await rollout.until(lambda: "judge" in rollout.script.names())

    before = await rollout.history_length()
    resuming = asyncio.create_task(resume(rollout, client))
    await rollout.until_history_is_longer(than=before)
    judging.set()
    answers = await asyncio.gather(pausing, resuming, return_exceptions=True)

    assert [one.refusal.code for one in answers if isinstance(one, RefusedError)] == [
        RefusalCode.FORBIDDEN,
        RefusalCode.NOT_PAUSED,
    ]


async def test_who_resumes_while_a_reset_run_asks_for_its_pause_ends_it(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h")
    asking = rollout.script.hold("ask_for_edge")
    await reset_to_before_the_pause(rollout, client)

    before = await rollout.history_length()
    resuming = asyncio.create_task(resume(rollout, client))
    await rollout.until_history_is_longer(than=before)
    asking.set()
    await resuming

    status = await rollout.status()
    assert status.paused_since is None
    assert [timer.name for timer in status.timers] == ["automatic promotion"]


async def test_a_pause_that_comes_behind_the_end_of_the_bake_is_refused(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.bake(bake="1h")
    judging = rollout.script.hold("judge")
    await rollout.handle.signal(contracts.FINISH, {"by": "ben"})
    await rollout.until(lambda: "judge" in rollout.script.names())

    before = await rollout.history_length()
    asked = asyncio.create_task(pause(rollout, client))
    await rollout.until_history_is_longer(than=before)
    judging.set()

    with pytest.raises(RefusedError) as refused:
        await asked
    assert refused.value.refusal.code is RefusalCode.NOTHING_TO_PAUSE
    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED


async def test_there_is_nothing_to_pause_once_the_rollout_goes_back(rollout: "RunningRollout", client: Client) -> None:
    await rollout.bake(bake="0s")
    await rollout.until_status(lambda status: status.phase in {RolloutPhase.DRAINING, RolloutPhase.COMPLETED})

    with pytest.raises(RefusedError):
        await pause(rollout, client)


async def test_a_paused_rollout_stays_paused_when_it_goes_on_in_a_new_run(
    rollout: "RunningRollout", client: Client
) -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="20d")
    await pause(rollout, client)
    first = (await rollout.handle.describe()).run_id

    await rollout.skip(timedelta(days=16))

    assert (await rollout.handle.describe()).run_id != first
    status = await rollout.status()
    assert status.paused_since is not None
    assert status.timers == ()
