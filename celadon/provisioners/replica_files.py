"""The files of replicas in the state directory: claim, output, and why a command could not be executed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from celadon.domain.decisions.last_words import telling_lines
from celadon.domain.language.names import RouteId
from celadon.domain.language.text_bounds import last_bytes
from celadon.owned_files import make_directory, open_to_append, read_file, read_text
from celadon.provisioners.claims import ProcessClaim, read_claim
from celadon.provisioners.launcher import CLAIM_SUFFIX, ERROR_SUFFIX, make_claim

OUTPUT_SUFFIX: Final = ".output"

LAST_LINES: Final = 50
_LAST_BYTES: Final = 8_000
_SEARCHED_BYTES: Final = 64_000
"""Looked through for the lines that say why a replica failed."""

_TELLING_LINES: Final = 10
_TELLING_BYTES: Final = 2_000
"""Of those, when they stand before the last ones."""

_OMITTED: Final = "[...]"
_LINES_AFTER: Final = LAST_LINES - _TELLING_LINES - 1

_BEFORE_BYTES: Final = 80_000
"""Read before the last ones, so that no secret that begins there is cut in two and not known for one."""

_LARGEST_OUTPUT: Final = 16 * 1024 * 1024
_KEPT_OUTPUT: Final = 1024 * 1024
_LAUNCHER_LIFETIME_SECONDS: Final = 3_600.0
"""No launcher lives so long before it claims its replica, however loaded the machine is."""


class ReplicaFiles:
    """The state directory of the provisioner ``local``, for its owner only."""

    def __init__(self, directory: Path) -> None:
        """Create the directory, or make it private.

        Each file is looked at when it is read: a claim names a process that may be ended.

        Raises:
            OSError: that is not possible.
            NotOursError: somebody else could have written what lies there.

        """
        self.directory = make_directory(directory)
        self.directory.chmod(0o700)

    def claim(self, route: RouteId) -> ProcessClaim | None:
        """Return a replica's claim, nothing while nobody has claimed it."""
        return read_claim(self._path(route, CLAIM_SUFFIX))

    def claim_for_stop(self, route: RouteId) -> ProcessClaim:
        """Return a replica's claim; one that nobody has claimed is claimed now, so that no launcher ever will."""
        if make_claim(str(self.directory), route, ""):
            return ProcessClaim(None)
        claim = self.claim(route)
        if claim is None:
            raise FileNotFoundError(f"the claim of replica {route} was removed by somebody else")
        return claim

    @contextmanager
    def open_output(self, route: RouteId) -> Iterator[int]:
        """Yield a descriptor that appends to a replica's output."""
        descriptor = open_to_append(self._path(route, OUTPUT_SUFFIX))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def last_output(self, route: RouteId, mask: Callable[[str], str]) -> str:
        """Return the last lines that a replica has printed, as ``mask`` leaves them; empty when there are none.

        A traceback or an error that stands before those is at the begin, in fewer last lines.
        """
        try:
            tail = read_file(self._path(route, OUTPUT_SUFFIX), last=_SEARCHED_BYTES + _BEFORE_BYTES)
        except FileNotFoundError:
            return ""
        return _excerpt(mask(tail.decode(errors="replace").replace("\0", ""))[-_SEARCHED_BYTES:])

    def trim_output(self, route: RouteId) -> None:
        """Keep only the end of an output that has grown large; its writer appends, so it goes on after that."""
        path = self._path(route, OUTPUT_SUFFIX)
        try:
            if path.stat().st_size <= _LARGEST_OUTPUT:
                return
            tail = read_file(path, last=_KEPT_OUTPUT)
        except FileNotFoundError:
            return
        with self.open_output(route) as descriptor:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, tail)

    def error(self, route: RouteId) -> str:
        """Return why the command could not be executed; empty when it could."""
        try:
            return read_text(self._path(route, ERROR_SUFFIX))
        except FileNotFoundError:
            return ""

    def forget(self, route: RouteId) -> None:
        """Remove a replica's files, but for a claim that keeps late launchers away for some time yet."""
        # Two may do it at once, each with a draft of its own: a keeper, and a person with 'celadon doctor --fix'.
        draft = self.directory / f".{route}.forget.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.replace(self._path(route, CLAIM_SUFFIX))
        for suffix in (OUTPUT_SUFFIX, ERROR_SUFFIX):
            self._path(route, suffix).unlink(missing_ok=True)

    def remembered(self) -> frozenset[RouteId]:
        """Return every replica that has a file, without those that are forgotten."""
        names = {path.name.partition(".")[0] for path in self.directory.iterdir() if not path.name.startswith(".")}
        return frozenset(RouteId(name) for name in names if not self._is_forgotten(RouteId(name)))

    def remove_old_claims(self) -> None:
        """Remove drafts, and claims of forgotten replicas, for which no launcher can be under way any more."""
        oldest = time.time() - _LAUNCHER_LIFETIME_SECONDS
        for path in self.directory.iterdir():
            try:
                stat = path.stat()
                is_draft = path.name.startswith(".")
                is_empty_claim = path.suffix == CLAIM_SUFFIX and stat.st_size == 0
                if stat.st_mtime < oldest and (is_draft or is_empty_claim):
                    path.unlink()
            except FileNotFoundError:
                continue

    def _is_forgotten(self, route: RouteId) -> bool:
        return self.claim(route) == ProcessClaim(None) and not self._path(route, OUTPUT_SUFFIX).exists()

    def _path(self, route: RouteId, suffix: str) -> Path:
        return self.directory / f"{route}{suffix}"


def _excerpt(text: str) -> str:
    """Return the end of an output, with the lines that say most of a failure."""
    lines = text.splitlines()
    begin, end = telling_lines(lines, _TELLING_LINES)
    last = text[-_LAST_BYTES:].splitlines()[-LAST_LINES:]
    if begin >= len(lines) - len(last):
        return "\n".join(last)
    excerpt = last_bytes("\n".join(lines[begin:end]), _TELLING_BYTES)
    omitted = [_OMITTED] if end < len(lines) - _LINES_AFTER else []
    rest = last_bytes("\n".join(lines[end:][-_LINES_AFTER:]), _LAST_BYTES - _TELLING_BYTES - len(_OMITTED) - 2)
    return "\n".join([excerpt, *omitted, rest])
