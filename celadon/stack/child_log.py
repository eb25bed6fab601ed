"""The file that holds what a child writes to its standard output and error."""

import os
from pathlib import Path
from typing import BinaryIO, Final

from celadon.owned_files import make_directory, open_to_append

ROTATE_ABOVE_BYTES: Final = 16 * 1024 * 1024
_TAIL_BYTES: Final = 64 * 1024


class ChildLog:
    """One child's log: appended to, with the file before it kept as ``<name>.log.1``."""

    def __init__(self, file: Path, rotate_above_bytes: int = ROTATE_ABOVE_BYTES) -> None:
        """Name the ``file``; nothing is opened yet. A longer one than ``rotate_above_bytes`` is put aside."""
        self._rotate_above = rotate_above_bytes
        self.file = file
        self._started_at_byte = 0

    def open(self) -> BinaryIO:
        """Open the log for a child that starts now; a long one is put aside first.

        Raises:
            OSError: the file cannot be written, or is not ours alone.

        """
        make_directory(self.file.parent)
        if self._size() > self._rotate_above:
            self.file.replace(self.file.with_name(f"{self.file.name}.1"))
        stream = os.fdopen(open_to_append(self.file), "ab", 0)
        self._started_at_byte = self._size()
        return stream

    def last_lines(self, count: int = 20) -> tuple[str, ...]:
        """Return the last ``count`` lines that the child wrote since it was last started."""
        try:
            with self.file.open("rb") as stream:
                stream.seek(max(self._started_at_byte, self._size() - _TAIL_BYTES))
                text = stream.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ()
        return tuple(line for line in text.splitlines() if line.strip())[-count:]

    def _size(self) -> int:
        try:
            return self.file.stat().st_size
        except FileNotFoundError:
            return 0
