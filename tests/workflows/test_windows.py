"""A timer switches inside the policy's windows only, and a rollout that waits for them says so and costs nothing."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from temporalio.client import Client

from celadon.client.rollouts import RolloutClient
from celadon.domain.decisions.windows import opening_times
from celadon.domain.language import contracts
from celadon.domain.language.commands import BakeCommand, PauseCommand, PromoteState
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase, SetCondition
from celadon.domain.language.steps import SwitchAnswer
from celadon.domain.language.window import Weekday, Window
from tests.workflows.conftest import FOR_EVER

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout

AWAITING: Final = RolloutPhase.AWAITING_PROMOTION
CLOSED: Final = Refusal(code=RefusalCode.WINDOW_CLOSED, message="the windows of rollout 7 are closed", next_step="wait")


def hours(begin: timedelta, end: timedelta, applies_to: str = "timer") -> dict[str, Any]:
    """Return a daily window between two moments, counted from now, to the minute."""
    now = datetime.now(UTC)
    opens, closes = (f"{now + span:%H:%M}" for span in (begin, end))
    return {
        "days": [day.value for day in Weekday],
        "from": opens,
        "to": closes,
        "zone": "UTC",
        "applies_to": applies_to,
    }


def in_hours(begin: float, end: float, applies_to: str = "timer") -> dict[str, Any]:
    """Return a daily window between two times, in hours from now."""
    return hours(timedelta(hours=begin), timedelta(hours=end), applies_to)


async def until_held(rollout: "RunningRollout") -> None:
    """Wait until the windows hold a timer, and the rollout does nothing else."""
    await rollout.until_status(lambda status: "windows of the policy are closed" in status.holding)
    await rollout.until_nothing_is_in_flight()


async def test_a_timer_that_is_due_outside_its_window_is_held_until_it_opens(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, windows=[in_hours(5, 6)])
    await until_held(rollout)

    status = await rollout.status()
    [timer] = status.timers
    assert timer.name == "automatic promotion"
    assert timedelta(hours=4.9) < timer.remaining < timedelta(hours=5)
    assert f"no timer promotes until they open at {timer.fires_at:%Y-%m-%d %H:%M:00} UTC" in status.holding
    assert f"celadon promote {rollout.deployment}" in status.next_step
    await rollout.skip(timedelta(hours=4, minutes=50))
    assert (await rollout.status()).phase is AWAITING
    assert "switch" not in rollout.script.names()

    await rollout.skip(timedelta(minutes=12))
    await rollout.phase(RolloutPhase.BAKING)
    [switch] = rollout.script.inputs("switch")
    assert (switch.door, switch.reason) == (
        Channel.TIMER,
        "auto_promote, 0s after green was verified, once the windows had opened",
    )
    assert rollout.script.names().count("look_up_windows") == 1
    assert rollout.script.notes().count("held") == 1
    assert (await rollout.status()).holding == ""
    await rollout.skip(timedelta(minutes=6))
    await rollout.ended()
    await rollout.record("promoted-in-a-window")


async def test_a_timer_that_is_due_inside_its_window_switches_at_once(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h", windows=[in_hours(-1, 4)])

    [timer] = (await rollout.status()).timers
    assert timer.name == "automatic promotion"
    assert timer.remaining <= timedelta(hours=1)
    await rollout.skip(timedelta(minutes=62))

    await rollout.phase(RolloutPhase.BAKING)
    assert "held" not in rollout.script.notes()


async def test_before_a_timer_is_due_the_status_tells_both_moments_and_holds_nothing(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="1h", windows=[in_hours(5, 6)])

    # While the windows are looked up no timer runs.
    status = await rollout.until_status(lambda status: bool(status.timers))
    assert [timer.name for timer in status.timers] == ["delay", "automatic promotion"]
    assert status.holding == ""
    await rollout.skip(timedelta(minutes=62))
    await until_held(rollout)

    assert [timer.name for timer in (await rollout.status()).timers] == ["automatic promotion"]
    assert rollout.script.names().count("look_up_windows") == 1


async def test_a_rollout_that_its_windows_hold_costs_nothing(rollout: "RunningRollout") -> None:
    away = (datetime.now(UTC) + timedelta(days=6)).weekday()
    week = {**in_hours(0, 1), "days": [list(Weekday)[away].value]}
    await rollout.wait_for_promotion(auto_promote=True, windows=[week])
    await until_held(rollout)
    before = await rollout.events()

    await rollout.skip(timedelta(days=4))

    assert await rollout.events() == before


async def test_a_window_that_closes_between_decision_and_switch_holds_the_timer_until_the_next_opening(
    rollout: "RunningRollout",
) -> None:
    now = datetime.now(UTC)
    later = Window.model_validate(in_hours(5, 6), strict=False)
    rollout.script.switch = [
        SwitchAnswer(refusal=CLOSED, openings=opening_times([later], now)),
        SwitchAnswer(epoch=Epoch(5)),
    ]
    await rollout.wait_for_promotion(auto_promote=True, max_regressions=0, windows=[in_hours(-1, 1)])
    await until_held(rollout)

    assert rollout.script.names().count("switch") == 1
    await rollout.skip(timedelta(hours=4, minutes=50))
    assert (await rollout.status()).phase is AWAITING
    await rollout.skip(timedelta(minutes=12))

    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.names().count("switch") == 2
    assert "promotion_refused" in rollout.script.notes()


async def test_a_clock_that_is_ahead_of_the_databases_does_not_ask_again_and_again(rollout: "RunningRollout") -> None:
    now = datetime.now(UTC) - timedelta(hours=1)
    soon = Window.model_validate(hours(timedelta(minutes=-30), timedelta(hours=2)), strict=False)
    refused = SwitchAnswer(refusal=CLOSED, openings=opening_times([soon], now))
    rollout.script.switch = [refused, SwitchAnswer(epoch=Epoch(5))]
    await rollout.wait_for_promotion(auto_promote=True, windows=[in_hours(-1, 1)])
    await until_held(rollout)

    # By the table's clock the window opens in half an hour; by the rollout's own it has been open for as long.
    await rollout.skip(timedelta(minutes=20))
    assert rollout.script.names().count("switch") == 1
    await rollout.skip(timedelta(minutes=12))

    await rollout.phase(RolloutPhase.BAKING)


async def test_a_person_promotes_although_the_windows_hold_the_timer(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, windows=[in_hours(5, 6)])
    await until_held(rollout)

    assert (await rollout.promote(by="ann")).state is PromoteState.SWITCHED


async def test_a_person_who_is_refused_outside_of_the_windows_for_everyone_leaves_everything_as_it_was(
    rollout: "RunningRollout",
) -> None:
    rollout.script.switch = [SwitchAnswer(refusal=CLOSED), SwitchAnswer(epoch=Epoch(5))]
    everyone = in_hours(5, 6, "everyone")
    await rollout.wait_for_promotion(auto_promote=True, max_regressions=0, windows=[everyone])
    await until_held(rollout)
    before = await rollout.status()

    with pytest.raises(RefusedError) as refused:
        await rollout.promote(by="ann")

    assert refused.value.refusal == CLOSED
    await rollout.until_nothing_is_in_flight()
    after = await rollout.status()
    assert (after.phase, after.since, after.holding) == (before.phase, before.since, before.holding)
    assert [timer.fires_at for timer in after.timers] == [timer.fires_at for timer in before.timers]
    assert "--force --reason WHY" in after.holding
    assert (await rollout.promote(by="ann", force=True, reason="incident")).state is PromoteState.SWITCHED


async def test_a_person_is_refused_where_no_timer_runs_too_and_may_ask_again(rollout: "RunningRollout") -> None:
    rollout.script.switch = [SwitchAnswer(refusal=CLOSED), SwitchAnswer(epoch=Epoch(5))]
    await rollout.wait_for_promotion(max_regressions=0, windows=[in_hours(5, 6, "everyone")])

    with pytest.raises(RefusedError):
        await rollout.promote(by="ann")

    assert (await rollout.phase(AWAITING)).holding == ""
    assert "look_up_windows" not in rollout.script.names()
    assert (await rollout.promote(by="ann")).state is PromoteState.SWITCHED


async def test_the_deadline_aborts_a_rollout_whose_windows_open_too_late(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promotion_deadline="2h", windows=[in_hours(5, 6)])

    await rollout.skip(timedelta(hours=3))

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.EXPIRED
    assert ended.result.reason == "nobody promoted within 2h, and the windows were closed"


async def test_a_deadline_that_promotes_waits_for_the_windows(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(promotion_deadline="2h", on_deadline="promote", windows=[in_hours(5, 6)])

    await rollout.skip(timedelta(hours=3))
    await until_held(rollout)
    assert "switch" not in rollout.script.names()
    await rollout.skip(timedelta(hours=2, minutes=2))

    await rollout.phase(RolloutPhase.BAKING)
    assert rollout.script.inputs("switch")[0].reason == "promotion_deadline of 2h, on_deadline: promote"


async def test_a_deadline_that_holds_leaves_a_timer_that_the_windows_held_to_a_person(
    rollout: "RunningRollout",
) -> None:
    await rollout.wait_for_promotion(
        auto_promote=True, promotion_deadline="2h", on_deadline="hold", windows=[in_hours(5, 6)]
    )
    await until_held(rollout)

    await rollout.skip(timedelta(hours=3))
    status = await rollout.status()
    assert (status.phase, status.timers, status.holding) == (AWAITING, (), "")
    await rollout.skip(timedelta(hours=2, minutes=30))

    assert (await rollout.status()).phase is AWAITING
    assert (await rollout.promote(by="ann")).state is PromoteState.SWITCHED


async def test_a_window_that_passes_during_a_pause_is_waited_for_anew(
    rollout: "RunningRollout", client: Client
) -> None:
    pause = parse_payload(PauseCommand, FOR_EVER | {"by": "ann"})
    resume = parse_payload(BakeCommand, FOR_EVER | {"by": "ann"})
    await rollout.wait_for_promotion(auto_promote=True, windows=[in_hours(5, 6)])
    await until_held(rollout)
    await RolloutClient(client).ask(rollout.deployment, contracts.PAUSE, pause)

    await rollout.skip(timedelta(hours=8))
    assert "switch" not in rollout.script.names()
    await RolloutClient(client).ask(rollout.deployment, contracts.RESUME, resume)
    await until_held(rollout)

    [timer] = (await rollout.status()).timers
    assert timedelta(hours=20) < timer.remaining < timedelta(hours=21)
    await rollout.skip(timedelta(hours=21, minutes=2))
    await rollout.phase(RolloutPhase.BAKING)


async def test_a_green_that_regresses_while_the_windows_hold_it_is_verified_anew(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, windows=[in_hours(5, 6)])
    await until_held(rollout)

    await rollout.edge(SetCondition.RUNNING)
    assert (await rollout.phase(RolloutPhase.VERIFYING)).holding == ""
    await rollout.skip(timedelta(minutes=5))
    await rollout.edge(SetCondition.READY)
    await until_held(rollout)

    await rollout.skip(timedelta(hours=4, minutes=57))
    await rollout.phase(RolloutPhase.BAKING)


async def test_an_abort_ends_a_rollout_that_the_windows_hold(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, windows=[in_hours(5, 6)])
    await until_held(rollout)

    assert (await rollout.abort(by="ann")).outcome is RolloutOutcome.ABORTED


async def test_a_rollout_without_windows_looks_none_up(rollout: "RunningRollout") -> None:
    await rollout.bake(auto_promote=False)

    assert "look_up_windows" not in rollout.script.names()


async def test_a_first_deployment_goes_live_whatever_its_windows_say(rollout: "RunningRollout") -> None:
    rollout.script.blue, rollout.script.gated = None, False

    await rollout.start(auto_promote=True, windows=[in_hours(5, 6)])
    await rollout.edge(SetCondition.READY)

    ended = await rollout.ended()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    assert "look_up_windows" not in rollout.script.names()


async def test_a_new_run_keeps_what_the_run_before_it_knew_of_the_windows(rollout: "RunningRollout") -> None:
    await rollout.wait_for_promotion(auto_promote=True, promote_after="20d", windows=[in_hours(5, 6)])
    first = (await rollout.handle.describe()).run_id

    await rollout.skip(timedelta(days=16))

    assert (await rollout.handle.describe()).run_id != first
    assert [timer.name for timer in (await rollout.status()).timers] == ["delay", "automatic promotion"]
    assert rollout.script.names().count("look_up_windows") == 1
