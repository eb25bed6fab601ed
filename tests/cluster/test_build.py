"""The build of the control plane, with a program in the place of Go that says what it was asked."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cluster import build
from tests.cluster.build import BuildFailedError, GoMissingError, NotBuiltError

NOWHERE: Final = "/nowhere"
REPOSITORY: Final = Path(__file__).parents[2]
BUILDS: Final = """#!/bin/sh
echo "$@" >> {log}
while [ "$1" != -o ]; do shift; done
sleep 0.2
echo built > "$2"
"""
FAILS: Final = """#!/bin/sh
echo "no required module provides package k8s.io/kubernetes"
exit 1
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache directory of a user without Go."""
    monkeypatch.setenv("PATH", NOWHERE)
    return tmp_path / "cache"


def install_go(directory: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    """Let a shell script be Go; return the file in which it says what it was asked."""
    program, log = directory / "go", directory / "go.log"
    program.write_text(text.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return log


def test_without_go_the_text_says_what_to_install(cache: Path) -> None:
    with pytest.raises(GoMissingError, match=r"there is no Go: install the version that .*go\.mod names"):
        build.build(cache)
    with pytest.raises(GoMissingError):
        build.built_program(cache)


def test_tests_do_not_build(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_go(tmp_path, monkeypatch, BUILDS)

    with pytest.raises(NotBuiltError, match=r"python -m tests\.cluster\.build"):
        build.built_program(cache)


def test_it_is_built_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = install_go(tmp_path, monkeypatch, BUILDS)

    assert build.build(cache) == build.build(cache) == build.built_program(cache)

    assert len(log.read_text().splitlines()) == 1


def ask(directory: Path, path: str) -> subprocess.Popen[str]:
    """Start the build, with a cache in ``directory``."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.build"],
        cwd=REPOSITORY,
        env={"PATH": path, "XDG_CACHE_HOME": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_processes_that_ask_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = install_go(tmp_path, monkeypatch, BUILDS)

    askers = [ask(tmp_path, f"{tmp_path}:/usr/bin:/bin") for _ in range(3)]
    answers = {asker.communicate(timeout=120)[0] for asker in askers}

    assert answers == {f"{tmp_path}/celadon-tests/control-plane/{build.key_of()}/control-plane\n"}
    assert [asker.returncode for asker in askers] == [0, 0, 0]
    assert len(log.read_text().splitlines()) == 1


def test_the_command_leaves_it_to_the_tests_to_be_skipped_without_go(tmp_path: Path) -> None:
    asker = ask(tmp_path, NOWHERE)

    said, _ = asker.communicate(timeout=120)

    assert said.startswith("The tests on a control plane will be skipped: there is no Go")
    assert asker.returncode == 0


def test_the_command_fails_with_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_go(tmp_path, monkeypatch, FAILS)
    asker = ask(tmp_path, f"{tmp_path}:/usr/bin:/bin")

    said, _ = asker.communicate(timeout=120)

    assert "no required module provides package" in said
    assert asker.returncode == 1


def test_what_a_killed_build_left_is_removed(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_go(tmp_path, monkeypatch, BUILDS)
    left = cache / build.key_of() / "draft"
    left.mkdir(parents=True)
    (left / build.PROGRAM).write_text("half a program")

    program = build.build(cache)

    assert program.read_text() == "built\n"
    assert not left.exists()


def test_a_failure_says_what_go_said_and_leaves_no_program(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_go(tmp_path, monkeypatch, FAILS)

    with pytest.raises(BuildFailedError, match=r"ended with 1:\nno required module provides package"):
        build.build(cache)

    with pytest.raises(NotBuiltError):
        build.built_program(cache)


def test_programs_that_nobody_used_for_long_are_removed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_go(tmp_path, monkeypatch, BUILDS)
    old, recent = cache / "old" / build.PROGRAM, cache / "recent" / build.PROGRAM
    for program in (old, recent):
        program.parent.mkdir(parents=True)
        program.write_text("built")
    os.utime(old, (0, 0))

    build.build(cache)

    assert (old.exists(), recent.exists()) == (False, True)


@pytest.mark.parametrize("file", ["go.sum", "go.mod", "main.go"])
def test_a_change_of_a_source_is_another_program(tmp_path: Path, file: str) -> None:
    for name in ("go.sum", "go.mod", "main.go"):
        (tmp_path / name).write_text(name)
    before = build.key_of(tmp_path)

    (tmp_path / file).write_text("other")

    assert build.key_of(tmp_path) != before


def test_the_version_is_the_pinned_one(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("require (\n\tk8s.io/kubectl v0.36.3\n\tk8s.io/kubernetes v1.36.3\n)\n")

    assert build.kubernetes_version(tmp_path) == "v1.36.3"


def test_little_memory_compiles_one_package_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{build.GIBIBYTE}\n")
    monkeypatch.setattr(build, "_CGROUP_LIMIT", limit)

    assert build.compilers_at_once() == 1
