"""The data directory and its lock."""

import os
import stat
from pathlib import Path

import pytest

from celadon.stack.errors import DirectoryInUseError, StackError
from celadon.stack.layout import DataDirectory


def test_others_cannot_list_a_new_data_directory(tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path / "new")
    assert not stat.S_IMODE(directory.path.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH)


def test_the_permissions_of_an_existing_data_directory_are_left_alone(tmp_path: Path) -> None:
    existing = tmp_path / "existing"
    existing.mkdir(mode=0o750)
    DataDirectory.create(existing)
    assert stat.S_IMODE(existing.stat().st_mode) == 0o750


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="name another one with --data-dir"):
        DataDirectory.create(tmp_path / "file")


def test_a_second_lock_is_refused_with_the_process_that_holds_the_first(tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path)
    with (
        directory.locked(),
        pytest.raises(DirectoryInUseError, match=f"already runs in .* \\(process {os.getpid()}\\)"),
        directory.locked(),
    ):
        pass


def test_a_directory_is_in_use_while_it_is_locked(tmp_path: Path) -> None:
    directory = DataDirectory.create(tmp_path)
    assert not directory.is_in_use()
    with directory.locked():
        assert directory.is_in_use()
    assert not directory.is_in_use()
