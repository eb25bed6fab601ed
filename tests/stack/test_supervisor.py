"""The supervisor, with small real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from celadon.stack.errors import ChildFailedError
from celadon.stack.process import ChildSpec, NotReadyError
from celadon.stack.supervisor import ChildState, ChildStatus, Supervisor
from tests.stack.processes import is_running, until

pytestmark = pytest.mark.parts


def child(
    name: str,
    program: str,
    *,
    ready_file: Path | None = None,
    after: tuple[str, ...] = (),
    ready_within: float = 60,
    stop_within: float = 60,
) -> ChildSpec:
    """Describe a child that runs a Python ``program`` and is ready when ``ready_file`` exists."""

    def missing() -> bool:
        return ready_file is not None and not ready_file.exists()

    async def ready() -> None:
        if missing():
            raise NotReadyError(f"there is no {ready_file}")

    return ChildSpec(
        name=name,
        command=(sys.executable, "-u", "-c", program),
        after=after,
        environment=dict(os.environ),
        ready=ready,
        ready_within=timedelta(seconds=ready_within),
        stop_within=timedelta(seconds=stop_within),
    )


def nothing() -> None:
    """Take no notice of a change."""


@asynccontextmanager
async def supervised(logs: Path, *specs: ChildSpec) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(specs, logs, nothing)
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.stop()


def status_of(supervisor: Supervisor, name: str) -> ChildStatus:
    return next(child for child in supervisor.children if child.name == name)


def pid_of(supervisor: Supervisor, name: str) -> int:
    pid = status_of(supervisor, name).pid
    assert pid is not None
    return pid


SLEEPS = "import time; time.sleep(600)"


async def test_starts_a_child_only_when_the_one_it_needs_is_ready(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    first = child(
        "first", f"import time; time.sleep(0.3); open({str(ready)!r}, 'w'); time.sleep(600)", ready_file=ready
    )
    second = child(
        "second",
        f"import os, time; print('ready' if os.path.exists({str(ready)!r}) else 'early'); time.sleep(600)",
        after=("first",),
    )
    async with supervised(tmp_path, first, second):
        # The word and the end of its line are written one after the other.
        await until(lambda: (tmp_path / "second.log").read_text().endswith("\n"))
    assert (tmp_path / "second.log").read_text() == "ready\n"


async def test_refuses_a_child_that_needs_a_later_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'early' needs 'late'"):
        Supervisor([child("early", SLEEPS, after=("late",)), child("late", SLEEPS)], tmp_path, nothing)


async def test_restarts_a_killed_child(tmp_path: Path) -> None:
    async with supervised(tmp_path, child("sleeper", SLEEPS)) as supervisor:
        killed = pid_of(supervisor, "sleeper")
        os.kill(killed, signal.SIGKILL)
        await until(lambda: status_of(supervisor, "sleeper").pid not in {None, killed})
        await until(lambda: status_of(supervisor, "sleeper").state is ChildState.READY)
        assert status_of(supervisor, "sleeper").restarts == 1


async def test_a_child_that_exits_before_it_is_ready_fails_the_start_with_its_last_words(tmp_path: Path) -> None:
    failing = child(
        "failing",
        "import sys; print('the config is broken'); sys.exit(3)",
        ready_file=tmp_path / "never",
    )
    with pytest.raises(ChildFailedError) as failure:
        async with supervised(tmp_path, failing):
            pass
    assert failure.value.child == "failing"
    assert "exit code 3" in str(failure.value)
    assert str(tmp_path / "failing.log") in str(failure.value)
    assert failure.value.last_lines == ("the config is broken",)


async def test_a_child_that_is_never_ready_fails_the_start_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match=r"was not ready within 0\.3 s \(there is no .*/never\)"):
        async with supervised(tmp_path, child("slow", SLEEPS, ready_file=tmp_path / "never", ready_within=0.3)):
            pass


async def test_a_program_that_does_not_exist_fails_the_start(tmp_path: Path) -> None:
    async def ready() -> None:
        pass

    missing = ChildSpec(name="missing", command=("/nowhere/program",), environment={}, ready=ready)
    with pytest.raises(ChildFailedError, match="missing cannot be started"):
        async with supervised(tmp_path, missing):
            pass


async def test_a_failed_start_leaves_no_process(tmp_path: Path) -> None:
    good = child("good", SLEEPS)
    bad = child("bad", "raise SystemExit(1)", ready_file=tmp_path / "never", after=("good",))
    supervisor = Supervisor([good, bad], tmp_path, nothing)
    with pytest.raises(ChildFailedError):
        await supervisor.start()
    survivor = pid_of(supervisor, "good")
    await supervisor.stop()
    assert not is_running(survivor)


async def test_a_child_that_dies_again_and_again_is_reported_as_crash_looping(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    program = f"import os, sys, time\nif os.path.exists({str(flag)!r}): sys.exit('no more')\ntime.sleep(600)"
    async with supervised(tmp_path, child("flapping", program)) as supervisor:
        flag.touch()
        os.kill(pid_of(supervisor, "flapping"), signal.SIGKILL)
        await until(lambda: status_of(supervisor, "flapping").state is ChildState.CRASH_LOOPING)


async def test_stops_children_in_reverse_order(tmp_path: Path) -> None:
    program = (
        "import signal, sys, time\n"
        "def stop(*_):\n    print(time.monotonic_ns()); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "open({ready!r}, 'w')\n"
        "time.sleep(600)"
    )
    names = ("first", "second", "third")
    specs = [
        child(name, program.format(ready=str(tmp_path / f"{name}.ready")), ready_file=tmp_path / f"{name}.ready")
        for name in names
    ]
    async with supervised(tmp_path, *specs):
        pass
    stopped_at = [int((tmp_path / f"{name}.log").read_text()) for name in names]
    assert stopped_at == sorted(stopped_at, reverse=True)


async def test_kills_a_child_that_does_not_stop_in_time(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(ready)!r}, 'w')\n"
        "time.sleep(600)"
    )
    stubborn = child("stubborn", program, ready_file=ready, stop_within=0.2)
    async with supervised(tmp_path, stubborn) as supervisor:
        pid = pid_of(supervisor, "stubborn")
    assert not is_running(pid)


async def test_children_that_are_killed_are_waited_for_no_longer(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = f"import signal, time\nsignal.signal(15, signal.SIG_IGN)\nopen({str(ready)!r}, 'w')\ntime.sleep(600)"
    supervisor = Supervisor([child("stubborn", program, ready_file=ready, stop_within=600)], tmp_path, nothing)
    await supervisor.start()
    pid = pid_of(supervisor, "stubborn")
    stopping = asyncio.create_task(supervisor.stop())
    await supervisor.kill()
    await stopping
    assert not is_running(pid)


async def test_a_log_that_cannot_be_written_fails_the_start(tmp_path: Path) -> None:
    (tmp_path / "sleeper.log").mkdir()
    with pytest.raises(ChildFailedError, match="Is a directory"):
        async with supervised(tmp_path, child("sleeper", SLEEPS)):
            pass


async def test_a_child_does_not_get_the_signals_of_the_terminal(tmp_path: Path) -> None:
    async with supervised(tmp_path, child("sleeper", SLEEPS)) as supervisor:
        assert os.getpgid(pid_of(supervisor, "sleeper")) != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's own")
async def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from celadon.stack.child_log import ChildLog\n"
        "from celadon.stack.process import ChildProcess, ChildSpec\n"
        "async def ready(): pass\n"
        "async def main():\n"
        "    spec = ChildSpec(name='sleeper', command=('sleep', '600'), environment={}, ready=ready)\n"
        f"    print((await ChildProcess.start(spec, ChildLog(Path({str(tmp_path)!r}) / 'sleeper.log'))).pid)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        "-c",
        parent,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    child_pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    await until(lambda: not is_running(child_pid))
