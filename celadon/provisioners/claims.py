"""Claims of replicas: which process a replica is, also for a worker that did not start it."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from celadon.domain.language.names import RouteId
from celadon.owned_files import read_text
from celadon.provisioners.launcher import boot_id, read_stat

ROUTE_VARIABLE = "CELADON_ROUTE"
"""The environment variable that names a replica's route, in the replica and in all that it starts."""

_ENDED_STATES = frozenset({"Z", "X"})


@dataclass(frozen=True, slots=True)
class ProcessClaim:
    """The process that a replica is; none when it was stopped before it began."""

    pid: int | None
    start_ticks: str = ""
    boot: str = ""

    @classmethod
    def parse(cls, text: str) -> "ProcessClaim":
        """Read a claim as the launcher writes it; an empty one is a stop's."""
        if not text:
            return cls(None)
        pid, start_ticks, boot = text.split("\n")
        return cls(int(pid), start_ticks, boot)

    @property
    def of_this_boot(self) -> bool:
        """Whether the machine has not been restarted since."""
        return self.boot == boot_id()

    def is_running(self, route: RouteId) -> bool:
        """Whether the replica's own process has not ended; a process that got the same id later is not taken for it."""
        if self.pid is None or not self.of_this_boot:
            return False
        stat = read_stat(self.pid)
        if stat is None:
            return not self.start_ticks and route_of(self.pid) == route
        state, start_ticks = stat
        # A program may overwrite its environment, so a missing name proves nothing; another name does.
        return state not in _ENDED_STATES and start_ticks == self.start_ticks and route_of(self.pid) in {route, None}

    def group(self, route: RouteId) -> int | None:
        """Return the replica's process group when no other program can have it."""
        if self.pid is None or not self.of_this_boot:
            return None
        if self.is_running(route):
            return self.pid
        stat = read_stat(self.pid)
        if stat is not None:
            return self.pid if stat[1] == self.start_ticks else None
        # No process gets an id that is still some group's.
        return None if psutil.pid_exists(self.pid) else self.pid


def read_claim(path: Path) -> ProcessClaim | None:
    """Return the claim in a file, nothing when there is none.

    Raises:
        NotOursError: somebody else could have written it.

    """
    try:
        return ProcessClaim.parse(read_text(path, private=True))
    except FileNotFoundError:
        return None


def route_of(pid: int) -> str | None:
    """Return the route that a process's environment names; nothing when it names none or cannot be read."""
    try:
        return psutil.Process(pid).environ().get(ROUTE_VARIABLE)
    except (psutil.Error, OSError):
        return None


def group_exists(group: int) -> bool:
    """Whether a process group has members, those that nobody has waited for included."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
