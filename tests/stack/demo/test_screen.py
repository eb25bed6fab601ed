"""How the demonstration shows itself."""

import io
import json
from datetime import UTC, datetime, timedelta

from rich.console import Console

from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteId, RouterNode, RouteSetId
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import (
    Colour,
    DeploymentLifecycle,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
    SetCondition,
)
from celadon.stack.demo.generator import LoadCounts
from celadon.stack.demo.screen import Frame, JsonScreen, LineScreen, TerminalScreen, render_frame
from celadon.stack.demo.summary import Summary
from celadon.table.records.deployments import DeploymentView, LoadView, ReplicaView, SetView
from celadon.table.records.rollouts import RolloutRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def replica(port: int, health: RouteHealthStatus) -> ReplicaView:
    return ReplicaView(
        route=RouteId(f"route-{port}"),
        host="127.0.0.1",
        port=port,
        status=RouteStatus.RUNNING,
        health=health,
        created_at=NOW,
        started_at=NOW,
        last_error="",
    )


def route_set(number: int, colour: Colour, health: RouteHealthStatus, *, running: int | None = None) -> SetView:
    drains = running is not None
    return SetView(
        route_set=RouteSetId(number),
        revision=RevisionNumber(number),
        rollout=RolloutId(number),
        colour=colour,
        is_live=not drains,
        state=RouteSetState.DRAINING if drains else RouteSetState.OPEN,
        condition=SetCondition.READY,
        wanted=1,
        running=1,
        healthy=1,
        required=None,
        replacements=0,
        last_error="",
        replicas=(replica(15000 + number, health),),
        failures=(),
        drain_deadline=None,
        load=(LoadView(router=RouterNode("local"), running=running, reported_at=NOW),) if drains else (),
        requests_cut=0,
    )


def rollout(phase: RolloutPhase) -> RolloutRecord:
    return RolloutRecord(
        rollout=RolloutId(2),
        deployment="chat",
        workflow_id="rollout-chat",
        run_id="0199",
        from_revision=RevisionNumber(1),
        to_revision=RevisionNumber(2),
        blue_set=RouteSetId(1),
        green_set=RouteSetId(2),
        replicas=1,
        policy=BlueGreenPolicy(),
        gated=True,
        requested_by="ann",
        reason="",
        phase=phase,
        phase_since=NOW,
        started_at=NOW,
        switched_at=None,
        switch_epoch=None,
        switched_back_at=None,
        switch_back_epoch=None,
        awaits_epoch=None,
        outcome=None,
        outcome_reason="",
        evidence={},
        completed_at=None,
        requests_cut=0,
    )


def frame(phase: RolloutPhase = RolloutPhase.AWAITING_PROMOTION) -> Frame:
    return Frame(
        step="rolling out revision 2",
        deployment=DeploymentView(
            deployment="chat",
            at=NOW,
            lifecycle=DeploymentLifecycle.DEPLOYING,
            replicas=1,
            frozen=False,
            epoch=Epoch(4),
            live_set=RouteSetId(1),
            live_revision=RevisionNumber(1),
            panic=False,
            keeper_alive=True,
            rollout=rollout(phase),
            sets=(
                route_set(1, Colour.BLUE, RouteHealthStatus.HEALTHY),
                route_set(2, Colour.GREEN, RouteHealthStatus.NOT_CHECKED, running=11),
            ),
            routers=(),
            events=(),
        ),
        load=LoadCounts(
            sent=1200,
            ended=1180,
            late=3,
            failed=0,
            truncated=0,
            open_streams=25,
            answered_by={"r1": 1100, "r2": 80},
            last_error=None,
            finished=False,
        ),
        timers={"promotion": NOW + timedelta(seconds=7)},
    )


def drawn(shown: Frame) -> str:
    output = io.StringIO()
    Console(file=output, width=120).print(render_frame(shown, NOW))
    return output.getvalue()


def test_live_view_shows_both_colours_with_their_replicas() -> None:
    rows = [" ".join(line.split()) for line in drawn(frame()).splitlines()]
    assert "│ blue r1 ● live :15001 healthy │" in rows
    assert "│ green r2 ○ drains :15002 not_checked 11 │" in rows


def test_live_view_shows_the_load_and_the_timers() -> None:
    text = drawn(frame())
    assert "r1 1100   r2 80" in text
    assert "streams open 25" in text
    assert "promotion in 7 s" in text


def test_live_view_shows_the_way_back_instead_of_the_way_on() -> None:
    assert "baking" in drawn(frame())
    assert "baking" not in drawn(frame(RolloutPhase.ROLLING_BACK))


def test_live_view_is_drawn_before_anything_is_deployed() -> None:
    assert "starting" in drawn(Frame(step="starting", deployment=None, load=None, timers={}))


def test_last_json_line_is_the_summary() -> None:
    output = io.StringIO()
    with JsonScreen(output) as screen:
        screen.say("step", "begins", revision="r2")
        screen.show(frame())
        screen.conclude(Summary(requests=7), ("one request failed",))
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert lines[0] == {"event": "step", "text": "begins", "revision": "r2"}
    assert lines[-2] == {"event": "complaint", "text": "one request failed"}
    assert lines[-1]["requests"] == 7
    assert "event" not in lines[-1]


def test_lines_tell_each_phase_once() -> None:
    output = io.StringIO()
    with LineScreen(output) as screen:
        screen.show(frame())
        screen.show(frame())
        screen.show(frame(RolloutPhase.BAKING))
    text = output.getvalue()
    assert text.count("awaiting_promotion") == 1
    assert text.count("baking") == 1


def test_lines_end_with_the_verdict() -> None:
    good, bad = io.StringIO(), io.StringIO()
    LineScreen(good).conclude(Summary(), ())
    LineScreen(bad).conclude(Summary(), ("2 requests failed",))
    assert good.getvalue().endswith("Nothing was lost.\n")
    assert bad.getvalue().endswith("The demonstration failed:\n- 2 requests failed\n")


def test_terminal_keeps_what_was_said_and_leaves_the_live_view() -> None:
    output = io.StringIO()
    with TerminalScreen(Console(file=output, force_terminal=True, width=120)) as screen:
        screen.say("step", "deploying revision 1")
        screen.show(frame())
        screen.conclude(Summary(requests=7), ())
    text = output.getvalue()
    assert "deploying revision 1" in text
    assert "● live" in text
    assert "Nothing was lost." in text
