"""Random stories of rollouts keep every invariant.

``--stories N`` searches further, with stories that no run has told before.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from celadon.domain.language.policy import OnNewRevision
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.table.core.engine import Table
from tests.conftest import PATIENCE_SECONDS
from tests.invariants.machine import CLOSED, OPEN, RolloutMachine, World
from tests.invariants.temporal import WorkflowLoop
from tests.revisions import serving

pytestmark = pytest.mark.parts

STEPS = 40
USUAL = 24


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


def search(world: World, stories: int, *, anew: bool = False) -> None:
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


REQUEST = {"deployment": "chat", "revision": serving("1"), "replicas": 2, "policy": {}}


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


GROWS = {"preview_replicas": 1, "max_total_replicas": 4, "on_no_room": "wait", "provisioning_deadline": "1h"}
PREVIEW = REQUEST | {"policy": GROWS}


@pytest.mark.parametrize("task", [0, 5, 7, 9, 11])
def test_a_story_of_a_preview_that_grows(world: World, task: int) -> None:
    """It is reset to a moment before, during or after its growth, or not at all."""
    machine = RolloutMachine(world)
    machine.begin_anew(first=REQUEST, second=PREVIEW, reaches=RolloutPhase.BAKING)
    machine.all_rules_hold()
    assert world.census["switch: growing"] == 1
    assert machine.run is not None
    assert machine.run.status().phase is RolloutPhase.BAKING

    if task:
        machine.the_workflow_is_reset(task - 1)
        machine.all_rules_hold()

    machine.teardown()


@pytest.mark.parametrize("tasks", range(3))
def test_a_story_of_a_preview_that_is_reset_while_it_grows(world: World, tasks: int) -> None:
    """The run has forgotten that its switch was decided; the table tells."""
    machine = RolloutMachine(world)
    machine.begin_anew(first=REQUEST, second=PREVIEW, reaches=RolloutPhase.AWAITING_PROMOTION)
    assert machine.run is not None
    machine.somebody_promotes_and_green_grows()
    machine.the_workflow_is_reset(machine.run.tasks - 1 - tasks)
    machine.all_rules_hold()

    machine.teardown()

    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.PROMOTED


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
    """The rollout, which no keeper tells of it, asks once, and again when the freeze has ended."""
    machine = RolloutMachine(world)
    auto = REQUEST | {"policy": {"auto_promote": True, "promote_after": "5m", "max_regressions": 0}}
    machine.begin_anew(first=REQUEST, second=auto, reaches=RolloutPhase.AWAITING_PROMOTION)
    machine.somebody_freezes()
    for _ in range(3):
        machine.time_passes(timedelta(minutes=11))
        machine.the_worker_works(STEPS)
        machine.all_rules_hold()
    assert machine.run is not None
    assert len([one for one in machine.run.asked if one.name == "switch"]) == 1

    machine.teardown()

    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.PROMOTED


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_story_of_timers_that_stand_still(world: World, *, is_reset: bool) -> None:
    """A signed pause counts once; a run that was reset to before it hears of it from the table."""
    machine = RolloutMachine(world)
    auto = REQUEST | {"policy": {"auto_promote": True, "promote_after": "5m"}}
    machine.begin_anew(first=REQUEST, second=auto, reaches=RolloutPhase.AWAITING_PROMOTION)
    machine.the_worker_works(STEPS)
    assert machine.run is not None
    tasks = machine.run.tasks
    machine.a_verified_person_pauses_or_resumes("pause", "ann", None)
    machine.the_worker_works(STEPS)
    assert machine.run.status().paused_since is not None

    for _ in range(3):
        machine.time_passes(timedelta(minutes=11))
        if is_reset:
            machine.the_workflow_is_reset(tasks - 1)
        machine.the_worker_works(STEPS)
        machine.good_days_come(1)
        machine.all_rules_hold()
    assert machine.run.status().paused_since is not None
    assert "switch" not in [one.name for one in machine.run.asked]

    machine.a_verified_person_pauses_or_resumes("resume", "ben", None)
    machine.the_worker_works(STEPS)
    machine.all_rules_hold()
    machine.teardown()

    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.PROMOTED


def test_a_story_of_timers_that_meet_closed_windows(world: World) -> None:
    """The rollout looks once and holds the timer; a person promotes it all the same."""
    machine = RolloutMachine(world)
    auto = REQUEST | {"policy": {"auto_promote": True, "promote_after": "5m", "windows": [CLOSED]}}
    machine.begin_anew(first=REQUEST, second=auto, reaches=RolloutPhase.AWAITING_PROMOTION)
    for _ in range(3):
        machine.time_passes(timedelta(minutes=11))
        machine.the_worker_works(STEPS)
        machine.all_rules_hold()
    assert machine.run is not None
    assert "switch" not in [one.name for one in machine.run.asked]
    assert "closed" in machine.run.status().holding

    machine.a_person_promotes_what_waits(update=True)
    machine.teardown()

    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.PROMOTED


def test_a_story_of_windows_that_close_before_the_switch(world: World) -> None:
    """The workflow believes that they are open; the table knows better, and is asked no more until the next opening."""
    machine = RolloutMachine(world)
    auto = REQUEST | {"policy": {"auto_promote": True, "promote_after": "5m", "windows": [OPEN]}}
    machine.begin_anew(first=REQUEST, second=auto, reaches=RolloutPhase.AWAITING_PROMOTION)
    machine.the_worker_works(STEPS)
    machine.windows_open_or_close(opens=False)
    for _ in range(3):
        machine.time_passes(timedelta(minutes=11))
        machine.the_worker_works(STEPS)
        machine.all_rules_hold()
    assert machine.run is not None
    assert len([one for one in machine.run.asked if one.name == "switch"]) == 1

    machine.teardown()

    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.ABORTED


def test_a_story_of_a_rollout_that_two_people_approve(world: World) -> None:
    """One twice is one, and a due timer waits for the other."""
    machine = RolloutMachine(world)
    two = REQUEST | {"policy": {"auto_promote": True, "approvals": {"count": 2}}}
    machine.begin_anew(first=REQUEST, second=two, reaches=RolloutPhase.AWAITING_PROMOTION)
    for people in (["ann"], ["ann"], ["ann", "ben"]):
        machine.the_worker_works(STEPS)
        assert machine.run is not None
        assert machine.run.status().phase is RolloutPhase.AWAITING_PROMOTION
        machine.verified_people_decide(people, "promote", force=False)
        machine.all_rules_hold()
    machine.the_worker_works(STEPS)
    machine.all_rules_hold()

    assert len(machine.seen.tables.approvals) == 2
    machine.teardown()
    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.PROMOTED


SHORT = {"event_retention": "1h", "revision_history_limit": 1, "rollback_window": {"revisions": 0}}
HOURS = timedelta(hours=2)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_story_of_attempts_that_were_paused_until_their_rollout_was_pruned(world: World, *, by_hand: bool) -> None:
    """Its begin, of which the table knows nothing any more, too."""
    machine = RolloutMachine(world)
    machine.begin_anew(first=REQUEST, second=REQUEST, reaches=RolloutPhase.COMPLETED, keeps=SHORT)
    machine._let_it_end()  # noqa: SLF001
    machine.all_rules_hold()
    [pruned, _] = machine.seen.tables.rollouts

    machine.what_has_had_its_time_is_pruned(timedelta(0), by_hand=by_hand)
    assert machine.seen.rollout(pruned.id) is not None
    machine.what_has_had_its_time_is_pruned(HOURS, by_hand=by_hand)
    assert machine.seen.rollout(pruned.id) is None
    for asked in machine.runs[0].asked:
        machine._come_late(machine.runs[0], asked)  # noqa: SLF001

    machine.teardown()


def test_a_story_of_a_blue_whose_rollout_is_pruned_before_its_drain_is_heard_of(world: World) -> None:
    """The workflow of the rollout that opened blue was terminated, so that no rollback ever goes back to it."""
    machine = RolloutMachine(world)
    machine.begin_anew(first=REQUEST, second=REQUEST, reaches=RolloutPhase.BAKING, keeps=SHORT)
    machine.the_workflow_is_terminated()
    machine.the_keeper_compares_with_temporal()
    machine.all_rules_hold()
    machine.a_rollout_starts(REQUEST | {"policy": {"auto_promote": True, "bake": "0s"}})
    machine._go_on_until(lambda: machine.run is None or machine.run.status().phase is RolloutPhase.DRAINING)  # noqa: SLF001
    machine.the_worker_works(1)
    for _ in range(3):
        machine.time_passes(timedelta(minutes=11))
        machine._good_day()  # noqa: SLF001
        machine._good_day()  # noqa: SLF001
    assert machine.run is not None
    machine.all_rules_hold()

    machine.what_has_had_its_time_is_pruned(HOURS, by_hand=True)
    machine.teardown()

    assert machine.seen.tables.rollouts[-1].outcome is RolloutOutcome.PROMOTED


@pytest.mark.timeout(7200)
def test_many_stories(world: World, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = request.config.getoption("--stories", default=0)
    try:
        search(world, wanted or USUAL, anew=bool(wanted))
    finally:
        if wanted:
            with capsys.disabled():
                print(f"\n{world.told()}")  # noqa: T201 - asked for

    phases = ("provisioning", "verifying", "awaiting_promotion", "baking", "draining", "rolling_back")
    assert {"switch: committed", *(f"phase {phase}" for phase in phases)} <= set(world.census)


@pytest.mark.parametrize("reaches", [RolloutPhase.PROVISIONING, RolloutPhase.AWAITING_PROMOTION, RolloutPhase.BAKING])
@pytest.mark.parametrize("mode", [OnNewRevision.REPLACE, OnNewRevision.QUEUE])
def test_a_story_of_a_newer_rollout_in_each_phase(world: World, reaches: RolloutPhase, mode: OnNewRevision) -> None:
    """It replaces the rollout under way, or waits for its end; either way it begins once and by itself."""
    machine = RolloutMachine(world)
    other = REQUEST | {"revision": serving("2"), "policy": {"bake": "5m"}}
    newer = REQUEST | {"revision": serving("3"), "policy": {"auto_promote": True, "bake": "0s"}}
    machine.begin_anew(first=REQUEST, second=other, reaches=reaches)
    if reaches is RolloutPhase.PROVISIONING:
        machine.the_worker_works(1)  # Its begin.

    machine.somebody_deploys_while_one_runs(newer, mode, restart=False)
    machine.all_rules_hold()
    assert len(machine.seen.tables.waiting) == 1
    machine._go_on_until(lambda: machine.run is None)  # noqa: SLF001
    machine.teardown()

    outcomes = [one.outcome for one in machine._look().tables.rollouts]  # noqa: SLF001
    ends = mode is OnNewRevision.REPLACE and reaches is not RolloutPhase.BAKING
    assert outcomes[1] is (RolloutOutcome.SUPERSEDED if ends else RolloutOutcome.PROMOTED)
    assert len(outcomes) == 3
    assert machine._look().tables.rollouts[2].next is not None  # noqa: SLF001
