"""Random stories of rollouts keep every invariant.

``--stories N`` searches further, with stories that no run has told before.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.table.core.engine import Table
from tests.conftest import PATIENCE_SECONDS
from tests.invariants.machine import RolloutMachine, World
from tests.invariants.temporal import WorkflowLoop

STEPS = 40
QUICK, USUAL = 4, 24


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Return the real table on a loop of its own: the rules of a machine are no coroutines."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        workflow_loop = WorkflowLoop()
        table = Table(database_url, "celadon-invariants", patience_seconds=PATIENCE_SECONDS)
        try:
            yield World(table, loop, workflow_loop)
        finally:
            loop.run_until_complete(table.close())
            workflow_loop.close()


def _search(world: World, stories: int, *, anew: bool = False) -> None:
    class Machine(RolloutMachine):
        """Stories in this world."""

        def __init__(self) -> None:
            super().__init__(world)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=stories,
            stateful_step_count=STEPS,
            derandomize=not anew,
            database=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink] if anew else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


REQUEST = {"deployment": "chat", "revision": {"command": ["serve", "1"]}, "replicas": 2, "policy": {}}


@pytest.mark.parametrize("reaches", [RolloutPhase.AWAITING_PROMOTION, RolloutPhase.BAKING])
def test_a_story_of_an_attempt_that_was_paused(world: World, reaches: RolloutPhase) -> None:
    """The switch, or the way back, was refused; then everything is well again, and the attempt goes on."""
    machine = RolloutMachine(world)
    machine.begin_anew(first=REQUEST, second=REQUEST, reaches=reaches)

    machine.somebody_switches_to_a_colour("recovers, and an attempt was paused")
    machine.all_rules_hold()

    machine.teardown()


@pytest.mark.parametrize("goes_back", [False, True])
@pytest.mark.parametrize("task", [4, 7, 10])
def test_a_story_of_a_workflow_that_was_reset(world: World, task: int, *, goes_back: bool) -> None:
    """It was reset to a moment before its switch, and before its way back."""
    machine = RolloutMachine(world)
    machine.begin_anew(first=REQUEST, second=REQUEST, reaches=RolloutPhase.BAKING)
    if goes_back:
        machine.somebody_switches_to_a_colour("is well")
    assert machine.run is not None

    machine.the_workflow_is_reset(task - 1)
    machine.all_rules_hold()

    machine.teardown()


def test_a_story_of_an_abort_that_blue_cannot_take_for_the_moment(world: World) -> None:
    """The bake is over long ago when blue has recovered; traffic goes back all the same."""
    machine = RolloutMachine(world)
    machine.begin_anew(first=REQUEST, second=REQUEST, reaches=RolloutPhase.BAKING)
    machine.somebody_switches_to_a_colour("sickens")
    for _ in range(3):
        machine.time_passes(timedelta(minutes=11))
        machine.the_worker_works(STEPS)
        machine.all_rules_hold()
    assert machine.run is not None
    assert machine.run.status().phase is RolloutPhase.BAKING

    machine.teardown()

    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.ROLLED_BACK


def test_a_story_of_timers_that_meet_a_freeze(world: World) -> None:
    """The rollout asks once, and again when the freeze has ended."""
    machine = RolloutMachine(world)
    auto = REQUEST | {"policy": {"auto_promote": True, "promote_after": "5m", "max_regressions": 0}}
    machine.begin_anew(first=REQUEST, second=auto, reaches=RolloutPhase.AWAITING_PROMOTION)
    machine.the_deployment_is_frozen_or_not(frozen=True)
    for _ in range(3):
        machine.time_passes(timedelta(minutes=11))
        machine.the_worker_works(STEPS)
        machine.all_rules_hold()
    assert machine.run is not None
    assert len([one for one in machine.run.asked if one.name == "switch"]) == 1

    machine.teardown()

    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.PROMOTED


def test_a_few_stories(world: World) -> None:
    _search(world, QUICK)


@pytest.mark.parts
@pytest.mark.timeout(7200)
def test_many_stories(world: World, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = request.config.getoption("--stories", default=0)
    try:
        _search(world, wanted or USUAL, anew=bool(wanted))
    finally:
        if wanted:
            with capsys.disabled():
                print(f"\n{world.told()}")  # noqa: T201 - asked for

    phases = ("provisioning", "verifying", "awaiting_promotion", "baking", "draining", "rolling_back")
    assert {"switch: committed", *(f"phase {phase}" for phase in phases)} <= set(world.census)
