"""Where the Unix sockets of a stack are: in a directory that its user alone can enter, with a path short enough."""

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from celadon.stack.errors import StackError

_LONGEST_NAME: Final = "router-9-admin.sock"
_LONGEST_SOCKET_PATH: Final = 103
"""Bytes that every system takes in the path of a Unix socket (Linux takes 107)."""


@dataclass(frozen=True, slots=True)
class SocketDirectory:
    """The directory of the sockets of one stack."""

    path: Path

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """Name the directory: within the data directory, or, where that would be too long a path, a temporary one."""
        beside = data_dir / "sockets"
        if len(os.fsencode(beside / _LONGEST_NAME)) <= _LONGEST_SOCKET_PATH:
            return cls(beside)
        short = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        return cls(Path(tempfile.gettempdir()) / f"celadon-sockets-{os.geteuid()}-{short}")

    def create(self) -> None:
        """Create the directory for this user alone, or check that it is such a one.

        Raises:
            StackError: somebody else made it, or may enter it.
            OSError: it cannot be created.

        """
        self.path.mkdir(mode=0o700, exist_ok=True)
        status = self.path.lstat()
        if (
            not stat.S_ISDIR(status.st_mode)
            or status.st_uid != os.geteuid()
            or stat.S_IMODE(status.st_mode) != stat.S_IRWXU
        ):
            raise StackError(
                f"{self.path} is not a directory that this user alone can enter: look at who made it, remove it and "
                "try again",
            )

    def remove(self) -> None:
        """Remove the directory with its sockets; one that is not there, or not this user's, is no error.

        Raises:
            OSError: it cannot be removed.

        """
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            shutil.rmtree(self.path)

    def gateway(self, name: str) -> Path:
        """Return the socket on which a gateway listens."""
        return self.path / f"{name}.sock"

    def admin(self, router: str) -> Path:
        """Return the socket of a router's admin interface."""
        return self.path / f"{router}-admin.sock"
