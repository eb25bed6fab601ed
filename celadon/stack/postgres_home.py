"""Where a stack's Postgres lives, and which copy of its programs runs.

Postgres refuses to run as root, so root's Postgres runs as a user of its own, who needs a way to its files. Nobody's
directory is opened up for that: when the data directory, or the installed package, lies where that user cannot go,
the files live below a directory of ours that everybody may enter, and the data directory remembers where. The files
themselves lie in a directory through which the group of that user alone gets.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import structlog

from celadon.owned_files import NotOursError, check_path, make_directory, read_text, write_file
from celadon.stack.errors import StackError
from celadon.stack.layout import POSTGRES_NAMES
from celadon.stack.os_user import OsUser
from celadon.stack.programs import postgres_packages, postgres_version

SHARED_ROOT: Final = Path("/var/lib/celadon")
SOCKET_PORT: Final = 5432
"""Only names the socket's file: Postgres listens on no network port."""

_LONGEST_SOCKET_PATH: Final = 103
"""Bytes that every system takes in the path of a Unix socket (Linux takes 107)."""
_WITHIN, _REMEMBERED_IN = POSTGRES_NAMES
_CLUSTER: Final = "cluster"
_BELONGS_TO: Final = "data-directory"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PostgresHome:
    """The directories of one Postgres and the user it runs as."""

    directory: Path
    """Belongs to whoever starts the stack; the two directories below it that Postgres writes belong to ``account``."""
    programs: Path
    socket_directory: Path
    account: OsUser

    @property
    def cluster(self) -> Path:
        """The data directory of Postgres itself."""
        return self.directory / _CLUSTER

    @property
    def access_rules(self) -> Path:
        """Who may connect (``pg_hba.conf``)."""
        return self.directory / "access.conf"

    @property
    def user_map(self) -> Path:
        """Which user of the machine is which user of the database (``pg_ident.conf``)."""
        return self.directory / "users.conf"


def prepare_home(
    data_dir: Path,
    account: OsUser,
    shared_root: Path = SHARED_ROOT,
    installed: tuple[Path, ...] | None = None,
) -> PostgresHome:
    """Choose the home of the Postgres of ``data_dir`` and create its directories.

    The choice is made once; ``data_dir`` remembers it, also when it is moved. ``installed`` names the directories of
    the programs and of their libraries, by default those of the installed package.

    Raises:
        MissingProgramError: Postgres is not installed.
        StackError: the home belongs to another data directory, or to another user.
        OSError: a directory cannot be created.

    """
    data_dir = data_dir.resolve()
    directory = _remembered(data_dir) or choose_directory(data_dir, account, shared_root)
    if directory.is_relative_to(shared_root):
        _open_to_enter(shared_root, 0o755)
    _open_to_enter(directory, 0o700 if account.is_current else 0o710, account)
    _claim(directory, data_dir)
    socket_directory = _socket_directory(directory, account.uid)
    _own(socket_directory, account, is_in_ours=socket_directory.parent == directory)
    programs = _programs(account, shared_root, installed or postgres_packages())
    return PostgresHome(directory, programs, socket_directory, account)


def owner_of(data_dir: Path) -> int | None:
    """Return the id of the user to whom the database of ``data_dir`` belongs; ``None`` while there is none.

    Raises:
        NotOursError: what remembers its place is not ours.

    """
    directory = _remembered(data_dir) or data_dir / _WITHIN
    try:
        return (directory / _CLUSTER).lstat().st_uid
    except FileNotFoundError:
        return None


def remove_outer_sockets(data_dir: Path) -> None:
    """Remove the directory of the socket of ``data_dir``'s Postgres, which does not run, if it lies elsewhere.

    Raises:
        OSError: it cannot be removed, or what remembers the database's place is not ours.

    """
    owner = owner_of(data_dir)
    directory = _remembered(data_dir.resolve()) or data_dir.resolve() / _WITHIN
    if owner is None:
        return
    sockets = _socket_directory(directory, owner)
    try:
        status = sockets.lstat()
    except FileNotFoundError:
        return
    if sockets.parent != directory and stat.S_ISDIR(status.st_mode) and status.st_uid == owner:
        shutil.rmtree(sockets)


def choose_directory(data_dir: Path, account: OsUser, shared_root: Path = SHARED_ROOT) -> Path:
    """Return where the Postgres of a new ``data_dir`` lives: in it, or elsewhere when ``account`` cannot enter it.

    A database that lies there already is of a data directory that was removed, and forgotten with it.
    """
    if account.can_enter(data_dir):
        return data_dir / _WITHIN
    name = _short_hash(data_dir)
    directories = (shared_root / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(directory for directory in directories if not _is_forgotten(directory, data_dir))


def _is_forgotten(directory: Path, data_dir: Path) -> bool:
    if not (directory / _CLUSTER).exists():
        return False
    log.warning(
        "postgres.forgotten_database",
        directory=str(directory),
        next_step=f"it is left alone: remove it, if {data_dir} was removed on purpose",
    )
    return True


def _remembered(data_dir: Path) -> Path | None:
    try:
        return data_dir / read_text(data_dir / _REMEMBERED_IN, private=True).strip()
    except FileNotFoundError:
        return None


def _claim(directory: Path, data_dir: Path) -> None:
    """Let ``data_dir`` and ``directory`` name each other, unless another data directory owns it and still exists."""
    memory = data_dir / _REMEMBERED_IN
    if directory.parent == data_dir:
        write_file(memory, f"{directory.name}\n", mode=0o600)
        return
    mark = directory / _BELONGS_TO
    owner = Path(read_text(mark).strip()) if mark.exists() else data_dir
    if owner != data_dir and (owner / _REMEMBERED_IN).exists():
        raise StackError(
            f"the database in {directory} belongs to {owner}, of which {data_dir} seems to be a copy: "
            f"start the stack there, or remove {memory} to begin with an empty database",
        )
    write_file(mark, f"{data_dir}\n", mode=0o644)
    write_file(memory, f"{directory}\n", mode=0o600)


def _open_to_enter(directory: Path, mode: int, account: OsUser | None = None) -> None:
    """Create a directory of ours, or check that it is one, and give it ``mode`` and the group of ``account``."""
    try:
        make_directory(directory)
    except NotOursError as error:
        raise StackError(f"the database cannot live there: {error}") from error
    if account is not None and not account.is_current:
        os.chown(directory, -1, account.gid, follow_symlinks=False)
    directory.chmod(mode)


def _socket_directory(directory: Path, user: int) -> Path:
    beside = directory / "socket"
    if len(os.fsencode(beside / f".s.PGSQL.{SOCKET_PORT}.lock")) <= _LONGEST_SOCKET_PATH:
        return beside
    return Path(tempfile.gettempdir()) / f"celadon-{user}-{_short_hash(directory)}"


def _programs(account: OsUser, shared_root: Path, installed: tuple[Path, ...]) -> Path:
    """Return the directory of programs that ``account`` can run: the installed one, or a copy made once."""
    if all(account.can_read(path) for path in (installed[0] / "bin" / "postgres", *installed)):
        return installed[0] / "bin"
    copy = shared_root / f"postgres-{postgres_version()}"
    if not copy.is_dir():
        _open_to_enter(shared_root, 0o755)
        _copy_programs(installed, copy)
    return copy / installed[0].parent.name / installed[0].name / "bin"


def _copy_programs(installed: tuple[Path, ...], copy: Path) -> None:
    """Copy the packages side by side, as they lie where they are installed, so that relative paths still hold."""
    site = installed[0].parent.parent
    staging = Path(tempfile.mkdtemp(dir=copy.parent, prefix=f"{copy.name}."))
    for package in installed:
        shutil.copytree(package, staging / package.relative_to(site), symlinks=True)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            everybody = 0o555 if path.is_dir() or mode & stat.S_IXUSR else 0o444
            path.chmod((mode | everybody) & ~0o022)
    try:
        staging.rename(copy)
    except OSError:
        shutil.rmtree(staging)
        if not copy.is_dir():
            raise


def _own(directory: Path, account: OsUser, *, is_in_ours: bool) -> None:
    """Create ``directory`` for ``account`` alone, or check that it is such a directory.

    In a directory of ours nobody else made it: it may be of the user that Postgres ran as before.
    """
    check_path(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    is_known = status.st_uid in {account.uid, os.geteuid()} or (is_in_ours and os.geteuid() == 0)
    ours = is_known and stat.S_IMODE(status.st_mode) == stat.S_IRWXU
    if not (ours and stat.S_ISDIR(status.st_mode)):
        raise StackError(
            f"{directory} is not a directory that {account.name} alone can enter: look at who made it, remove it "
            "and try again",
        )
    if status.st_uid != account.uid:
        os.chown(directory, account.uid, account.gid, follow_symlinks=False)


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
