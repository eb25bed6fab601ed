"""One container of a pod, from its first start to its last end."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateTerminated,
    Lifecycle,
    LifecycleHandler,
    SleepAction,
)

from celadon.racing import wait_at_most
from tests.cluster.kubelet.container import ContainerRun, Leaving
from tests.cluster.kubelet.environment import ConfigurationError

DEADLINE_SECONDS = 60.0
GENTLE = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


class Case:
    """A container that runs in the background of a test."""

    def __init__(self, tmp_path: Path, code: str, restart_policy: str = "Never", **fields: Any) -> None:
        self.changed = asyncio.Event()
        self.leaving = Leaving()
        self.environment: dict[str, str] | None = {}
        container = Container(name="server", command=[sys.executable, "-S", "-c", code], **fields)
        self.run = ContainerRun(
            container,
            "127.0.0.1",
            restart_policy,
            tmp_path / "log",
            self._environment,
            self.leaving,
            self.changed.set,
        )

    async def _environment(self, _: Container) -> dict[str, str]:
        if self.environment is None:
            raise ConfigurationError('secret "hub" not found')
        return self.environment

    async def until(self, holds: Callable[[ContainerRun], bool]) -> None:
        """Wait until a condition of the container holds."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not holds(self.run):
                self.changed.clear()
                await wait_at_most(self.changed, 0.1)

    def has_said(self, text: str) -> Callable[[ContainerRun], bool]:
        """Return whether the container has said something."""
        return lambda run: run.log.exists() and text in run.log.read_text()


def end_of(state: ContainerState) -> ContainerStateTerminated:
    """Return how a container ended."""
    assert state.terminated is not None
    return state.terminated


def reason_of(run: ContainerRun) -> str | None:
    """Return why a container waits."""
    return run.state.waiting.reason if run.state.waiting is not None else None


async def test_a_container_that_never_restarts_ends_with_its_last_words(tmp_path: Path) -> None:
    case = Case(tmp_path, "print('no GPU'); raise SystemExit(3)", terminationMessagePolicy="FallbackToLogsOnError")

    await case.run.run()

    end = end_of(case.run.state)
    assert (end.exitCode, end.reason, end.message, case.run.restarts) == (3, "Error", "no GPU\n", 0)


async def test_a_success_has_no_last_words(tmp_path: Path) -> None:
    case = Case(tmp_path, "print('done')", terminationMessagePolicy="FallbackToLogsOnError")

    await case.run.run()

    assert end_of(case.run.state).message is None


async def test_a_failure_starts_again_after_a_pause(tmp_path: Path) -> None:
    case = Case(tmp_path, "raise SystemExit(1)", restart_policy="OnFailure")
    task = asyncio.create_task(case.run.run())

    await case.until(lambda run: run.restarts > 0 and reason_of(run) == "CrashLoopBackOff")

    assert end_of(case.run.last_state).exitCode == 1
    case.leaving.ask(0)
    await task


async def test_a_container_that_leaves_serves_on_before_it_is_asked_to_end(tmp_path: Path) -> None:
    hook = Lifecycle(preStop=LifecycleHandler(sleep=SleepAction(seconds=1)))
    case = Case(tmp_path, GENTLE, lifecycle=hook)
    task = asyncio.create_task(case.run.run())
    await case.until(case.has_said("up"))
    began = asyncio.get_running_loop().time()

    case.leaving.ask(DEADLINE_SECONDS)
    await task

    assert asyncio.get_running_loop().time() - began >= 1
    assert end_of(case.run.state).exitCode == 0


async def test_a_container_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    case = Case(tmp_path, DEAF)
    task = asyncio.create_task(case.run.run())
    await case.until(case.has_said("up"))

    case.leaving.ask(0.2)
    await task

    assert end_of(case.run.state).exitCode == 137


async def test_a_shorter_grace_counts(tmp_path: Path) -> None:
    case = Case(tmp_path, DEAF)
    task = asyncio.create_task(case.run.run())
    await case.until(case.has_said("up"))

    case.leaving.ask(600)
    await asyncio.sleep(0)
    case.leaving.ask(0)

    async with asyncio.timeout(DEADLINE_SECONDS):
        await task


async def test_a_container_waits_for_what_its_environment_refers_to(tmp_path: Path) -> None:
    case = Case(tmp_path, GENTLE)
    case.environment = None
    task = asyncio.create_task(case.run.run())
    await case.until(lambda run: reason_of(run) == "CreateContainerConfigError")

    case.environment = {}

    await case.until(lambda run: run.state.running is not None)
    case.leaving.ask(0)
    await task


@pytest.mark.parametrize(
    ("container", "text"),
    [
        (Container(name="server"), "no command specified"),
        (Container(name="server", command=["no-such-program"]), "no such file or directory"),
    ],
)
async def test_a_container_that_cannot_start_fails(tmp_path: Path, container: Container, text: str) -> None:
    run = replace(Case(tmp_path, "").run, container=container)

    await run.run()

    end = end_of(run.state)
    assert (end.exitCode, end.reason) == (128, "StartError")
    assert text in (end.message or "")


async def test_an_image_that_is_missing_is_never_run(tmp_path: Path) -> None:
    case = Case(tmp_path, GENTLE, image="missing/vllm:v9")
    task = asyncio.create_task(case.run.run())

    await case.until(lambda run: reason_of(run) == "ErrImagePull")

    case.leaving.ask(0)
    await task
    assert not case.run.has_run
