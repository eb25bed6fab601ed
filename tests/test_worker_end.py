"""A worker's process ends although the SDK's worker does not."""

import asyncio
from datetime import timedelta
from types import TracebackType

import pytest
from structlog.testing import capture_logs

from worker.process import ends_within

SOON = timedelta(milliseconds=50)


class Endless:
    """A worker that never ends, as the SDK's does after a step of a terminated workflow; that cannot be provoked."""

    def __init__(self) -> None:
        self.ended_with: type[BaseException] | None = None

    async def __aenter__(self) -> None:
        """Begin."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End never."""
        self.ended_with = kind
        await asyncio.Event().wait()


async def test_a_worker_that_does_not_end_is_not_waited_for_for_ever() -> None:
    with capture_logs() as logs:
        async with asyncio.timeout(30), ends_within(Endless(), SOON):
            pass

    assert [line["event"] for line in logs] == ["worker_not_ended"]


async def test_what_went_wrong_meanwhile_is_told_all_the_same() -> None:
    worker = Endless()

    with pytest.raises(ZeroDivisionError):
        async with ends_within(worker, SOON):
            raise ZeroDivisionError

    assert worker.ended_with is ZeroDivisionError
