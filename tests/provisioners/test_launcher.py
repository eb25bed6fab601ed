"""The launcher as a program."""

import signal
import subprocess
import sys
from pathlib import Path

from celadon.provisioners import launcher
from celadon.provisioners.claims import ProcessClaim, read_claim
from celadon.provisioners.launcher import CLAIM_SUFFIX, ERROR_SUFFIX, EXIT_CANNOT_EXECUTE, make_claim

ROUTE = "b2c1"


def launch(directory: Path, *command: str, working_dir: str = "") -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-I", "-S", launcher.__file__, str(directory), ROUTE, "", working_dir, *command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_runs_in_the_place_of_the_launcher_that_claimed(tmp_path: Path) -> None:
    done = launch(tmp_path, "sh", "-c", "echo $$")
    claim = read_claim(tmp_path / f"{ROUTE}{CLAIM_SUFFIX}")
    assert claim is not None
    assert done.stdout.strip() == str(claim.pid)
    assert claim.of_this_boot


def test_the_second_launcher_of_a_replica_leaves_quietly(tmp_path: Path) -> None:
    assert launch(tmp_path, "echo", "first").stdout == "first\n"
    second = launch(tmp_path, "echo", "second")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_a_launcher_after_a_stop_leaves_quietly(tmp_path: Path) -> None:
    assert make_claim(str(tmp_path), ROUTE, "")
    late = launch(tmp_path, "echo", "late")
    assert (late.returncode, late.stdout, late.stderr) == (0, "", "")
    assert read_claim(tmp_path / f"{ROUTE}{CLAIM_SUFFIX}") == ProcessClaim(None)


def test_a_claim_is_there_once_and_leaves_no_draft(tmp_path: Path) -> None:
    assert make_claim(str(tmp_path), ROUTE, "1\n2\n3")
    assert not make_claim(str(tmp_path), ROUTE, "")
    assert [path.name for path in tmp_path.iterdir()] == [f"{ROUTE}{CLAIM_SUFFIX}"]


def test_why_a_command_cannot_be_executed_is_written_down(tmp_path: Path) -> None:
    assert launch(tmp_path, "/nowhere/no-such-program").returncode == EXIT_CANNOT_EXECUTE
    reason = (tmp_path / f"{ROUTE}{ERROR_SUFFIX}").read_text()
    assert reason == "cannot execute '/nowhere/no-such-program': No such file or directory"


def test_the_command_runs_in_the_directory_that_is_wanted(tmp_path: Path) -> None:
    wanted = tmp_path / "wanted"
    wanted.mkdir()
    assert launch(tmp_path, "pwd", working_dir=str(wanted)).stdout.strip() == str(wanted)


def test_a_directory_that_is_not_there_is_named_and_nothing_executed(tmp_path: Path) -> None:
    done = launch(tmp_path, "echo", "executed", working_dir="/nowhere/at-all")
    assert (done.returncode, done.stdout) == (EXIT_CANNOT_EXECUTE, "")
    assert (tmp_path / f"{ROUTE}{ERROR_SUFFIX}").read_text() == (
        "cannot work in '/nowhere/at-all': No such file or directory"
    )


def test_a_replica_gets_signals_as_any_program_does(tmp_path: Path) -> None:
    done = launch(tmp_path, "sh", "-c", "kill -PIPE $$; echo survived")
    assert done.returncode == -signal.SIGPIPE
    assert done.stdout == ""


def test_the_launcher_imports_next_to_nothing() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules); "
        "import launcher; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(Path(launcher.__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "launcher" in done.stdout.split()
    assert not {"pathlib", "subprocess", "json", "socket", "celadon"} & set(done.stdout.split())
