"""The demonstration's directory: it makes one, knows it again by a mark of its own, and empties no other.

A directory is emptied only when it bears the mark and holds nothing but what a demonstration writes; else nothing in
it is touched. Nothing of a demonstration stays outside its directory, and in it the records and the logs alone.
"""

import asyncio
import hashlib
import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from celadon.owned_files import check_directory, make_directory, read_text, write_file
from celadon.stack.errors import DirectoryInUseError, StackError
from celadon.stack.layout import DataDirectory
from celadon.stack.left_behind import end_left_behind
from celadon.stack.postgres_home import SHARED_ROOT, remove_outer_sockets

_NAMED: Final = 3
"""How many of the entries that are not ours are named."""

_SAYS: Final = "celadon demo made this directory, and empties it each time it runs\n"


class DemoDirectory:
    """The data directory of the demonstration's stack, with the records and logs of its last run."""

    def __init__(self, path: Path, shared_root: Path = SHARED_ROOT) -> None:
        """Name the directory; nothing is touched yet.

        Root's Postgres lives beside ``shared_root`` when its user cannot enter the directory.
        """
        self.path = path.expanduser().absolute()
        self._shared_root = shared_root

    @property
    def records(self) -> Path:
        """One line a request."""
        return self.path / "requests.jsonl"

    @property
    def outside(self) -> Path:
        """Where root's Postgres lives, with its programs, when its user cannot enter the directory."""
        path = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
        return self._shared_root.with_name(f"{self._shared_root.name}-demo-{path}")

    async def prepare(self) -> DataDirectory:
        """Return the directory, emptied of what an earlier demonstration left, or made.

        Raises:
            DirectoryInUseError: a demonstration, or a stack, runs in it.
            StackError: it holds something that no demonstration wrote, or cannot be used.

        """
        directory = self._find_or_make()
        if directory.is_in_use():
            pid, _ = directory.holder()
            raise DirectoryInUseError(directory.path, f"process {pid or 'unknown'}")
        await end_left_behind(directory.children_file)
        await asyncio.to_thread(self._empty, directory, ())
        await asyncio.to_thread(self._make_outside)
        return DataDirectory.create(directory.path)

    async def clear(self) -> None:
        """Remove everything of the demonstration that has ended, but for its records and logs.

        Raises:
            StackError: something lies in it that no demonstration wrote.

        """
        directory = DataDirectory.find(self.path)
        if directory is not None and directory.demo_mark.exists():
            await asyncio.to_thread(self._empty, directory, (directory.logs.name, self.records.name))

    def _find_or_make(self) -> DataDirectory:
        """Return a directory that bears the mark: one that does, one that is empty, or a new one."""
        directory = DataDirectory.find(self.path) or DataDirectory.make(self.path)
        try:
            if not directory.demo_mark.exists() and not any(directory.path.iterdir()):
                write_file(directory.demo_mark, _SAYS, mode=0o600)
            is_ours = directory.demo_mark.exists() and read_text(directory.demo_mark, private=True) == _SAYS
        except OSError as error:
            raise StackError(f"the demonstration cannot use {directory.path}: {error}") from error
        if not is_ours:
            raise StackError(
                f"{directory.path} holds something that no demonstration wrote ({_some_of(directory.path)}), and is "
                "left as it is: name a new or an empty directory with --data-dir, or look at what it holds and remove "
                "it yourself",
            )
        return directory

    def _empty(self, directory: DataDirectory, kept: Collection[str]) -> None:
        """Remove what a demonstration writes, but for the mark, the lock and what is ``kept``."""
        own = directory.own_names | {self.records.name}
        entries = _names_in(directory.path)
        foreign = [name for name in entries if name not in own and _drafted(name) not in own]
        if foreign:
            raise StackError(
                f"{directory.path} holds {', '.join(foreign[:_NAMED])}, which no demonstration wrote, so nothing in it "
                "is removed: move that elsewhere, or name another directory with --data-dir",
            )
        kept = {*kept, directory.demo_mark.name, directory.lock_file.name}
        try:
            with directory.locked():
                remove_outer_sockets(directory.path)
                directory.sockets.remove()
                self._remove_outside()
                for name in entries:
                    if name not in kept:
                        _remove(directory.path / name)
        except OSError as error:
            raise StackError(f"what a demonstration left in {directory.path} cannot be removed: {error}") from error

    def _make_outside(self) -> None:
        """Make the place that root's Postgres may need; where none can be made, the start of the stack says so."""
        if os.geteuid() == 0:
            with suppress(OSError):
                outside = make_directory(self.outside, 0o755)
                write_file(DataDirectory(outside).demo_mark, _SAYS, mode=0o600)

    def _remove_outside(self) -> None:
        try:
            outside = DataDirectory(check_directory(self.outside))
        except FileNotFoundError:
            return
        if outside.demo_mark.exists():
            shutil.rmtree(outside.path)


def _names_in(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def _some_of(directory: Path) -> str:
    names = _names_in(directory)
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _drafted(name: str) -> str:
    """Return the file of which ``name`` is the draft of a process that was killed while it wrote."""
    return name.removeprefix(".").rsplit(".", 2)[0] if name.startswith(".") and name.endswith(".new") else name


def _remove(entry: Path) -> None:
    try:
        status = entry.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(entry)
    else:
        entry.unlink()
