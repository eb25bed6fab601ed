"""The process of a container."""

import signal
import sys
from pathlib import Path

import pytest

from tests.cluster.kubelet.container_process import ContainerProcess, Ended, StartError, bytes_of
from tests.stack.processes import is_running, until

MEBIBYTE = 2**20


async def start(tmp_path: Path, code: str, memory_limit: int | None = None) -> ContainerProcess:
    """Start some Python."""
    command = (sys.executable, "-S", "-c", code)
    return await ContainerProcess.start(command, {}, tmp_path, tmp_path / "log", memory_limit)


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("", Ended(0, "Completed")),
        ("raise SystemExit(3)", Ended(3, "Error")),
        ("import os; os.kill(os.getpid(), 11)", Ended(128 + signal.SIGSEGV, "Error")),
    ],
)
async def test_ends_have_the_exit_codes_of_containers(tmp_path: Path, code: str, ended: Ended) -> None:
    process = await start(tmp_path, code)

    assert await process.wait() == ended


async def test_a_process_over_its_memory_is_killed(tmp_path: Path) -> None:
    process = await start(tmp_path, f"import time; held = bytearray({300 * MEBIBYTE}); time.sleep(600)", 100 * MEBIBYTE)

    assert await process.wait() == Ended(137, "OOMKilled")


async def test_what_a_process_started_ends_with_it(tmp_path: Path) -> None:
    nap = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    process = await ContainerProcess.start(
        (sys.executable, "-S", "-c", nap), {"PATH": "/usr/bin:/bin"}, tmp_path, tmp_path / "log"
    )

    await process.wait()

    child = int(process.last_words())
    await until(lambda: not is_running(child))


@pytest.mark.parametrize("command", [(), ("no-such-program",), ("/etc/hostname",)])
async def test_a_command_that_cannot_be_executed_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    with pytest.raises(StartError):
        await ContainerProcess.start(command, {"PATH": "/usr/bin"}, tmp_path, tmp_path / "log")


async def test_last_words_are_the_end_of_the_output(tmp_path: Path) -> None:
    process = await start(tmp_path, "for n in range(1000): print(n)")
    await process.wait()

    words = process.last_words().splitlines()

    assert (words[0], words[-1], len(words)) == ("920", "999", 80)


@pytest.mark.parametrize(
    ("quantity", "size"), [("1024", 1024), ("64Mi", 64 * MEBIBYTE), ("2G", 2_000_000_000), ("1Gi", 1024 * MEBIBYTE)]
)
def test_quantities_are_bytes(quantity: str, size: int) -> None:
    assert bytes_of(quantity) == size


@pytest.mark.parametrize("quantity", ["", "1.5Gi", "many", "1e3", "5Xi"])
def test_other_quantities_are_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="whole number of bytes"):
        bytes_of(quantity)
