"""What a node says of a pod."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    PodCondition,
    PodReadinessGate,
)

from tests.cluster.kubelet.container import ContainerRun, Leaving
from tests.cluster.kubelet.status import phase_of, pod_conditions

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
RUNNING = ContainerState(running=ContainerStateRunning())


async def no_environment(_: Container) -> dict[str, str]:
    """Return an empty environment."""
    return {}


def container(state: ContainerState | None = None) -> ContainerRun:
    """Return a container in a state; one without a state has not run yet."""
    made = ContainerRun(
        Container(name="server"), "127.20.1.1", "Never", Path("log"), no_environment, Leaving(), lambda: None
    )
    if state is not None:
        made.state, made.has_run = state, True
    return made


def ended(exit_code: int) -> ContainerState:
    """Return the state of a container that has ended."""
    return ContainerState(terminated=ContainerStateTerminated(exitCode=exit_code))


@pytest.mark.parametrize(
    ("states", "over", "phase"),
    [
        ([None], False, "Pending"),
        ([RUNNING], False, "Running"),
        ([RUNNING, None], False, "Pending"),
        ([ended(1)], False, "Running"),
        ([ended(0), ended(0)], True, "Succeeded"),
        ([ended(0), ended(3)], True, "Failed"),
        ([None], True, "Pending"),
    ],
)
async def test_the_phase_of_a_pod(states: Sequence[ContainerState | None], over: bool, phase: str) -> None:  # noqa: FBT001
    assert phase_of([container(state) for state in states], over=over) == phase


def condition(kind: str, status: str) -> PodCondition:
    """Return a condition that has held for long."""
    return PodCondition(type=kind, status=status, lastTransitionTime=LONG_AGO)


@pytest.mark.parametrize(
    ("before", "ready", "holds"),
    [
        ([], True, "False"),
        ([condition("celadon.dev/published", "False")], True, "False"),
        ([condition("celadon.dev/published", "True")], True, "True"),
        ([condition("celadon.dev/published", "True")], False, "False"),
    ],
)
def test_a_pod_is_ready_with_its_containers_and_gates(
    before: Sequence[PodCondition],
    ready: bool,  # noqa: FBT001
    holds: str,
) -> None:
    gates = [PodReadinessGate(conditionType="celadon.dev/published")]

    conditions = pod_conditions(before, gates, containers_ready=ready, phase="Running")

    assert {one.type: one.status for one in conditions}["Ready"] == holds


def test_a_condition_that_stays_keeps_its_moment() -> None:
    before = [condition("Ready", "True"), condition("ContainersReady", "False")]

    conditions = pod_conditions(before, [], containers_ready=True, phase="Running")

    moments = {one.type: one.lastTransitionTime for one in conditions}
    assert moments["Ready"] == LONG_AGO
    assert moments["ContainersReady"] != LONG_AGO
