"""One stack for all processes of a run of tests: the first that needs it starts it, the last that used it stops it."""

import asyncio
import fcntl
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from celadon.stack.addresses import StackAddresses
from celadon.stack.errors import StackError
from celadon.stack.shutdown import stop_stack
from tests.stack import stack_process
from tests.stack.stack_process import START_SECONDS

ROOT: Final = Path(__file__).parents[2]


@asynccontextmanager
async def shared_stack(directory: Path, *names: str) -> AsyncIterator[StackAddresses]:
    """Use the stack of all processes that name the same ``directory``, where they note which one it is.

    Whoever starts it starts the children with these names, or all.

    Locks on files say who uses it: a process that was killed does not count any more.

    Raises:
        AssertionError: the stack does not start, or leaves processes behind when it is stopped.

    """
    noted = directory / "stack"
    with (directory / "users").open("w") as users:
        async with _locked(directory):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not noted.exists():
                noted.write_text(str(await _start(names)))
            data_dir = Path(noted.read_text())
        try:
            yield StackAddresses.of_running(data_dir)
        finally:
            async with _locked(directory):
                if _is_last(users):
                    noted.unlink()
                    await _stop(data_dir)


@asynccontextmanager
async def _locked(directory: Path) -> AsyncIterator[None]:
    """Let no other process start or stop the stack meanwhile."""
    with (directory / "lock").open("w") as lock:
        # Another process may be starting the stack, which takes seconds; this one's event loop has other things to do.
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield


def _is_last(users: IO[str]) -> bool:
    """Whether no other process uses the stack; none begins to while this one holds the lock."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _start(names: Sequence[str]) -> Path:
    """Start a stack that may outlive this process, and wait until it is ready; return its data directory."""
    data_dir = _new_data_dir()
    process = _launch(data_dir, names)
    deadline = time.monotonic() + START_SECONDS
    while process.returncode is None and time.monotonic() < deadline:
        try:
            StackAddresses.of_running(data_dir)
        except StackError:
            await asyncio.sleep(0.1)
        else:
            return data_dir
    process.kill()
    raise AssertionError(f"the stack did not start:\n{_log(data_dir).read_text()}")


def _new_data_dir() -> Path:
    """Make a data directory that root's Postgres, which runs as another user, can reach too."""
    home = Path(tempfile.mkdtemp(prefix="celadon-tests-"))
    home.chmod(0o711)
    data_dir = home / "end-to-end"
    data_dir.mkdir(mode=0o711)
    return data_dir


def _launch(data_dir: Path, names: Sequence[str]) -> subprocess.Popen[bytes]:
    with _log(data_dir).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", stack_process.__name__, str(data_dir), "{}", *names],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    # Whichever process stops the stack, this one is its parent, for as long as it lives.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


async def _stop(data_dir: Path) -> None:
    """Stop the stack and remove its directory."""
    async with asyncio.timeout(START_SECONDS):
        stopped = await stop_stack(data_dir)
    told = _log(data_dir).read_text()
    shutil.rmtree(data_dir.parent)
    assert stopped.pid is not None, told
    assert stopped.ended == (), told


def _log(data_dir: Path) -> Path:
    """Return where the stack in a data directory prints."""
    return data_dir.with_suffix(".log")
