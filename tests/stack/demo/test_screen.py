"""How the demonstration shows itself."""

import io
import json
from datetime import UTC, datetime, timedelta

from rich.console import Console

from celadon.domain.names import Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.states import RolloutPhase, RouteHealthStatus, RouteSetState, RouteStatus
from celadon.stack.demo.generator import LoadCounts
from celadon.stack.demo.screen import Frame, JsonScreen, LineScreen, TerminalScreen, render_frame
from celadon.stack.demo.summary import Summary
from celadon.stack.demo.watch import DeploymentView, ReplicaView, RolloutView, SetView

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def replica(port: int, health: RouteHealthStatus) -> ReplicaView:
    return ReplicaView(port=port, status=RouteStatus.RUNNING, health=health)


def frame(phase: RolloutPhase = RolloutPhase.AWAITING_PROMOTION) -> Frame:
    return Frame(
        step="rolling out revision 2",
        deployment=DeploymentView(
            epoch=Epoch(4),
            sets=(
                SetView(
                    route_set=RouteSetId(1),
                    revision=RevisionNumber(1),
                    state=RouteSetState.OPEN,
                    is_live=True,
                    is_green=False,
                    wanted=1,
                    replicas=(replica(15001, RouteHealthStatus.HEALTHY),),
                    running=None,
                ),
                SetView(
                    route_set=RouteSetId(2),
                    revision=RevisionNumber(2),
                    state=RouteSetState.DRAINING,
                    is_live=False,
                    is_green=True,
                    wanted=1,
                    replicas=(replica(15002, RouteHealthStatus.NOT_CHECKED),),
                    running=11,
                ),
            ),
            rollout=RolloutView(
                rollout=RolloutId(2),
                workflow_id="rollout-chat",
                run_id="0199",
                to_revision=RevisionNumber(2),
                phase=phase,
                phase_since=NOW,
                bake=timedelta(seconds=5),
                switched=False,
                switched_back=False,
                outcome=None,
                outcome_reason="",
            ),
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
