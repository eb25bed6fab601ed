"""The page about rollouts says what the code decides."""

from datetime import timedelta

import pytest

from celadon.domain.decisions import after_switch, gate
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.names import Epoch
from celadon.domain.language.opening import TimerOpening
from celadon.domain.language.pause import Pause
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import Hold, HoldKind, Progress
from celadon.domain.language.rollout_state import RolloutState, Stage
from celadon.domain.language.states import Channel, RolloutPhase, SetCondition
from tests.docs.marked_blocks import filled
from tests.docs.refusals_of_code import refusals_of
from tests.docs.rollouts_page import BLOCKS, PAGE, SOURCES, TIMERS, refusals_named
from tests.docs.tables import REPOSITORY
from tests.domain.rollouts import NOW, before, green, rollout

HOUR = timedelta(hours=1)
PAUSE = Pause(by="ann", door=Channel.CLI, reason="", since=NOW, until=NOW + HOUR)
FREEZE = Freeze(id=1, everywhere=False, begins_at=before(hours=1), ends_at=NOW + HOUR, by="ann")
STARTING = green(SetCondition.STARTING)
TIMED = BlueGreenPolicy(auto_promote=True, promote_after=HOUR, promotion_deadline=2 * HOUR)
DAY = {"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "Europe/Berlin"}
IN_A_WINDOW = parse_payload(BlueGreenPolicy, {"auto_promote": True, "promote_after": "1h", "windows": [DAY]})
DUE = before(minutes=1) + HOUR
OPENING = TimerOpening(due=DUE, opens_at=NOW + 90 * HOUR, wakes_at=NOW + 90 * HOUR, closes_at=None)

WAITING = [
    rollout(RolloutPhase.PROVISIONING, green=STARTING),
    rollout(RolloutPhase.PROVISIONING, green=STARTING, paused=PAUSE),
    rollout(RolloutPhase.VERIFYING, green=green(SetCondition.RUNNING)),
    rollout(RolloutPhase.VERIFYING, green=green(SetCondition.RUNNING), paused=PAUSE),
    rollout(policy=TIMED),
    rollout(policy=IN_A_WINDOW, opening=OPENING),
    rollout(paused=PAUSE),
    rollout(freezes=(FREEZE,)),
    rollout(freezes=(FREEZE.model_copy(update={"begins_at": NOW + HOUR}),)),
    rollout(hold=Hold(kind=HoldKind.FROZEN, since=NOW, why="", until=NOW + HOUR)),
]
"""A rollout before its switch, waiting for each timer that it can wait for."""


def test_blocks_say_what_the_code_says() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == filled(page, BLOCKS), "docs/rollouts.md is stale: write it anew with 'python -m tests.docs'"


def test_a_block_without_its_marks_is_named() -> None:
    with pytest.raises(ValueError, match="the marks of phases"):
        filled("# Rollouts\n", BLOCKS)


def test_each_phase_before_the_switch_lists_the_timers_that_the_gate_waits_for() -> None:
    waited: dict[RolloutPhase, set[str]] = {}
    for progress in WAITING:
        waited.setdefault(progress.phase, set()).update(_timers(progress))

    assert waited == {phase: set(TIMERS[phase]) for phase in waited}


def test_the_bake_lists_the_timers_that_are_waited_for() -> None:
    baking = [rollout(RolloutPhase.BAKING), rollout(RolloutPhase.BAKING, paused=PAUSE)]
    decided = [after_switch.decide(_state(one), after_switch.Circumstances(), NOW) for one in baking]
    timers = {one.timer[0] for one in decided if isinstance(one, after_switch.Wait) and one.timer is not None}

    assert timers == set(TIMERS[RolloutPhase.BAKING])


def test_every_refusal_of_a_rollout_is_listed() -> None:
    rooms = (
        "celadon/domain/decisions",
        "celadon/table/rollouts",
        "celadon/table/core",
        "celadon/service/commands",
        "workflows",
    )
    modules = [str(path.relative_to(REPOSITORY)) for room in rooms for path in (REPOSITORY / room).glob("*.py")]
    refusing = {one for one in modules if refusals_of(one)}

    assert refusing <= {module for group in SOURCES.values() for module in group}
    assert all(refusals_named(module) for group in SOURCES.values() for module in group)


def test_readme_leads_to_the_page() -> None:
    assert "](docs/rollouts.md)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def _timers(progress: Progress) -> set[str]:
    decision = gate.decide(progress, NOW)
    assert isinstance(decision, gate.Wait), decision
    return {name for name, _ in decision.timers}


def _state(progress: Progress) -> RolloutState:
    return RolloutState(progress=progress, stage=Stage.BAKING, started_at=before(hours=2), epoch=Epoch(5))
