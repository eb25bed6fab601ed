"""Files and directories that belong to us alone.

Whoever can write into a directory decides what its files say, and by a link which file is meant. So nothing that
Celadon keeps is read, written or followed before it is known to be ours: each directory on the way belongs to us or to
root and nobody else can rename what lies in it, and each file is opened without following a link and looked at through
the open descriptor.
"""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
PRIVATE_DIRECTORY: Final = 0o700

_ANYTHING_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO or a device that was put in the place of a file would otherwise keep us waiting.
_FILE: Final = _NO_LINK | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY: Final = _NO_LINK | os.O_RDONLY | os.O_DIRECTORY
_ROOT: Final = 0


class NotOursError(OSError):
    """Somebody else could have written a file or directory; the text says which, who, and what to do next."""


def check_path(path: Path) -> Path:
    """Return ``path`` without links, after checking that nobody else can put something else in its place.

    What does not exist yet is left out. ``path`` itself may be root's too.

    Raises:
        NotOursError: another user owns a directory on the way, or can write into it.

    """
    resolved = _checked_way(path)
    with suppress(FileNotFoundError, NotADirectoryError):
        _check_way(resolved, resolved.lstat())
    return resolved


def check_directory(path: Path) -> Path:
    """Return the directory ``path`` without links, after checking that it, and the way to it, are ours.

    Raises:
        NotOursError: it is another user's, others can write into it, or replace it.
        FileNotFoundError: there is no such directory.
        NotADirectoryError: it is something else.

    """
    resolved = _checked_way(path)
    with _open_directory(resolved):
        return resolved


def make_directory(path: Path, mode: int = PRIVATE_DIRECTORY) -> Path:
    """Create ``path`` and what is missing above it with ``mode``, or check that it is ours; return it without links.

    Raises:
        NotOursError: it is there, or its parent is, and is not ours alone.
        OSError: it cannot be created.

    """
    resolved = _checked_way(path)
    missing = []
    for directory in (resolved, *resolved.parents):
        if os.path.lexists(directory):
            break
        missing.append(directory)
    for directory in reversed(missing):
        with suppress(FileExistsError):
            directory.mkdir(mode=mode)
        with _open_directory(directory) as descriptor:
            # The mask of the process may have taken away more than was asked for, never less.
            os.fchmod(descriptor, mode)
    with _open_directory(resolved):
        return resolved


def check_contents(directory: Path, *, skipping: Callable[[Path], bool] = lambda _: False) -> None:
    """Check that everything below ``directory`` is ours: nothing that others can write, no second names.

    Links that lead out of it are refused; those that stay in it change what is meant, not whose it is.
    ``skipping`` says which directories below have rules of their own: they themselves are checked, not what they hold.

    Raises:
        NotOursError: something is not ours.
        OSError: it cannot be looked at.

    """
    for place, directories, files, descriptor in os.fwalk(directory, follow_symlinks=False):
        here = Path(place)
        for name in (*directories, *files):
            try:
                status = os.lstat(name, dir_fd=descriptor)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                _check_place(here / name, status)
            elif stat.S_ISSOCK(status.st_mode) or _stays_in(directory, here / name, status):
                _check_owner(here / name, status)
            else:
                _check_file(here / name, status)
                _check_name(here / name, status)
        directories[:] = [name for name in directories if not skipping(here / name)]


def read_file(file: Path, *, private: bool = False, last: int | None = None) -> bytes:
    """Return the content of a file of ours, or its ``last`` bytes.

    With ``private``, one that others can read is refused too: a file that we wrote is not like that, one that was
    copied here from elsewhere is.

    Raises:
        NotOursError: the file, or its directory, is not ours alone.
        FileNotFoundError: there is no such file.

    """
    with _opened(file, os.O_RDONLY) as descriptor:
        if private:
            _check_private(file, os.fstat(descriptor))
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            if last is not None:
                stream.seek(max(0, os.fstat(descriptor).st_size - last))
            return stream.read()


def read_text(file: Path, *, private: bool = False) -> str:
    """Return the text of a file of ours; raises as ``read_file``, and ``UnicodeDecodeError``."""
    return read_file(file, private=private).decode("utf-8")


def write_file(file: Path, text: str, mode: int) -> None:
    """Write ``text`` with the given permissions, in the place of what was there.

    The file is whole or not there at all, and has its permissions from the first moment.

    Raises:
        OSError: the file cannot be written, or its directory is not ours; what was there still is.

    """
    draft = f".{file.name}.{os.getpid()}.new"
    with _open_directory(file.parent) as directory:
        # A draft of a process that died; nobody else can have put anything here.
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE
        with os.fdopen(os.open(draft, flags, mode, dir_fd=directory), "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(draft, file.name, src_dir_fd=directory, dst_dir_fd=directory)


def open_to_append(file: Path) -> int:
    """Return a descriptor that appends to a file of ours, which is created for its owner alone.

    Raises:
        OSError: it cannot be written, or is not ours.

    """
    with _opened(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
        return os.dup(descriptor)


def open_to_lock(file: Path, *, create: bool) -> int:
    """Return a descriptor of a file of ours that is read, written and locked.

    Raises:
        OSError: it cannot be opened, or is not ours; with ``create``, a missing one is created.

    """
    with _opened(file, os.O_RDWR | (os.O_CREAT if create else 0)) as descriptor:
        return os.dup(descriptor)


def _checked_way(path: Path) -> Path:
    """Check the way to ``path``, not what is there."""
    named = path.expanduser().absolute()
    try:
        resolved = named.resolve()
    except RuntimeError as error:
        raise NotOursError(f"{path} is a link that leads to itself: remove it") from error
    # Links on the way count too: who can change one chooses the directory.
    for directory in dict.fromkeys((*reversed(named.parents), named, *reversed(resolved.parents))):
        if directory != resolved:
            with suppress(FileNotFoundError, NotADirectoryError):
                _check_way(directory, directory.lstat())
    return resolved


@contextmanager
def _opened(file: Path, flags: int) -> Iterator[int]:
    with _open_directory(file.parent) as directory:
        try:
            descriptor = os.open(file.name, flags | _FILE, PRIVATE_FILE, dir_fd=directory)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO}:
                raise _no_file_of_ours(file) from error
            raise
        try:
            status = os.fstat(descriptor)
            _check_file(file, status)
            if flags != os.O_RDONLY:
                _check_name(file, status)
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _open_directory(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, _DIRECTORY)
    except PermissionError:
        _check_owner(path, path.lstat())
        raise
    except OSError as error:
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and path.is_symlink()):
            raise NotOursError(f"{path} is a link, which Celadon does not follow: name the directory itself") from error
        raise
    try:
        _check_place(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _check_way(directory: Path, found: os.stat_result) -> None:
    """Check that nobody but us and root can rename what lies in ``directory``, or change it when it is a link."""
    if found.st_uid not in {os.geteuid(), _ROOT}:
        raise NotOursError(
            f"{directory} belongs to {_user(found.st_uid)}, who could put something else in the place of what lies "
            "there; use a directory whose parents are yours or root's",
        )
    # In a directory with the sticky bit, such as /tmp, only the owner of an entry can rename it.
    if stat.S_ISDIR(found.st_mode) and _others_write(found) and not found.st_mode & stat.S_ISVTX:
        raise NotOursError(
            f"others can write into {directory}, and so put something else in the place of what lies there; run "
            f"'chmod go-w {directory}', or use another directory",
        )


def _check_place(path: Path, found: os.stat_result) -> None:
    """Check that a directory is ours and that nobody else can write into it."""
    _check_owner(path, found)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if _others_write(found):
        raise NotOursError(
            f"others can write into {path}, so what lies there may not be ours; look at it, then run "
            f"'chmod go-w {path}', or use another directory",
        )


def _check_file(path: Path, found: os.stat_result) -> None:
    """Check that an entry is a file of ours that nobody else can write."""
    if not stat.S_ISREG(found.st_mode):
        raise _no_file_of_ours(path)
    _check_owner(path, found)
    if _others_write(found):
        raise NotOursError(f"others can write {path}, so it may not be as we left it; look at it and remove it")


def _stays_in(directory: Path, path: Path, found: os.stat_result) -> bool:
    return stat.S_ISLNK(found.st_mode) and Path(os.path.realpath(path)).is_relative_to(directory)


def _check_name(path: Path, found: os.stat_result) -> None:
    """Check that a file has one name: under a second one it may be any other file of ours."""
    if found.st_nlink > 1:
        raise NotOursError(
            f"{path} has {found.st_nlink} names (hard links), so it may be another file than it seems; look at it and "
            "remove it",
        )


def _check_private(path: Path, found: os.stat_result) -> None:
    if found.st_mode & _ANYTHING_FOR_OTHERS:
        raise NotOursError(
            f"{path} can be read by others, so it is not as Celadon wrote it; if it is yours, run "
            f"'chmod 600 {path}', else remove it",
        )


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise NotOursError(
            f"{path} belongs to {_user(found.st_uid)}, and this is {_user(os.geteuid())}: run Celadon as that user, "
            "or use another directory",
        )


def _no_file_of_ours(path: Path) -> NotOursError:
    return NotOursError(
        f"{path} is a link, or not a file, and Celadon follows none there: look at who made it and remove it",
    )


def _others_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_group_of_owner_alone(found)


def _is_group_of_owner_alone(found: os.stat_result) -> bool:
    """Whether the group is the one that many systems make for each user: of the user's name, without other members."""
    if found.st_gid == _ROOT:
        return True
    try:
        owner, group = pwd.getpwuid(found.st_uid), grp.getgrgid(found.st_gid)
    except KeyError:
        return False
    return group.gr_name == owner.pw_name and owner.pw_gid == group.gr_gid and set(group.gr_mem) <= {owner.pw_name}


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"
