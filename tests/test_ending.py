"""A command's exit code is its own, whatever happens to the interpreter afterwards."""

import json
import os
import subprocess
import sys

import pytest
from temporalio.testing import WorkflowEnvironment

from celadon.table.core.engine import Table

CRASH_AT_EXIT = "import atexit, os, temporalio.client\natexit.register(os.abort)\n"
RUN = "from celadon.ending import run_to_exit\n"


def _run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("program", "code"),
    [("print('done')", 0), ("sys.exit(1)", 1), ("sys.exit(2)", 2), ("sys.exit('told')", 1), ("1 / 0", 1)],
)
def test_the_code_survives_a_crash_of_the_interpreter_at_exit(program: str, code: int) -> None:
    ended = _run(f"{CRASH_AT_EXIT}{RUN}import sys\nrun_to_exit(lambda: exec({program!r}))")

    assert ended.returncode == code


def test_all_output_is_written_before_the_process_ends() -> None:
    ended = _run(f"{CRASH_AT_EXIT}{RUN}import sys\nrun_to_exit(lambda: print('x' * 100_000))")

    assert ended.returncode == 0
    assert len(ended.stdout) == 100_001


def test_a_bug_shows_where_it_is() -> None:
    ended = _run(f"{CRASH_AT_EXIT}{RUN}run_to_exit(lambda: 1 / 0)")

    assert "ZeroDivisionError" in ended.stderr


@pytest.mark.parametrize("loaded", ["sys", "temporalio.client"])
@pytest.mark.parametrize("length", [10, 100_000])
def test_a_reader_that_has_gone_makes_no_noise(loaded: str, length: int) -> None:
    # The reader has gone before the program begins, or a quick one would have written before it goes.
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", f"import {loaded}\n{RUN}run_to_exit(lambda: print('x' * {length}))"],
            check=False,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parts
@pytest.mark.parametrize("arguments", [("-m", "celadon"), ("-m", "celadon.cli.main")])
def test_commands_that_used_temporal_end_with_their_code(
    arguments: tuple[str, ...],
    table: Table,
    temporal_env: WorkflowEnvironment,
) -> None:
    environment = {
        "DATABASE_URL": table.database_url,
        "TEMPORAL_ADDRESS": temporal_env.client.service_client.config.target_host,
    }
    for _ in range(3):
        ended = subprocess.run(
            [sys.executable, *arguments, "doctor", "-o", "json"],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        assert ended.returncode == 1, ended.stderr
        findings = {one["check"]: one["verdict"] for one in json.loads(ended.stdout)["findings"]}
        assert findings["Temporal"] == "fine"
        assert findings["keeper"] == "wrong"
