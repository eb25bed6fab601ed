"""Builds the control plane of the tests from Go modules, once for all sessions of tests on a machine.

The program is kept in the user's cache directory under a key made of all that decides what it is: a change of a source
file or of ``go.sum`` builds another one beside it. ``python -m tests.cluster.build`` builds it ahead of the tests: a
cold build takes minutes, longer than a test may take. Where modules come from is Go's own configuration.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil

SOURCES: Final = Path(__file__).parent / "control_plane"
PROGRAM: Final = "control-plane"
UNUSED_FOR: Final = timedelta(days=30)
"""Programs of other keys that no tests have used for so long are removed when a new one is built."""

GIBIBYTE: Final = 2**30
MEMORY_OF_ONE_COMPILER: Final = int(1.5 * GIBIBYTE)
"""What one package at a time needs, linker included, in bytes: the measured peak of two is 2.3 GiB."""

_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
_VERSION_PACKAGE: Final = "k8s.io/component-base/version"
_LAST_LINES: Final = 30


class GoMissingError(Exception):
    """There is neither the program nor a Go to build it with; the text says what to install."""


class NotBuiltError(Exception):
    """The program has not been built yet, although there is a Go; the text says which command builds it."""


class BuildFailedError(Exception):
    """Go could not build the program; the text has Go's last lines."""


def cache_directory() -> Path:
    """Return where built programs are kept, a directory for each key."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "celadon-tests" / "control-plane"


def key_of(sources: Path = SOURCES) -> str:
    """Return a name that changes with the sources, the pinned modules and the kind of machine."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for file in sorted([*sources.glob("*.go"), sources / "go.mod", sources / "go.sum"]):
        digest.update(b"\0" + file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:32]


def kubernetes_version(sources: Path = SOURCES) -> str:
    """Return the pinned version of Kubernetes, such as ``v1.36.3``.

    Raises:
        ValueError: ``go.mod`` pins none.

    """
    pinned = re.search(r"k8s\.io/kubernetes (v\S+)", (sources / "go.mod").read_text(encoding="utf-8"))
    if pinned is None:
        raise ValueError(f"{sources / 'go.mod'} requires no k8s.io/kubernetes: pin its version there")
    return pinned[1]


def built_program(cache: Path | None = None) -> Path:
    """Return the program without building it, which takes longer than a test may take.

    Raises:
        GoMissingError: there is none, and no Go.
        NotBuiltError: there is none yet.

    """
    program = (cache or cache_directory()) / key_of() / PROGRAM
    if program.exists():
        os.utime(program)
        return program
    _go()
    raise NotBuiltError("the control plane is not built: run 'python -m tests.cluster.build'")


def build(cache: Path | None = None) -> Path:
    """Return the program, built now where no earlier build of the same sources is left.

    Processes that ask at once wait for the first one. A build that is killed leaves no program, and no lock.

    Raises:
        GoMissingError: there is neither the program nor a Go.
        BuildFailedError: Go refuses the sources, finds no modules, or runs out of memory.

    """
    parent = cache or cache_directory()
    parent.mkdir(parents=True, exist_ok=True)
    key = key_of()
    program = parent / key / PROGRAM
    if not program.exists():
        go = _go()
        with _locked(parent / f"{key}.lock"):
            if not program.exists():
                _remove_unused(parent, key)
                _build(go, program)
    os.utime(program)
    return program


def compilers_at_once() -> int:
    """Return how many packages Go may compile at once in the memory that is free now; never more than processors."""
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no control groups here, or no limit ("max")
        free = min(free, int(_CGROUP_LIMIT.read_text(encoding="ascii")))
    return max(1, min(os.cpu_count() or 1, free // MEMORY_OF_ONE_COMPILER))


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise GoMissingError(
            "there is no Go: install the version that tests/cluster/control_plane/go.mod names, or a newer one, and "
            "put 'go' on the path"
        )
    return go


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock on ``file`` that ends with the process, however it ends."""
    with file.open("wb") as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _build(go: str, program: Path) -> None:
    """Build the program under another name, then give it its own: it appears complete or not at all."""
    version = kubernetes_version()
    words = {"gitVersion": version, "gitMajor": version[1:].split(".")[0], "gitMinor": version.split(".")[1]}
    link = " ".join(["-s", "-w", *(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in words.items())])
    program.parent.mkdir(exist_ok=True)
    # Inside the lock nobody else builds here: what is left is of builds that were killed.
    for left in program.parent.iterdir():
        shutil.rmtree(left)
    draft = Path(tempfile.mkdtemp(dir=program.parent)) / PROGRAM
    command = [go, "build", "-p", str(compilers_at_once()), "-mod=readonly", "-trimpath", "-buildvcs=false"]
    ended = subprocess.run(
        [*command, "-ldflags", link, "-o", str(draft), "."],
        cwd=SOURCES,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        shutil.rmtree(draft.parent)
        said = "\n".join(ended.stdout.splitlines()[-_LAST_LINES:])
        raise BuildFailedError(f"'go build' of tests/cluster/control_plane ended with {ended.returncode}:\n{said}")
    draft.replace(program)
    draft.parent.rmdir()


def _remove_unused(parent: Path, key: str) -> None:
    """Remove programs that nobody has used for long; a test that runs now has just touched its own."""
    oldest = time.time() - UNUSED_FOR.total_seconds()
    for program in parent.glob(f"*/{PROGRAM}"):
        if program.parent.name != key and program.stat().st_mtime < oldest:
            shutil.rmtree(program.parent)


def main() -> int:
    """Build ahead of the tests; without Go say so and let the tests be skipped by name. Return the exit status."""
    try:
        program = build()
    except GoMissingError as missing:
        sys.stderr.write(f"The tests on a control plane will be skipped: {missing}.\n")
    except BuildFailedError as failed:
        sys.stderr.write(f"{failed}\n")
        return 1
    else:
        sys.stdout.write(f"{program}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
