"""Directories for stacks."""

from itertools import count
from pathlib import Path

import pytest

_numbers = count(1)


@pytest.fixture
def data_dir(reachable_directory: Path) -> Path:
    """Return a new, empty data directory that root's Postgres can reach too."""
    directory = reachable_directory / f"stack-{next(_numbers)}"
    directory.mkdir(mode=0o711)
    return directory
