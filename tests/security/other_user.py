"""Another user of this machine, as whom a test tries what nobody but the owner may do."""

import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

_NUMBERS: Final = range(59_000, 60_000)
"""User ids that no distribution gives away by itself."""
_END_SECONDS: Final = 10

_AS_OTHER_USER: Final = """
import os, sys
uid, gid, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
paths = []
for path in sys.path:
    if os.path.isdir(path):
        paths.append(f"/proc/self/fd/{os.open(path, os.O_RDONLY | os.O_DIRECTORY)}")
    elif path:
        paths.append(path)
sys.path[:] = paths
os.chdir(directory)
os.umask(0o022)
os.setgroups([])
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
source = sys.argv[4]
sys.argv[:] = ["attack", *sys.argv[5:]]
exec(compile(source, "attack", "exec"), {"__name__": "__main__"})
"""
"""Becomes the other user and then runs a program.

Where Python itself lies below a home directory that nobody else may enter, the other user still finds its modules: by
descriptors of their directories, opened before.
"""


@dataclass(slots=True)
class OtherUser:
    """A user of this machine who is neither the one that runs the tests nor in any of the groups of that one."""

    uid: int
    gid: int
    directory: Path
    """A directory that this user owns and everybody can enter: the current one of the programs."""
    _started: list[subprocess.Popen[str]] = field(default_factory=list, repr=False)

    @classmethod
    def without_name(cls, directory: Path) -> Self:
        """Return a user whose id stands in no list of this machine: nothing can be meant for this user."""
        taken = {one.pw_uid for one in pwd.getpwall()} | {one.gr_gid for one in grp.getgrall()}
        number = next(number for number in _NUMBERS if number not in taken)
        return cls._owning(number, number, directory)

    @classmethod
    def named(cls, name: str, directory: Path) -> Self:
        """Return a user of this machine by name, for what a nameless one could not even ask for (``nobody``)."""
        entry = pwd.getpwnam(name)
        return cls._owning(entry.pw_uid, entry.pw_gid, directory)

    @classmethod
    def _owning(cls, uid: int, gid: int, directory: Path) -> Self:
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
        os.chown(directory, uid, gid)
        return cls(uid, gid, directory)

    def start(self, arguments: Sequence[str | Path]) -> subprocess.Popen[str]:
        """Start a program of the machine as this user, with pipes for its input and output.

        The fixture ends it after the test.
        """
        return self._keep(
            subprocess.Popen(
                [str(one) for one in arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=self.directory,
                env={"PATH": os.defpath},
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                umask=0o022,
            ),
        )

    def start_python(self, source: str, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a Python program, given as text, as this user; ``sys.argv[1:]`` are the arguments.

        It can import what the tests can, Celadon included. The fixture ends it after the test.
        """
        return self._keep(
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _AS_OTHER_USER,
                    str(self.uid),
                    str(self.gid),
                    self.directory,
                    source,
                    *map(str, arguments),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={"PATH": os.defpath},
            ),
        )

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the machine as this user to its end, at most a minute."""
        return _finished(self.start(arguments))

    def run_python(self, source: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a Python program, given as text, as this user to its end, at most a minute."""
        return _finished(self.start_python(source, *arguments))

    def end(self) -> None:
        """End every program that was started."""
        for process in self._started:
            process.kill()
            process.communicate(timeout=_END_SECONDS)
        self._started.clear()

    def _keep(self, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        self._started.append(process)
        return process


def _finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
