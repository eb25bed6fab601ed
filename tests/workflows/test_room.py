"""A rollout for whose green there is no room: it waits before green is opened, says why, and costs nothing."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from temporalio.client import Client

from celadon.domain.language import contracts
from celadon.domain.language.messages import RoomChanged
from celadon.domain.language.names import RolloutId
from celadon.domain.language.states import RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import GreenOpened, PhaseStep
from tests.workflows.conftest import GREEN, ROLLOUT
from tests.workflows.resets import reset_to_task
from tests.workflows.test_pausing import pause

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

WAITS = {"max_total_replicas": 6, "on_no_room": "wait"}
WHY = "no room for 3 more replicas of chat: its sets have 5, and max_total_replicas is 6"
NO_ROOM = GreenOpened(wanted=3, no_room=WHY)
OPENED = GreenOpened(route_set=GREEN, wanted=3)


async def tell_of_room(rollout: "RunningRollout", of: RolloutId = ROLLOUT) -> None:
    await rollout.handle.signal(contracts.ROOM_CHANGED, RoomChanged(rollout=of, used=3, bound=6))


def openings(rollout: "RunningRollout") -> int:
    return rollout.script.names().count("provision_green")


async def test_no_room_it_waits_and_goes_on_when_the_room_appears(rollout: "RunningRollout") -> None:
    rollout.script.open = [NO_ROOM, OPENED]
    await rollout.start(**WAITS, auto_promote=True, bake="1m")

    status = await rollout.until_status(lambda status: bool(status.holding))
    assert (status.phase, status.timers) == (RolloutPhase.PROVISIONING, ())
    assert WHY in status.holding
    assert "green is opened as soon as there is room" in status.holding
    assert "wait for room, or make some: celadon deployment scale" in status.next_step
    await rollout.until_nothing_is_in_flight()
    assert "held" in rollout.script.notes()
    assert [step.phase for step in rollout.script.inputs("enter_phase")] == [RolloutPhase.PROVISIONING]

    await tell_of_room(rollout)
    await rollout.until(lambda: openings(rollout) == 2)
    await rollout.until_status(lambda status: not status.holding)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.BAKING)
    await rollout.skip(timedelta(minutes=2))
    assert (await rollout.ended()).result is not None
    await rollout.record("waited-for-room")


async def test_waiting_for_room_writes_nothing_and_asks_for_nothing(rollout: "RunningRollout") -> None:
    rollout.script.open = [NO_ROOM, OPENED]
    await rollout.start(**WAITS)
    await rollout.until_status(lambda status: bool(status.holding))
    before = await rollout.events()

    await rollout.skip(timedelta(days=4))

    assert await rollout.events() - before <= 2
    assert openings(rollout) == 1


async def test_a_pause_ends_in_time_while_it_waits_for_room(rollout: "RunningRollout", client: Client) -> None:
    rollout.script.open = [NO_ROOM, OPENED]
    await rollout.start(**WAITS)
    await rollout.until_status(lambda status: bool(status.holding))
    await pause(rollout, client, until=(datetime.now(UTC) + timedelta(hours=2)).isoformat())
    assert [timer.name for timer in (await rollout.status()).timers] == ["pause"]

    await rollout.skip(timedelta(hours=2, minutes=1))

    status = await rollout.until_status(lambda status: status.paused_since is None)
    assert WHY in status.holding
    assert "paused" not in status.holding
    await tell_of_room(rollout)
    await rollout.until(lambda: openings(rollout) == 2)
    assert "resumed" in rollout.script.notes()
    await rollout.abort(by="ann")
    await rollout.ended()
    await rollout.record("paused-without-room")


async def test_the_deadline_counts_from_the_opening_of_green(rollout: "RunningRollout") -> None:
    rollout.script.open = [NO_ROOM, OPENED]
    await rollout.start(**WAITS, provisioning_deadline="10m")
    await rollout.until_status(lambda status: bool(status.holding))
    await rollout.skip(timedelta(hours=3))
    assert (await rollout.status()).phase is RolloutPhase.PROVISIONING

    await tell_of_room(rollout)

    status = await rollout.until_status(lambda status: bool(status.timers))
    assert [timer.name for timer in status.timers] == ["provisioning deadline"]
    assert status.timers[0].remaining > timedelta(minutes=9)


async def test_room_of_another_rollout_changes_nothing(rollout: "RunningRollout") -> None:
    rollout.script.open = [NO_ROOM, OPENED]
    await rollout.start(**WAITS)
    await rollout.until_status(lambda status: bool(status.holding))

    await tell_of_room(rollout, RolloutId(99))
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED")

    assert (await rollout.status()).holding
    assert openings(rollout) == 1


async def test_room_that_is_told_before_the_answer_is_not_missed(rollout: "RunningRollout") -> None:
    rollout.script.open = [NO_ROOM, OPENED]
    opening = rollout.script.hold("provision_green")
    await rollout.start(**WAITS)
    await tell_of_room(rollout)
    await rollout.until_event("WORKFLOW_EXECUTION_SIGNALED")
    opening.set()

    await rollout.until(lambda: openings(rollout) == 2)


async def test_there_may_be_no_room_again(rollout: "RunningRollout") -> None:
    rollout.script.open = [NO_ROOM, NO_ROOM, OPENED]
    await rollout.start(**WAITS)
    first = await rollout.until_status(lambda status: bool(status.holding))
    await tell_of_room(rollout)
    await rollout.until(lambda: openings(rollout) == 2)

    again = await rollout.until_status(lambda status: bool(status.holding))
    assert again.holding == first.holding
    await tell_of_room(rollout)
    await rollout.until(lambda: openings(rollout) == 3)


async def test_an_abort_while_it_waits_ends_it_without_a_green(rollout: "RunningRollout") -> None:
    rollout.script.open = [NO_ROOM]
    await rollout.start(**WAITS)
    await rollout.until_status(lambda status: bool(status.holding))

    await rollout.abort(by="ben", reason="later")

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED
    assert "drain" not in rollout.script.names()


async def test_it_goes_on_waiting_in_a_new_run(rollout: "RunningRollout") -> None:
    rollout.script.open = [NO_ROOM, OPENED]
    await rollout.start(**WAITS)
    await rollout.until_status(lambda status: bool(status.holding))
    first = (await rollout.handle.describe()).run_id

    await rollout.skip(timedelta(days=16))

    assert (await rollout.handle.describe()).run_id != first
    assert (await rollout.status()).holding
    await tell_of_room(rollout)
    await rollout.until(lambda: openings(rollout) == 2)
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)


async def test_a_reset_asks_for_room_anew(rollout: "RunningRollout", client: Client) -> None:
    rollout.script.open = [NO_ROOM, OPENED]
    await rollout.start(**WAITS)
    await rollout.until_status(lambda status: bool(status.holding))
    await rollout.until_nothing_is_in_flight()

    await reset_to_task(client, contracts.workflow_id(rollout.deployment))

    await rollout.until(lambda: openings(rollout) == 2)


async def test_a_rollout_without_a_bound_asks_for_nothing_more(rollout: "RunningRollout") -> None:
    await rollout.start()
    await rollout.edge(SetCondition.READY)
    await rollout.phase(RolloutPhase.AWAITING_PROMOTION)
    await rollout.until_nothing_is_in_flight()

    phases = [step.phase for step in rollout.script.inputs("enter_phase") if isinstance(step, PhaseStep)]
    assert phases == [RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION]
    assert openings(rollout) == 1
