"""What people are shown of a deployment."""

from datetime import timedelta
from typing import Any

import pytest

from celadon.domain.decisions.workflow_condition import PendingTask, TaskReading, judge_workflow
from celadon.domain.language.messages import Timer
from celadon.domain.language.opening import Opening, OpeningTimes
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.states import Colour, RolloutOutcome, RolloutPhase
from celadon.service.command import Tone
from celadon.service.rollout_view import RolloutView, WorkflowAnswer
from celadon.service.views.deployment import DeploymentDetail, deployment_detail
from celadon.service.views.phrases import WHOLE, Room
from tests.sample_views import NOW
from tests.service.views.records import awaiting, colour, event, failure, record, router, view, waiting

CAUSE = "exited with code 1: loading weights / CUDA out of memory (\N{MULTIPLICATION SIGN}4)"


def detail(known: RolloutView, room: Room = WHOLE) -> DeploymentDetail:
    shown = deployment_detail(known, NOW, room)
    assert isinstance(shown, DeploymentDetail)
    return shown


def failed(phase: RolloutPhase = RolloutPhase.COMPLETED) -> RolloutView:
    """Return a rollout whose four replicas have failed alike."""
    failures = tuple(
        failure(8000 + number, "exited with code 1", "loading weights\nCUDA out of memory") for number in (1, 2, 3)
    )
    ended = record(
        phase,
        outcome=RolloutOutcome.FAILED if phase is RolloutPhase.COMPLETED else None,
        outcome_reason=f"green could not start: {CAUSE}" if phase is RolloutPhase.COMPLETED else "",
    )
    green = colour(Colour.GREEN, is_live=False, rollout=ended.rollout, healthy=0, last_error=CAUSE, failures=failures)
    events = (
        event(
            "completed", timedelta(minutes=3), reason=f"green could not start: {CAUSE}", evidence={"last_error": CAUSE}
        ),
        event(
            "replica_failed",
            timedelta(minutes=2),
            reason="exited with code 1",
            evidence={"output": "CUDA out of memory"},
        ),
    )
    return view(ended, sets=(green,), events=events)


def test_the_way_shows_where_the_rollout_stands() -> None:
    rollout = detail(view()).rollout

    assert rollout is not None
    assert [step.state for step in rollout.way] == ["passed", "passed", "present", "ahead", "ahead", "ahead"]


def test_a_way_back_is_the_only_step_of_it() -> None:
    rollout = detail(view(record(RolloutPhase.ROLLING_BACK))).rollout

    assert rollout is not None
    assert [(step.name, step.state) for step in rollout.way] == [("rolling back", "present")]


def test_a_bake_ends() -> None:
    timer = Timer(name="bake", fires_at=NOW + timedelta(seconds=12), remaining=timedelta(seconds=12))
    status = awaiting(timer).model_copy(update={"phase": RolloutPhase.BAKING})

    (countdown,) = detail(view(record(RolloutPhase.BAKING), status)).timers

    assert countdown.told(NOW) == "bake ends in 12s"


def test_the_absence_of_a_timer_is_told() -> None:
    (note,) = detail(view(status=awaiting())).notes

    assert note.text == "no timer runs: a person decides"


WINDOW = {"days": ["mon", "tue"], "from": "09:00", "to": "17:00", "zone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("openings", "told"),
    [
        ({"timers": (0, 2), "binds_people": False}, ["windows for timers: open until 2026-03-01 14:00:00 UTC"]),
        ({"timers": (1, 2), "binds_people": False}, ["windows for timers: closed until 2026-03-01 13:00:00 UTC"]),
        ({"timers": (0, None), "binds_people": False}, ["windows for timers: open"]),
        ({"timers": None, "binds_people": False}, ["windows for timers: closed, and no opening is in sight"]),
        (
            {"timers": (1, 2), "people": (1, 2), "binds_people": True},
            ["windows for everyone: closed until 2026-03-01 13:00:00 UTC"],
        ),
        (
            {"timers": (1, 2), "people": (0, 2), "binds_people": True},
            [
                "windows for timers: closed until 2026-03-01 13:00:00 UTC",
                "windows for people: open until 2026-03-01 14:00:00 UTC",
            ],
        ),
    ],
)
def test_whether_windows_are_open_and_until_when_is_told_with_each_of_them(
    openings: dict[str, Any], told: list[str]
) -> None:
    def opening(span: tuple[int, int | None] | None) -> Opening | None:
        if span is None:
            return None
        opens, closes = span
        closes_at = None if closes is None else NOW + timedelta(hours=closes)
        return Opening(opens_at=NOW + timedelta(hours=opens), closes_at=closes_at)

    times = OpeningTimes(
        at=NOW,
        timers=opening(openings["timers"]),
        people=opening(openings.get("people")),
        binds_people=openings["binds_people"],
    )
    policy = resolve_policy(parse_payload(BlueGreenPolicy, {"windows": [WINDOW]}))

    notes = [note.text for note in detail(view(record(policy=policy), openings=times)).notes]

    assert notes == [*told, "window: mon, tue 09:00 to 17:00 Europe/Berlin, for timers"]


def test_what_a_failed_replica_printed_stands_once() -> None:
    shown = detail(failed())

    assert shown.model_dump_json().count("CUDA out of memory") == 1
    assert shown.sets[0].failures[0].output == ("loading weights", "CUDA out of memory")


def test_how_often_a_cause_was_met_is_told_without_what_was_printed() -> None:
    shown = detail(failed())

    assert shown.rollout is not None
    assert shown.rollout.outcome_reason == "green could not start: exited with code 1 (\N{MULTIPLICATION SIGN}4)"
    assert shown.sets[0].error == "exited with code 1 (\N{MULTIPLICATION SIGN}4)"


def test_what_replicas_of_another_rollout_printed_is_not_shown() -> None:
    known = failed(RolloutPhase.PROVISIONING)
    assert known.deployment is not None
    later = record(RolloutPhase.PROVISIONING, rollout=8)
    shown = detail(known.model_copy(update={"deployment": known.deployment.model_copy(update={"rollout": later})}))

    assert "CUDA out of memory" not in shown.model_dump_json()
    assert [one.title for one in shown.sets[0].failures] == [
        "port 8001 failed to start at 12:00:00 UTC: exited with code 1"
    ]


def test_only_lines_about_the_deployment_and_its_latest_rollout_are_shown() -> None:
    lines = (
        event("started", timedelta(minutes=1)),
        event("scaled", timedelta(0), rollout=None),
        event("completed", timedelta(0), rollout=6),
    )

    assert [row.title for row in detail(view(events=lines)).events] == ["started", "scaled"]


@pytest.mark.parametrize(
    ("known", "state", "is_silent"),
    [
        (router("edge-1", 11), "serves what is live", False),
        (router("edge-1", 9, acknowledged=False), "silent", True),
        (
            router("edge-1", 9, acknowledged=False, nack="no such filter"),
            "refused its configuration: no such filter",
            True,
        ),
    ],
    ids=["serves", "silent", "refuses"],
)
def test_routers_say_whether_they_serve_what_is_live(known: object, state: str, is_silent: bool) -> None:  # noqa: FBT001 - a case
    (shown,) = detail(view(routers=(known,))).routers

    assert (shown.state.text, shown.is_silent) == (state, is_silent)


def test_routers_that_serve_are_left_out_where_there_is_little_room() -> None:
    shown = detail(
        view(routers=(router("edge-1", 11), router("edge-2", 9, acknowledged=False))), Room(settled_routers=False)
    )

    assert [one.name for one in shown.routers] == ["edge-2"]
    assert shown.router_summary.text == "1 of 2 serve epoch 11"


def test_everything_that_is_wrong_is_told() -> None:
    shown = detail(view(record(awaits_epoch=12), panic=True, keeper_alive=False))

    assert [one.tone for one in shown.warnings] == [Tone.BAD, Tone.BAD, Tone.WARN]


def test_a_rollout_that_does_not_get_on_says_so_in_place_of_waiting_for_a_person() -> None:
    reading = TaskReading(pending=PendingTask(attempt=3, scheduled_at=NOW, taken=False), polls_known=False)
    condition = judge_workflow("rollout-chat", reading, NOW)
    known = view(record(RolloutPhase.AWAITING_PROMOTION))
    stuck = known.model_copy(
        update={"workflow": WorkflowAnswer(unanswered_because=condition.told, condition=condition)}
    )

    shown = detail(stuck)

    assert shown.waits_for == "an operator: the rollout does not get on"
    (warned,) = shown.warnings
    assert warned.text == "the rollout does not get on: its workflow task fails (attempt 3)"
    assert "temporal workflow terminate -w rollout-chat" in warned.help


def test_what_waits_for_its_turn_is_shown_with_who_asked_and_what_it_waits_for() -> None:
    shown = detail(view(next=waiting())).next

    assert shown is not None
    assert shown.text == "r3 by ben (newer weights) waits for the end of rollout 7"
    assert shown.tone is Tone.PLAIN


def test_what_waits_for_a_retry_is_shown_as_something_to_do() -> None:
    held = waiting(held="rollout 7 failed", waits_for="'celadon retry chat': rollout 7 failed")

    shown = detail(view(next=held)).next

    assert shown is not None
    assert (shown.tone, "celadon retry chat" in shown.text) == (Tone.WARN, True)
