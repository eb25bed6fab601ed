"""The user of this machine that replicas run as, when that is not the worker's own.

Whatever runs as the worker's user can read the worker's keys, tokens and environment. As a user of their own, replicas
cannot; only root can become another user, or a process with the capabilities that ``deploy/systemd`` gives a worker.
"""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SHARED: Final = frozenset({"nobody", "nogroup", "daemon"})
"""Users as whom programs of all kinds run, Postgres of a local stack among them."""

NEEDED_CAPABILITIES: Final = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_PTRACE": 19,
}
"""Capabilities of a worker that is not root, by their bits: to become the user, to see its processes, to end them."""


class ReplicaUserError(ValueError):
    """Replicas cannot run as the user that is wanted; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ReplicaUser:
    """A user with the groups that its processes have."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    @classmethod
    def named(cls, name: str) -> "ReplicaUser":
        """Look a user up.

        Raises:
            ReplicaUserError: there is none of that name, or replicas had better not run as it.

        """
        try:
            entry = pwd.getpwnam(name)
        except KeyError as error:
            raise ReplicaUserError(
                f"this machine has no user {name!r}: add one for replicas alone, for example with "
                f"'useradd --system --user-group --create-home {name}'",
            ) from error
        if entry.pw_uid == 0 or name in _SHARED:
            why = "may do everything" if entry.pw_uid == 0 else "is shared with other programs"
            raise ReplicaUserError(f"{name!r} {why}: name a user that replicas alone have")
        groups = tuple(sorted(os.getgrouplist(name, entry.pw_gid)))
        return cls(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, entry.pw_shell)

    @property
    def identity(self) -> str:
        """How the launcher is told whom to become: user id, group id, and all groups, with commas between them."""
        return ",".join(map(str, (self.uid, self.gid, *self.groups)))

    @property
    def environment(self) -> dict[str, str]:
        """The variables that name the user to its programs."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}

    def check_that_it_can_be_become(self) -> None:
        """Refuse what would fail at each replica.

        Raises:
            ReplicaUserError: this process cannot start, see or end processes of that user, or is that user itself.

        """
        if self.uid == os.geteuid():
            raise ReplicaUserError(
                f"this worker itself runs as {self.name!r}: name another user, or replicas can read all that it can",
            )
        held = _effective_capabilities()
        missing = [name for name, bit in NEEDED_CAPABILITIES.items() if not held >> bit & 1]
        if missing:
            raise ReplicaUserError(
                f"this worker may not run programs as {self.name!r}: run it as root, or as deploy/systemd does "
                f"(missing: {', '.join(missing)})",
            )


def _effective_capabilities() -> int:
    """Return the capabilities of this process as a set of bits; root's where the platform has none."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return -1 if os.geteuid() == 0 else 0
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
