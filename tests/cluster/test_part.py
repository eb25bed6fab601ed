"""The processes of a control plane and of nodes."""

import asyncio
import sys
from pathlib import Path

import pytest
from lightkube import KubeConfig

from tests.cluster import part
from tests.cluster.credentials import make_credentials, write_kubeconfig
from tests.cluster.part import Part, PartFailedError
from tests.stack.processes import is_running, until


async def never() -> bool:
    """Say that a part is not ready."""
    return False


def python(code: str, logs: Path) -> Part:
    """Return a part that runs some Python."""
    return Part("sample", (sys.executable, "-S", "-c", code), logs)


async def said(running: Part, text: str) -> bool:
    """Whether a part has said something."""
    return text in running.log.read_text()


async def test_a_part_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    failing = python("print('no space left'); raise SystemExit(1)", tmp_path)
    await failing.start()

    with pytest.raises(PartFailedError, match="sample ended before it answers") as failed:
        await failing.wait_until(never, "it answers")

    assert "no space left" in str(failed.value)


async def test_a_part_that_is_not_ready_in_time_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "READY_SECONDS", 0.2)
    slow = python("import time; time.sleep(600)", tmp_path)
    await slow.start()
    try:
        with pytest.raises(PartFailedError, match="until it answers"):
            await slow.wait_until(never, "it answers")
    finally:
        await slow.kill()


async def test_a_part_that_ignores_its_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "STOP_SECONDS", 0.2)
    stubborn = python(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)", tmp_path
    )
    await stubborn.start()
    await stubborn.wait_until(lambda: said(stubborn, "up"), "it is up")
    pid = stubborn.pid

    await stubborn.stop()

    assert not is_running(pid)
    assert not stubborn.is_running


async def test_a_part_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from tests.cluster.part import Part\n"
        "async def main():\n"
        "    nap = (sys.executable, '-S', '-c', 'import time; time.sleep(600)')\n"
        "    part = Part('child', nap, pathlib.Path(sys.argv[1]))\n"
        "    await part.start()\n"
        "    print(part.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(tmp_path)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())

    parent.kill()
    await parent.wait()

    await until(lambda: not is_running(child))


def test_what_does_not_run_takes_no_signal(tmp_path: Path) -> None:
    with pytest.raises(PartFailedError, match="sample does not run"):
        _ = python("", tmp_path).pid


def test_a_kubeconfig_is_the_users_alone_and_says_who_is_meant(tmp_path: Path) -> None:
    made = make_credentials(tmp_path)

    file = write_kubeconfig(tmp_path / "kubeconfig", {"server": "https://127.0.0.1:1"}, made.token, "models")

    config = KubeConfig.from_file(file).get()
    assert config is not None
    assert config.user is not None
    assert (config.cluster.server, config.user.token, config.namespace) == ("https://127.0.0.1:1", made.token, "models")
    assert file.stat().st_mode & 0o077 == 0
