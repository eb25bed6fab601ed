"""What the pages show, before any HTML."""

from collections.abc import Collection
from datetime import timedelta

import pytest

from celadon.api.console.views import DeploymentPage, deployment_page, story_page
from celadon.client.rollout_view import RolloutView, WorkflowAnswer
from celadon.domain.decisions.workflow_condition import PendingTask, TaskReading, judge_workflow
from celadon.domain.language.messages import Timer
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import (
    Colour,
    DeploymentLifecycle,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
)
from celadon.table.records.deployments import LoadView
from tests.api.console.pictures import NOW, awaiting, colour, event, record, replica, router, view


def page_of(known: RolloutView, rights: Collection[Verb] = frozenset(Verb)) -> DeploymentPage:
    return deployment_page(known, rights, "", NOW)


@pytest.mark.parametrize(
    ("phase", "verbs"),
    [
        (RolloutPhase.PROVISIONING, ["abort", "scale"]),
        (RolloutPhase.VERIFYING, ["abort", "scale"]),
        (RolloutPhase.AWAITING_PROMOTION, ["promote", "abort", "scale"]),
        (RolloutPhase.SWITCHING, ["scale"]),
        (RolloutPhase.BAKING, ["rollback", "finish", "scale"]),
        (RolloutPhase.DRAINING, ["rollback", "scale"]),
        (RolloutPhase.ROLLING_BACK, ["scale"]),
        (RolloutPhase.COMPLETED, ["scale"]),
    ],
)
def test_each_phase_offers_what_can_be_decided_in_it(phase: RolloutPhase, verbs: list[str]) -> None:
    page = page_of(view(record(phase)))

    assert [one.verb for one in page.decisions] == verbs


def test_a_first_rollout_that_bakes_has_nothing_to_go_back_to() -> None:
    page = page_of(view(record(RolloutPhase.BAKING, blue_set=None, from_revision=None)))

    assert [one.verb for one in page.decisions] == ["scale"]


def test_an_abort_that_is_pending_can_be_withdrawn() -> None:
    baking = record(RolloutPhase.BAKING)
    status = awaiting().model_copy(update={"phase": RolloutPhase.BAKING, "abort_requested": "ann: p99 doubled"})

    page = page_of(view(baking, status=status))

    assert [one.verb for one in page.decisions] == ["rollback", "finish", "withdraw", "scale"]


def test_a_deployment_that_is_being_deleted_offers_nothing() -> None:
    page = page_of(view(record(RolloutPhase.COMPLETED), lifecycle=DeploymentLifecycle.DESTROYING))

    assert page.decisions == ()
    assert page.nothing_to_decide == "The deployment is being deleted."


def test_a_promotion_says_which_rollout_and_which_revision_it_means() -> None:
    promote = page_of(view()).decisions[0]

    assert promote.means == {"rollout": "7", "revision": "2"}


def test_who_may_not_decide_is_told_so() -> None:
    promote = page_of(view(), rights=(Verb.ABORT,)).decisions[0]

    assert not promote.allowed
    assert "may not promote" in promote.why_not


def test_the_forms_stay_while_the_same_can_be_decided() -> None:
    earlier, later = page_of(view()), page_of(view(epoch=12))

    assert earlier.decisions_key == later.decisions_key


def test_the_forms_change_when_another_revision_waits() -> None:
    earlier, later = page_of(view()), page_of(view(record(rollout=8, to_revision=3)))

    assert earlier.decisions_key != later.decisions_key


def test_the_way_shows_where_the_rollout_stands() -> None:
    rollout = page_of(view()).rollout

    assert rollout is not None
    assert [step.state for step in rollout.way] == ["passed", "passed", "present", "ahead", "ahead", "ahead"]


def test_a_way_back_is_the_only_step_of_it() -> None:
    rollout = page_of(view(record(RolloutPhase.ROLLING_BACK))).rollout

    assert rollout is not None
    assert [(step.name, step.state) for step in rollout.way] == [("rolling back", "present")]


def test_timers_are_shown_and_their_absence_too() -> None:
    timer = Timer(name="automatic promotion", fires_at=NOW + timedelta(minutes=5), remaining=timedelta(minutes=5))

    assert page_of(view(status=awaiting(timer))).timers == (timer,)
    assert page_of(view(status=awaiting())).no_timer


def test_both_colours_say_what_traffic_they_get() -> None:
    blue, green = page_of(view()).sets

    assert (blue.title, blue.traffic) == ("Blue: r1", "takes traffic")
    assert (green.title, green.traffic) == ("Green: r2", "no traffic")


def test_what_is_live_after_the_rollout_has_no_colour_any_more() -> None:
    ended = record(RolloutPhase.COMPLETED, outcome=RolloutOutcome.PROMOTED)

    (live,) = page_of(view(ended, sets=(colour(Colour.GREEN, is_live=True),))).sets

    assert live.title == "Live: r2"


def test_a_sick_replica_shows_its_error() -> None:
    sick = replica(8001, RouteHealthStatus.UNHEALTHY, "GET /health: answered 500")
    green = colour(Colour.GREEN, is_live=False, replicas=(sick, replica(8002)))

    (shown,) = page_of(view(sets=(green,))).sets

    assert (shown.healthy, shown.wanted) == (1, 2)
    assert shown.replicas[0].error == "GET /health: answered 500"
    assert shown.replicas[1].error == ""


@pytest.mark.parametrize(
    ("running", "told"),
    [((3, 4), "7"), ((3, None), "unknown"), ((), "unknown")],
    ids=["all report", "one is silent", "no router"],
)
def test_running_requests_are_counted_only_when_all_routers_report(
    running: tuple[int | None, ...],
    told: str,
) -> None:
    load = tuple(LoadView(router=f"edge-{n}", running=count, reported_at=NOW) for n, count in enumerate(running))
    blue = colour(Colour.BLUE, is_live=False, state=RouteSetState.DRAINING, load=load)

    (shown,) = page_of(view(sets=(blue,))).sets

    assert shown.running_requests == told


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (router("edge-1", 11), "serves what is live"),
        (router("edge-1", 9, acknowledged=False), "silent"),
        (router("edge-1", 9, acknowledged=False, nack="no such filter"), "refused its configuration: no such filter"),
    ],
    ids=["serves", "silent", "refuses"],
)
def test_routers_say_whether_they_serve_what_is_live(known: object, state: str) -> None:
    (shown,) = page_of(view(routers=(known,))).routers

    assert shown.state == state


def test_what_is_wrong_is_told_first() -> None:
    page = page_of(view(record(awaits_epoch=12), panic=True, keeper_alive=False))

    assert len(page.warnings) == 3


def test_a_story_counts_from_the_rollouts_begin() -> None:
    ended = record(RolloutPhase.COMPLETED, switched_at=NOW - timedelta(minutes=5), switch_epoch=12)
    events = [
        event("started", timedelta(0), actor="ann", reason="new weights"),
        event("switched", timedelta(minutes=5), actor="ben", evidence={"epoch": "12"}),
        event("completed", timedelta(minutes=10), evidence={"outcome": "promoted"}),
    ]

    story = story_page(ended, events, "http://ui/namespaces/default/", NOW)

    assert [(one.after, one.title, one.tone) for one in story.events] == [
        ("0s", "started by ann", ""),
        ("5m", "switched by ben", "good"),
        ("10m", "completed", "good"),
    ]
    assert story.took == "10m"
    assert story.temporal == "http://ui/namespaces/default/workflows/rollout-chat/0a1b/history"


def test_a_rollout_that_does_not_get_on_says_so_in_place_of_waiting_for_a_person() -> None:
    reading = TaskReading(pending=PendingTask(attempt=3, scheduled_at=NOW, taken=False), polls_known=False)
    condition = judge_workflow("rollout-chat", reading, NOW)
    known = view(record(RolloutPhase.AWAITING_PROMOTION))
    stuck = known.model_copy(
        update={"workflow": WorkflowAnswer(unanswered_because=condition.told, condition=condition)}
    )

    page = page_of(stuck)

    assert page.waits_for == "an operator: the rollout does not get on"
    [warning] = page.warnings
    assert warning.startswith("The rollout does not get on: its workflow task fails (attempt 3). What helps: ")
    assert "temporal workflow terminate -w rollout-chat" in warning
