"""What lies where in a stack's data directory."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TextIO

from celadon.owned_files import NotOursError, check_contents, check_directory, make_directory, open_to_lock, read_file
from celadon.stack.errors import DirectoryInUseError, StackError
from celadon.stack.sockets import SocketDirectory

DEFAULT_DATA_DIR: Final = Path(".celadon")
"""Where a stack lives when nothing else is said: below the directory in which it is started."""

DEMO_DATA_DIR: Final = DEFAULT_DATA_DIR / "demo"
"""Where the stack of the demonstration lives when nothing else is said."""

POSTGRES_NAMES: Final = ("postgres", "postgres.path")
"""The directory of a stack's Postgres, where it lies within the data directory, and what remembers where it lies."""

_ROUTERS: Final = "routers"
_STOPPING: Final = "stopping\n"
_LOCK_TRIES: Final = 5
_LOCK_TRY_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """All that a stack keeps; to remove the directory is to forget the stack."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create the directory unless it exists, and the ones below it; check what is there already.

        Raises:
            StackError: it cannot be created or written, or somebody else could have written what lies there.

        """
        directory = cls.make(path)
        try:
            check_contents(directory.path, skipping=_has_rules_of_its_own)
            for private in (directory.logs, directory.replicas, directory.temporal_database.parent):
                make_directory(private)
            directory.sockets.create()
        except OSError as error:
            raise _unusable(path, error) from error
        return directory

    @classmethod
    def make(cls, path: Path) -> Self:
        """Create the directory alone unless it exists.

        Raises:
            StackError: it cannot be created, or is not ours alone.

        """
        try:
            # Root's Postgres runs as another user, who must get through; what is secret has its own permissions.
            return cls(make_directory(path.expanduser().absolute(), 0o711 if os.geteuid() == 0 else 0o700))
        except OSError as error:
            raise _unusable(path, error) from error

    @classmethod
    def find(cls, path: Path) -> Self | None:
        """Return the directory, or ``None`` when there is none.

        Raises:
            StackError: it is not ours alone, so nothing that it says is believed.

        """
        try:
            return cls(check_directory(path.expanduser().absolute()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StackError(f"the data directory {path} is not trusted: {error}") from error

    @property
    def stack_file(self) -> Path:
        """Where everything is, while the stack runs; readable by its owner alone."""
        return self.path / "stack.json"

    @property
    def settings_file(self) -> Path:
        """What stays the same from start to start."""
        return self.path / "settings.json"

    @property
    def children_file(self) -> Path:
        """The processes that run, for a next start that finds them left behind."""
        return self.path / "children.json"

    @property
    def lock_file(self) -> Path:
        """Held locked by the stack that runs in the directory; names its process."""
        return self.path / "lock"

    @property
    def logs(self) -> Path:
        """One file a child."""
        return self.path / "logs"

    @property
    def replicas(self) -> Path:
        """What the keeper keeps of the replicas it started."""
        return self.path / "replicas"

    @property
    def admin_token(self) -> Path:
        """The token with which the owner of the stack calls its API; for its owner alone."""
        return self.path / "admin-token"

    @property
    def signing_key(self) -> Path:
        """The key with which the API signs what it has verified; for its owner alone."""
        return self.path / "api-signing-key.pem"

    @property
    def verify_keys(self) -> Path:
        """The keys by which workers know the API's signatures."""
        return self.path / "api-verify-keys.pem"

    @property
    def temporal_database(self) -> Path:
        """The SQLite file of the Temporal server."""
        return self.path / "temporal" / "server.sqlite"

    @property
    def sockets(self) -> SocketDirectory:
        """Where gateways and the admin interfaces of routers listen."""
        return SocketDirectory.of(self.path)

    @property
    def authority(self) -> Path:
        """The CA that signs for routers elsewhere; made when the first one is enrolled."""
        return self.path / "authority"

    @property
    def demo_mark(self) -> Path:
        """The mark of a directory that the demonstration has made for itself, and empties."""
        return self.path / "celadon-demo"

    @property
    def own_names(self) -> frozenset[str]:
        """The names of all that a stack writes into its directory, some of them at times alone."""
        files = (self.stack_file, self.settings_file, self.children_file, self.lock_file, self.demo_mark)
        keys = (self.admin_token, self.signing_key, self.verify_keys)
        places = (self.logs, self.replicas, self.temporal_database.parent, self.authority, self.path / _ROUTERS)
        return frozenset(path.name for path in (*files, *keys, *places)) | {"sockets", *POSTGRES_NAMES}

    def router_files(self, node: str) -> Path:
        """Return the directory with what a router starts from."""
        return self.path / _ROUTERS / node

    def is_of_a_stack(self) -> bool:
        """Whether a stack runs or has run in the directory."""
        return self.settings_file.exists()

    def is_in_use(self) -> bool:
        """Whether a stack runs in the directory.

        Raises:
            StackError: its lock is not ours alone.

        """
        try:
            with os.fdopen(open_to_lock(self.lock_file, create=False)) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except NotOursError as error:
            raise StackError(f"the data directory {self.path} is not trusted: {error}") from error
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def locked(self) -> Iterator["HeldLock"]:
        """Hold the directory for this process; the kernel lets go of it however the process ends.

        Raises:
            DirectoryInUseError: another process holds it.
            OSError: the lock cannot be opened, or is not ours alone.

        """
        with os.fdopen(open_to_lock(self.lock_file, create=True), "r+", encoding="utf-8") as lock:
            if not _locks_soon(lock):
                raise DirectoryInUseError(self.path, f"process {_LockText.parse(lock.read()).pid or 'unknown'}")
            held = HeldLock(lock)
            held.note(is_stopping=False)
            yield held

    def holder(self) -> tuple[int | None, bool]:
        """Return the process that holds the directory, or held it last, and whether it is stopping already.

        Raises:
            OSError: the lock cannot be read, or is not ours alone.

        """
        text = _LockText.parse(read_file(self.lock_file).decode("utf-8", "replace"))
        return text.pid, text.is_stopping


class HeldLock:
    """The lock of a data directory, in the hands of this process."""

    def __init__(self, lock: TextIO) -> None:
        """Hold a file that is locked."""
        self._lock = lock

    def note(self, *, is_stopping: bool) -> None:
        """Write down who holds it, and whether the stack is stopping, which whoever stops it need not ask twice."""
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"{os.getpid()}\n{_STOPPING if is_stopping else ''}")
        self._lock.flush()


@dataclass(frozen=True, slots=True)
class _LockText:
    pid: int | None
    is_stopping: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        first, _, rest = text.partition("\n")
        return cls(int(first) if first.isdecimal() else None, rest == _STOPPING)


def _unusable(path: Path, error: OSError) -> StackError:
    return StackError(
        f"the data directory {path.expanduser().absolute()} cannot be used: {error}; name another one with --data-dir",
    )


def _has_rules_of_its_own(directory: Path) -> bool:
    """Whether Postgres' user writes there, the provisioner checks it, or it is another data directory (the demo's)."""
    other = DataDirectory(directory)
    return directory.name in {"postgres", "replicas"} or other.settings_file.exists() or other.demo_mark.exists()


def _locks_soon(lock: TextIO) -> bool:
    """Lock the file, also when somebody who only asks whether it is locked holds it at this moment."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_TRY_SECONDS)
        else:
            return True
    return False
