"""Small files that are whole or not there at all."""

import os
from pathlib import Path


def write_file(file: Path, text: str, mode: int) -> None:
    """Write ``text`` with the given permissions, in the place of what was there.

    Raises:
        OSError: the file cannot be written; what was there still is.

    """
    draft = file.with_name(f"{file.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "w") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
