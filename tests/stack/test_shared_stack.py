"""The stack of a run of tests, which several processes use."""

from pathlib import Path

import pytest

from tests.stack.processes import is_running
from tests.stack.shared_stack import shared_stack

pytestmark = [pytest.mark.stack, pytest.mark.shared]

DATABASES = ("postgres", "temporal")


async def test_all_use_one_stack_and_the_last_stops_it(tmp_path: Path) -> None:
    async with shared_stack(tmp_path, *DATABASES) as first:
        async with shared_stack(tmp_path, *DATABASES) as second:
            assert second == first
        assert is_running(first.pid)
    assert not is_running(first.pid)
    assert not first.data_dir.exists()


async def test_whoever_comes_after_the_last_starts_another(tmp_path: Path) -> None:
    async with shared_stack(tmp_path, *DATABASES) as before:
        pass
    async with shared_stack(tmp_path, *DATABASES) as after:
        assert after.data_dir != before.data_dir
        assert is_running(after.pid)
