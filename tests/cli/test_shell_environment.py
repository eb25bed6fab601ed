"""``celadon env``: a shell that takes its lines speaks to the stack, whatever it spoke to before."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from celadon.stack.addresses import StackAddresses
from celadon.stack.layout import DataDirectory
from celadon.stack.programs import temporal_program
from tests.cli.conftest import Command

TEMPORAL = "127.0.0.1:7777"
ELSEWHERE = {
    "DATABASE_URL": "postgresql+asyncpg://celadon@elsewhere/celadon",
    "CELADON_URL": "https://celadon.example.com",
    "CELADON_TOKEN": "of-another-celadon",
    "CELADON_PROFILE": "production",
    "TEMPORAL_ADDRESS": "elsewhere:7233",
    "TEMPORAL_API_KEY": "of-another-temporal",
    "TEMPORAL_TLS": "of-another-tls",
    "TEMPORAL_PROFILE": "production",
}


@pytest.fixture(autouse=True)
def _nothing_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no program ``temporal`` be found before the lines are taken."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture(params=["plain", "it's a 'quoted' $HOME"])
def data_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Return the directory of a stack that runs, as far as its files tell."""
    directory = DataDirectory.create(tmp_path / str(request.param))
    addresses = StackAddresses(
        database_url="postgresql+asyncpg://celadon@/celadon?host=/socket",
        temporal_address=TEMPORAL,
        temporal_ui="",
        router="",
        preview_router="",
        router_admin=Path(),
        gateway="",
        metrics="",
        gateway_metrics="",
        preview_key="key-to-previews",
        data_dir=directory.path,
        pid=1,
    )
    with directory.locked():
        addresses.write(directory.stack_file)
        yield directory.path


def _environment_after(lines: str, before: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a POSIX shell that has taken lines."""
    ran = subprocess.run(
        ["/bin/sh", "-c", 'set -eu; eval "$LINES_OF_CELADON"; env -0'],
        env={"PATH": "/usr/bin:/bin", "LINES_OF_CELADON": lines, **before},
        check=True,
        capture_output=True,
        text=True,
    )
    pairs = [pair.partition("=") for pair in ran.stdout.split("\0") if pair]
    return {name: value for name, _, value in pairs}


async def test_the_shell_speaks_to_the_stack(data_dir: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)

    result = await command("env", "--data-dir", str(data_dir))
    after = _environment_after(result.stdout, ELSEWHERE)

    assert (result.exit_code, result.stderr) == (0, "")
    assert after["TEMPORAL_ADDRESS"] == TEMPORAL
    assert after["CELADON_DATA_DIR"] == str(data_dir)
    assert after["TEMPORAL_CONFIG_FILE"] == os.devnull
    assert not {name for name, value in ELSEWHERE.items() if after.get(name) == value}
    assert after["PATH"] == f"{temporal_program().parent}:/usr/bin:/bin"


async def test_nothing_secret_is_printed(data_dir: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)

    private = (*ELSEWHERE.values(), "key-to-previews", "postgresql")
    printed = [(await command("env", "--data-dir", str(data_dir), "-o", form)).stdout for form in ("table", "json")]

    assert not [text for text in printed if any(one in text for one in private)]


async def test_a_temporal_that_is_found_already_needs_no_path(
    data_dir: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{temporal_program().parent}:/usr/bin")

    result = await command("env", "--data-dir", str(data_dir))

    assert "PATH=" not in result.stdout


async def test_programs_get_whole_values(data_dir: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "of another Temporal")

    result = await command("env", "--data-dir", str(data_dir), "-o", "json")

    changes = json.loads(result.stdout)
    assert changes["variables"]["TEMPORAL_ADDRESS"] == TEMPORAL
    assert changes["variables"]["PATH"] == f"{temporal_program().parent}:/usr/bin:/bin"
    assert changes["unset"] == ["TEMPORAL_API_KEY"]


async def test_where_no_stack_runs_nothing_is_printed_for_the_shell(command: Command, tmp_path: Path) -> None:
    result = await command("env", "--data-dir", str(tmp_path))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "no stack runs in" in result.stderr


@pytest.mark.parametrize("named", [True, False], ids=["by option", "by environment"])
async def test_a_stopped_stack_is_told_so(
    data_dir: Path, command: Command, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    directory = DataDirectory(data_dir.parent / "stopped")
    DataDirectory.create(directory.path).settings_file.write_text("{}")
    monkeypatch.setenv("CELADON_DATA_DIR", str(directory.path))

    result = await command("env", *(("--data-dir", str(directory.path)) if named else ()))

    start = f"celadon up --data-dir {directory.path}" if named else "celadon up"
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"the stack in {directory.path} is stopped: {start}" in result.stderr.replace("\n", " ")


def test_it_needs_no_library_that_only_processes_of_celadon_need() -> None:
    program = (
        "import sys, celadon.cli.main, celadon.cli.shell_environment\n"
        "from celadon.extras import MODULES_OF_SERVER\n"
        "print(sorted(MODULES_OF_SERVER & sys.modules.keys()))"
    )

    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert loaded.stdout.strip() == "[]"
