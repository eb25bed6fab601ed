"""Windows at the database's clock: what the switch refuses, what a rollout is told, what a begin does not take."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from celadon.domain.decisions.windows import opening_times
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import RolloutId
from celadon.domain.language.states import Channel, RolloutOutcome
from celadon.domain.language.steps import SwitchAnswer, WindowStep
from celadon.domain.language.window import Weekday
from celadon.table.read.overview import view_deployment
from celadon.table.rollouts.windows import look_up_windows
from tests.table.rows import NOW, Opened, Rows, promotion

DAYS: Final = [day.value for day in Weekday]
BY_TIMER: Final[dict[str, Any]] = {"message": None, "by": "policy", "door": Channel.TIMER}


def always(applies_to: str = "timer") -> dict[str, Any]:
    """Return a window that is always open."""
    return {"days": DAYS, "from": "00:00", "to": "24:00", "zone": "Europe/Berlin", "applies_to": applies_to}


def in_days(days: int, applies_to: str = "timer") -> dict[str, Any]:
    """Return a window that opens on one day only, so many days from now."""
    day = (datetime.now(UTC) + timedelta(days=days)).weekday()
    return {"days": [DAYS[day]], "from": "09:00", "to": "17:00", "zone": "UTC", "applies_to": applies_to}


def code(answer: SwitchAnswer) -> RefusalCode | None:
    return None if answer.refusal is None else answer.refusal.code


async def ready(rows: Rows, *windows: dict[str, Any], **policy: Any) -> Opened:
    """Bring a second rollout with these windows to its switch."""
    await rows.live()
    return await rows.ready("run-2", policy={"auto_promote": True, "windows": list(windows)} | policy)


async def test_a_timer_switches_while_its_windows_are_open(rows: Rows) -> None:
    second = await ready(rows, always(), always("everyone"))

    assert code(await rows.switch(second, **BY_TIMER)) is None


async def test_a_timer_is_refused_while_a_window_is_closed_and_is_told_the_next_opening(rows: Rows) -> None:
    second = await ready(rows, in_days(3))
    before = await rows.dump()

    answer = await rows.switch(second, **BY_TIMER)

    assert await rows.dump() == before
    opens = (datetime.now(UTC) + timedelta(days=3)).replace(hour=9, minute=0, second=0, microsecond=0)
    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.WINDOW_CLOSED
    assert f"they open at {opens:%Y-%m-%d} 09:00:00 UTC" in answer.refusal.message
    assert answer.openings is not None
    assert answer.openings.timers is not None
    assert (answer.openings.timers.opens_at, answer.openings.timers.closes_at) == (opens, opens + timedelta(hours=8))


@pytest.mark.parametrize(
    ("windows", "command", "refused"),
    [
        ([in_days(3)], {}, None),
        ([in_days(3, "everyone")], {}, RefusalCode.WINDOW_CLOSED),
        ([in_days(3, "everyone")], {"force": True}, None),
        ([always("everyone"), in_days(3)], {}, None),
        ([always(), in_days(3, "everyone")], {}, RefusalCode.WINDOW_CLOSED),
    ],
    ids=[
        "only timers are bound",
        "a person outside of a window for everyone",
        "a person with force",
        "the window for everyone is open",
        "the window for timers alone is open",
    ],
)
async def test_a_person_is_bound_by_the_windows_for_everyone_alone_and_not_with_force(
    rows: Rows, windows: list[dict[str, Any]], command: dict[str, Any], refused: RefusalCode | None
) -> None:
    second = await ready(rows, *windows)

    answer = await rows.switch(second, message=promotion(**command))

    assert code(answer) is refused
    if answer.refusal is not None:
        assert "they open at" in answer.refusal.message
        assert answer.refusal.next_step == "promote again then, or now with 'celadon promote chat --force --reason WHY'"
        assert answer.openings is None


async def test_what_green_or_a_freeze_forbids_is_told_before_the_windows(rows: Rows) -> None:
    second = await ready(rows, in_days(3))
    await rows.sql("insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')")
    assert code(await rows.switch(second, **BY_TIMER)) is RefusalCode.FROZEN

    await rows.sql("update freezes set ends_at = now()")
    await rows.end(second, second.routes[0])
    assert code(await rows.switch(second, **BY_TIMER)) is RefusalCode.NO_HEALTHY_GREEN


async def test_a_refusal_by_windows_leaves_what_an_earlier_hold_waits_for(rows: Rows) -> None:
    second = await ready(rows, in_days(3, "everyone"))
    await rows.sql("update rollouts set awaits_signal = 'keeper_back' where id = :id", id=second.begun.rollout)

    await rows.switch(second, decision="run-2/1")

    assert await rows.value("select awaits_signal from rollouts where outcome is null") == "keeper_back"


async def test_a_refusal_by_windows_is_repeated_for_its_decision_and_a_later_decision_goes_through(rows: Rows) -> None:
    second = await ready(rows, in_days(3))
    first = await rows.switch(second, decision="run-2/1", **BY_TIMER)
    opened = "update rollouts set policy = jsonb_set(policy, '{windows}', '[]') where id = :id"
    await rows.sql(opened, id=second.begun.rollout)

    assert await rows.switch(second, decision="run-2/1", **BY_TIMER) == first
    assert code(await rows.switch(second, decision="run-2/2", **BY_TIMER)) is None


async def test_a_first_deployment_goes_live_outside_of_its_windows(rows: Rows) -> None:
    first = await rows.ready(policy={"auto_promote": True, "windows": [in_days(3, "everyone")]})

    assert code(await rows.switch(first, message=None, by="policy", door=Channel.POLICY)) is None


async def test_a_first_deployment_that_waits_for_a_person_is_bound_by_the_windows(rows: Rows) -> None:
    first = await rows.ready(policy={"auto_promote": False, "windows": [in_days(3, "everyone")]})

    assert code(await rows.switch(first)) is RefusalCode.WINDOW_CLOSED


async def test_no_window_stops_the_way_back(rows: Rows) -> None:
    second = await ready(rows, always(), bake="1h")
    await rows.switch(second, **BY_TIMER)
    closed = "update rollouts set policy = jsonb_set(policy, '{windows,0,days}', cast(:days as jsonb)) where id = :id"
    await rows.sql(closed, days=f'["{in_days(3)["days"][0]}"]', id=second.begun.rollout)

    assert code(await rows.switch_back(second)) is None


async def test_a_rollout_is_told_its_openings_from_the_moment_on_that_its_timer_is_due(rows: Rows) -> None:
    second = await ready(rows, in_days(3))
    due = datetime.now(UTC) + timedelta(days=5)
    step = WindowStep(deployment="chat", rollout=second.begun.rollout, due=due, at=NOW)

    async with rows.table.transaction() as tx:
        times = await look_up_windows(tx, step)

    assert abs(times.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert times == opening_times(second.begun.policy.windows, times.at, due)
    assert times.timers is not None
    assert times.timers.opens_at > due


async def test_a_rollout_that_has_ended_is_told_no_opening(rows: Rows) -> None:
    second = await ready(rows, always())
    await rows.finish(second, RolloutOutcome.ABORTED)
    step = WindowStep(deployment="chat", rollout=RolloutId(second.begun.rollout), due=NOW, at=NOW)

    with pytest.raises(RefusedError) as refused:
        async with rows.table.transaction() as tx:
            await look_up_windows(tx, step)

    assert refused.value.refusal.code is RefusalCode.NOT_OWNER


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        ([always() | {"zone": "Europe/Berln"}], "policy.windows.0.zone: there is no time zone 'Europe/Berln'"),
        (
            [in_days(3) | {"to": "12:00"}, in_days(3, "everyone") | {"from": "13:00"}],
            "windows for timers and those for everyone are never open at once",
        ),
    ],
    ids=["an unknown zone", "never open"],
)
async def test_a_rollout_whose_windows_cannot_open_does_not_begin(
    rows: Rows, windows: list[dict[str, Any]], told: str
) -> None:
    await rows.live()
    before = await rows.dump()

    with pytest.raises(RefusedError, match=told):
        await rows.begin("run-2", policy={"windows": windows})

    assert await rows.dump() == before


async def test_how_the_windows_stand_is_shown_until_the_switch(rows: Rows) -> None:
    second = await ready(rows, in_days(3))

    async with rows.table.transaction() as tx:
        shown = await view_deployment(tx, "chat")
    assert shown is not None
    assert shown.openings == opening_times(second.begun.policy.windows, shown.at)

    await rows.switch(second, message=promotion(force=True))
    async with rows.table.transaction() as tx:
        shown = await view_deployment(tx, "chat")
    assert shown is not None
    assert shown.openings is None
