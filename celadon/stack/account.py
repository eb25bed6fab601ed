"""The operating-system account under which a child runs."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from celadon.stack.errors import StackError

_PROBE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, with the one group its processes have."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> Self:
        """Look ``name`` up.

        Raises:
            StackError: this machine has no such user.

        """
        try:
            entry = pwd.getpwnam(name)
        except KeyError as error:
            raise StackError(f"this machine has no user {name!r}: add it, or run as an ordinary user") from error
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @classmethod
    def current(cls) -> Self:
        """Return the user this process runs as.

        Raises:
            StackError: the user id has no name, which Postgres needs.

        """
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError as error:
            raise StackError(
                f"user id {os.geteuid()} has no name on this machine, and Postgres needs one: add it to /etc/passwd",
            ) from error
        return cls(entry.pw_name, entry.pw_uid, os.getegid())

    @property
    def is_current(self) -> bool:
        """Whether this process already runs as this user."""
        return self.uid == os.geteuid()

    def can_enter(self, directory: Path) -> bool:
        """Whether a process of this user can use files below ``directory``, by the kernel's own answer."""
        return self._test("-x", directory)

    def can_read(self, file: Path) -> bool:
        """Whether a process of this user can read ``file``."""
        return self._test("-r", file)

    def _test(self, condition: str, path: Path) -> bool:
        other = not self.is_current
        finished = subprocess.run(  # noqa: S603 - a program of every Unix, asked about a path of our own
            ["test", condition, str(path)],  # noqa: S607 - it lies elsewhere on every Unix
            check=False,
            timeout=_PROBE_SECONDS,
            cwd="/",
            user=self.uid if other else None,
            group=self.gid if other else None,
            extra_groups=[] if other else None,
        )
        return finished.returncode == 0


def account_for_postgres() -> Account:
    """Return the user that Postgres runs as: this one, or ``nobody`` for root, whom Postgres refuses.

    Raises:
        StackError: there is no such user on this machine.

    """
    current = Account.current()
    return Account.named("nobody") if current.uid == 0 else current
