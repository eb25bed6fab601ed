"""What attacks need: another user of this machine."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.other_user import OtherUser


def _needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("root alone can be another user")


@pytest.fixture
def other_user(reachable_directory: Path) -> Iterator[OtherUser]:
    """Return a user who has nothing to do with Celadon; who is not root cannot have one, and the test is skipped."""
    _needs_root()
    user = OtherUser.without_name(reachable_directory / f"other-user-{uuid.uuid4().hex}")
    yield user
    user.end()


@pytest.fixture
def user_nobody(reachable_directory: Path) -> Iterator[OtherUser]:
    """Return the user ``nobody``, as whom programs of all kinds run; skipped like ``other_user``."""
    _needs_root()
    user = OtherUser.named("nobody", reachable_directory / f"nobody-{uuid.uuid4().hex}")
    yield user
    user.end()
