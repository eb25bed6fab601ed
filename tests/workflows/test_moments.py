"""Moments that no calendar or no timer has: refused at each door, and never what a workflow's task fails by."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from celadon.domain.language import contracts
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.states import RolloutPhase

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

pytestmark = pytest.mark.parts

AFTER_THE_LAST = "9999-12-31T23:59:59-12:00"
BEFORE_THE_FIRST = "0001-01-01T00:00:00+12:00"
NEVER = (AFTER_THE_LAST, BEFORE_THE_FIRST)
MESSAGES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (contracts.PROMOTE, "valid_until", {}),
    (contracts.ABORT, "valid_until", {}),
    (contracts.FINISH, "valid_until", {}),
    (contracts.PAUSE, "until", {}),
    (contracts.RESCHEDULE, "promote_at", {"auto_promote": True}),
)
MESSAGE_NAMES = [name for name, _, _ in MESSAGES]


@pytest.mark.parametrize("moment", NEVER)
@pytest.mark.parametrize(("name", "key", "more"), MESSAGES, ids=MESSAGE_NAMES)
async def test_a_signal_with_a_moment_that_utc_does_not_have_is_refused(
    rollout: "RunningRollout", name: str, key: str, more: dict[str, Any], moment: str
) -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal(name, {key: moment} | more)

    status = await rollout.until_status(lambda status: status.refused_total == 1)
    assert status.phase is RolloutPhase.AWAITING_PROMOTION
    assert status.refused[-1].refusal.code is RefusalCode.INVALID_PAYLOAD
    assert f"{key}: a moment is between the years 1 and 9999" in status.refused[-1].refusal.message


@pytest.mark.parametrize("moment", NEVER)
@pytest.mark.parametrize(("name", "key", "more"), MESSAGES, ids=MESSAGE_NAMES)
async def test_an_update_with_a_moment_that_utc_does_not_have_is_refused(
    rollout: "RunningRollout", name: str, key: str, more: dict[str, Any], moment: str
) -> None:
    await rollout.wait_for_promotion()

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.handle.execute_update(name, {key: moment} | more)

    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == RefusalCode.INVALID_PAYLOAD


@pytest.mark.parametrize("moment", NEVER)
async def test_a_start_with_a_moment_that_utc_does_not_have_fails_at_once(
    rollout: "RunningRollout", moment: str
) -> None:
    handle = await rollout.start_with(
        {"deployment": rollout.deployment, "revision": 2, "policy": {"auto_promote": True, "promote_at": moment}}
    )

    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()

    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == RefusalCode.INVALID_PAYLOAD


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        (contracts.PAUSE, {"until": "9999-12-31T23:59:59Z"}),
        (contracts.RESCHEDULE, {"auto_promote": True, "promote_at": "9999-12-31T23:59:59Z"}),
    ],
)
async def test_a_moment_further_ahead_than_the_longest_duration_is_refused(
    rollout: "RunningRollout", name: str, payload: dict[str, Any]
) -> None:
    await rollout.wait_for_promotion()

    await rollout.handle.signal(name, payload)

    status = await rollout.until_status(lambda status: status.refused_total == 1)
    assert "more than 3650d from now" in status.refused[-1].refusal.message


async def test_a_pause_whose_end_has_passed_is_refused_and_takes_no_time_from_the_bake(
    rollout: "RunningRollout",
) -> None:
    await rollout.bake(bake="5h")
    before = await rollout.status()

    await rollout.handle.signal(contracts.PAUSE, {"until": "0001-01-01T00:00:00Z"})

    status = await rollout.until_status(lambda status: status.refused_total == 1)
    assert status.refused[-1].refusal.code is RefusalCode.INVALID_PAYLOAD
    assert [timer.fires_at for timer in status.timers] == [timer.fires_at for timer in before.timers]


async def test_the_status_tells_of_a_timer_longer_than_any_duration(rollout: "RunningRollout") -> None:
    moment = datetime.now(UTC) + timedelta(days=5000)

    await rollout.wait_for_promotion(auto_promote=True, promote_at=moment.isoformat())

    status = await rollout.status()
    assert [timer.fires_at for timer in status.timers] == [moment]
    assert status.timers[0].remaining > timedelta(days=4900)


async def test_the_id_of_an_update_holds_no_character_that_the_table_cannot_keep(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion()

    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.handle.execute_update(contracts.PROMOTE, {"by": "ann"}, id="i\0d")

    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == RefusalCode.INVALID_PAYLOAD
