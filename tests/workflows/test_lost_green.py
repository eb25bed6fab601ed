"""A live green without a healthy replica during the bake: the rollout goes back by itself, unless green is back."""

from datetime import timedelta
from typing import TYPE_CHECKING

from celadon.domain.language import contracts
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.messages import BlueChanged
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import Judged, PendingAsker, SwitchAnswer
from tests.workflows.conftest import BLUE, GREEN, ROLLOUT

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

BACK = SwitchAnswer(epoch=Epoch(6))
SICK = SwitchAnswer(
    refusal=Refusal(code=RefusalCode.NO_HEALTHY_BLUE, message="blue cannot take the traffic for the moment"),
)
DRAINED = SwitchAnswer(refusal=Refusal(code=RefusalCode.BLUE_DRAINED, message="blue has drained"))


async def _loses_green(rollout: "RunningRollout") -> None:
    await rollout.edge(SetCondition.RUNNING, ready=0, lost=True, last_error="exit code 137")
    await rollout.until_status(lambda status: "no replica of green is healthy" in status.holding)


async def _regains_green(rollout: "RunningRollout") -> None:
    await rollout.edge(SetCondition.READY)
    await rollout.until_status(lambda status: "no replica of green is healthy" not in status.holding)


async def _outcome(rollout: "RunningRollout") -> RolloutOutcome | None:
    result = (await rollout.ended()).result
    return None if result is None else result.outcome


def _drained(rollout: "RunningRollout") -> list[int]:
    return [step.route_set for step in rollout.script.inputs("drain")]


async def test_a_rollout_goes_back_by_itself_whose_green_stays_lost(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [BACK]
    await rollout.bake(bake="1h")
    await _loses_green(rollout)

    await rollout.skip(timedelta(seconds=12))

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK
    [step] = rollout.script.inputs("switch_back")
    assert (step.by, step.door, step.message) == ("policy", Channel.POLICY, None)
    assert step.reason == "green has had no healthy replica for 10s"
    assert _drained(rollout) == [GREEN]
    await rollout.record("rolled-back-because-green-was-lost")


async def test_the_status_says_that_green_is_lost_and_when_the_rollout_goes_back(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="1h", failover_rollback="5m")
    await _loses_green(rollout)

    status = await rollout.status()

    [timer] = status.timers
    assert (timer.name, timedelta(minutes=4) < timer.remaining <= timedelta(minutes=5)) == ("rollback", True)
    assert "blue takes the traffic, and the rollout goes back by itself at" in status.holding


async def test_a_green_that_is_back_in_time_bakes_on(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="5m", failover_rollback="1m")
    await _loses_green(rollout)
    await rollout.skip(timedelta(seconds=30))
    await _regains_green(rollout)

    await rollout.skip(timedelta(minutes=6))

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert "switch_back" not in rollout.script.names()


async def test_no_bake_ends_while_green_is_lost(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="5m", failover_rollback=None)
    await _loses_green(rollout)

    await rollout.skip(timedelta(days=2))

    assert (await rollout.status()).phase is RolloutPhase.BAKING
    assert _drained(rollout) == []
    await _regains_green(rollout)
    assert await _outcome(rollout) is RolloutOutcome.PROMOTED


async def test_a_person_finishes_the_bake_of_a_lost_green(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="1h", failover_rollback=None)
    await _loses_green(rollout)

    await rollout.handle.execute_update(contracts.FINISH, {"by": "ann"})

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert _drained(rollout) == [BLUE]


async def test_a_pause_does_not_keep_a_rollout_from_going_back(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [BACK]
    await rollout.bake(bake="1h")
    await rollout.handle.execute_update(contracts.PAUSE, {"by": "ben"})
    await _loses_green(rollout)

    await rollout.skip(timedelta(seconds=12))

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


async def test_the_wait_for_a_lost_green_outlasts_a_new_run(rollout: "RunningRollout") -> None:
    await rollout.bake(bake="1h", failover_rollback="30d")
    await _loses_green(rollout)
    first = (await rollout.handle.describe()).run_id

    await rollout.skip(timedelta(days=15))

    assert (await rollout.handle.describe()).run_id != first
    status = await rollout.status()
    assert "no replica of green is healthy" in status.holding
    assert [timer.name for timer in status.timers] == ["rollback"]


# A blue that is sick too.


async def test_it_goes_back_as_soon_as_blue_can_take_the_traffic(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, BACK]
    await rollout.bake(bake="1h")
    await _loses_green(rollout)
    await rollout.skip(timedelta(hours=3))
    assert rollout.script.names().count("switch_back") == 1

    await rollout.handle.signal(
        contracts.BLUE_CHANGED,
        BlueChanged(rollout=ROLLOUT, route_set=BLUE, seq=20, ready=3, required=1, wanted=3).model_dump(mode="json"),
    )

    assert await _outcome(rollout) is RolloutOutcome.ROLLED_BACK


async def test_a_green_that_is_back_first_is_kept(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK]
    await rollout.bake(bake="5m")
    await _loses_green(rollout)
    await rollout.skip(timedelta(seconds=12))
    await rollout.until_status(lambda status: "is pending since" in status.holding)

    await _regains_green(rollout)

    await rollout.until_status(lambda status: not status.holding)
    await rollout.skip(timedelta(minutes=6))
    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert rollout.script.names().count("switch_back") == 1
    await rollout.record("promoted-when-lost-green-was-back")


async def test_whoever_else_asked_to_go_back_still_waits_when_green_is_back(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [SICK, SICK]
    rollout.script.judge = [Judged(refusals=(), pending=PendingAsker(by="ann", door=Channel.CLI, reason="slow"))]
    await rollout.bake(bake="5m")
    await _loses_green(rollout)
    await rollout.skip(timedelta(seconds=12))
    await rollout.until_status(lambda status: "is pending since" in status.holding)

    await _regains_green(rollout)

    status = await rollout.until_status(lambda status: status.holding.startswith("an abort by ann"))
    assert status.phase is RolloutPhase.BAKING


async def test_it_asks_once_where_blue_is_gone(rollout: "RunningRollout") -> None:
    rollout.script.switch_back = [DRAINED]
    await rollout.bake(bake="1h")
    await _loses_green(rollout)

    await rollout.skip(timedelta(seconds=12))

    assert await _outcome(rollout) is RolloutOutcome.PROMOTED
    assert rollout.script.names().count("switch_back") == 1
