"""A stack whose terminal was closed, or whose output nobody reads any more."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from celadon.stack.addresses import StackAddresses
from celadon.stack.environment import python_environment
from celadon.stack.errors import StackError
from tests.stack.processes import is_running, until

pytestmark = [pytest.mark.stack, pytest.mark.shared]

DATABASES = ("postgres", "temporal")
DATABASES_ALONE = ("tests.stack.stack_process", "{data_dir}", "{{}}", *DATABASES)
"""Without what these tests are not about."""

CELADON_UP = ("celadon.cli.main", "up", "--data-dir", "{data_dir}")


@contextlib.contextmanager
def running(
    program: tuple[str, ...],
    data_dir: Path,
    *,
    stdout: int,
    stderr: int,
    terminal: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a stack in a process of its own, perhaps as what a shell runs in a terminal."""

    def take_terminal() -> None:
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # these tests themselves may run under nohup
        if terminal is not None:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", *(word.format(data_dir=data_dir) for word in program)],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        cwd=Path(__file__).parents[2],
        env=python_environment({}),
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509 - short, and takes no lock
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


async def until_ready(data_dir: Path, process: subprocess.Popen[bytes]) -> StackAddresses:
    """Wait until the stack says in its directory where it is: nobody reads what it prints."""
    found: list[StackAddresses] = []

    def is_ready() -> bool:
        assert process.poll() is None, "the stack ended"
        with contextlib.suppress(StackError):
            found.append(StackAddresses.of_running(data_dir))
        return bool(found)

    await until(is_ready)
    return found[-1]


async def assert_ends(process: subprocess.Popen[bytes], addresses: StackAddresses) -> None:
    await until(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert [pid for pid in addresses.children.values() if is_running(pid)] == []


@pytest.mark.parametrize("with_signal", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_a_stack_whose_output_nobody_reads(data_dir: Path, with_signal: signal.Signals) -> None:
    (out, stdout), (err, stderr) = os.pipe(), os.pipe()
    with running(DATABASES_ALONE, data_dir, stdout=stdout, stderr=stderr) as process:
        addresses = await until_ready(data_dir, process)
        for descriptor in (out, stdout, err, stderr):
            os.close(descriptor)

        process.send_signal(with_signal)

        await assert_ends(process, addresses)


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_a_stack_that_ignored_the_end_of_its_terminal(
    data_dir: Path,
    with_signal: signal.Signals,
) -> None:
    """A terminal that is gone fails each write with EIO, where a pipe fails with EPIPE."""
    terminal, end = pty.openpty()
    with running(DATABASES_ALONE, data_dir, stdout=end, stderr=end) as process:
        addresses = await until_ready(data_dir, process)
        os.close(end)
        os.close(terminal)

        process.send_signal(with_signal)

        await assert_ends(process, addresses)


async def test_closing_the_terminal_of_celadon_up_stops_the_stack(data_dir: Path) -> None:
    terminal, end = pty.openpty()
    with running(CELADON_UP, data_dir, stdout=end, stderr=end, terminal=end) as process:
        addresses = await until_ready(data_dir, process)
        os.close(end)

        os.close(terminal)

        await assert_ends(process, addresses)


async def test_a_shell_that_repeats_the_end_of_the_terminal_does_not_cut_the_stop_short(data_dir: Path) -> None:
    err, stderr = os.pipe()
    with running(DATABASES_ALONE, data_dir, stdout=subprocess.DEVNULL, stderr=stderr) as process:
        addresses = await until_ready(data_dir, process)
        os.close(stderr)
        process.send_signal(signal.SIGHUP)
        await until(lambda: not (data_dir / "stack.json").exists())
        process.send_signal(signal.SIGHUP)
        await assert_ends(process, addresses)
    with os.fdopen(err, "rb") as told:
        assert b"stack.killing" not in told.read()


async def test_celadon_up_runs_on_when_nobody_reads_where_it_is(data_dir: Path) -> None:
    """As in ``celadon up | head -1``."""
    out, stdout = os.pipe()
    with running(CELADON_UP, data_dir, stdout=stdout, stderr=subprocess.DEVNULL) as process:
        os.close(stdout)
        os.close(out)
        addresses = await until_ready(data_dir, process)
        process.terminate()
        await assert_ends(process, addresses)
