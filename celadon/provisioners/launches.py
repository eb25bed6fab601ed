"""Launchers that this process has started and not waited for; each becomes its replica or leaves.

``subprocess`` is made for children that end before their parent does. A replica is to outlive the worker.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from celadon.domain.language.names import RouteId
from celadon.provisioners import launcher

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What becomes a replica."""

    directory: str
    """Of the replica's claim."""
    command: Sequence[str]
    environment: Mapping[str, str]
    identity: str = ""
    """Of the user that the replica runs as (see ``ReplicaUser``); empty for this process's."""
    working_dir: str = ""
    """An absolute path; empty for this process's."""


class Launches:
    """The children of this process, by the route that each was launched for."""

    def __init__(self) -> None:
        """Begin with no children."""
        self._pids: dict[RouteId, int] = {}
        self._exit_codes: dict[RouteId, int] = {}

    def launch(self, route: RouteId, what: Launch, output: int) -> None:
        """Start a launcher, which makes itself a session of its own and writes to the descriptor ``output``.

        Raises:
            OSError: the operating system refuses the command, for example as too long.
            ValueError: a part of the command cannot be an argument.

        """
        self._exit_codes.pop(route, None)
        self._pids[route] = os.posix_spawn(
            sys.executable,
            [
                *(sys.executable, "-I", "-S", launcher.__file__),
                *(what.directory, route, what.identity, what.working_dir, *what.command),
            ],
            what.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, _STDIN, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, _STDOUT),
                (os.POSIX_SPAWN_DUP2, output, _STDERR),
            ],
            setsigmask=(),
            setsigdef=_IGNORED_BY_PYTHON,
        )

    def is_running(self, route: RouteId) -> bool:
        """Whether a child was launched for the route and runs, as launcher or as replica."""
        self._poll(route)
        return route in self._pids and route not in self._exit_codes

    def exit_code(self, route: RouteId, pid: int) -> int | None:
        """Return how a replica ended, negative for a signal; nothing while it runs or when it is no child of ours."""
        return self._poll(route) if self._pids.get(route) == pid else None

    def forget(self, route: RouteId) -> None:
        """Drop what is known of a child that has ended."""
        self._poll(route)
        self._pids.pop(route, None)
        self._exit_codes.pop(route, None)

    def _poll(self, route: RouteId) -> int | None:
        """Wait for a child, without waiting, so that it does not stay a zombie."""
        if route in self._pids and route not in self._exit_codes:
            try:
                pid, status = os.waitpid(self._pids[route], os.WNOHANG)
            except ChildProcessError:
                # Somebody else in this process has waited for it, so how it ended is lost.
                del self._pids[route]
                return None
            if pid:
                self._exit_codes[route] = os.waitstatus_to_exitcode(status)
        return self._exit_codes.get(route)
