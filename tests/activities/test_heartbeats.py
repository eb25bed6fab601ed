"""Activities heartbeat by themselves for as long as they run."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.heartbeats import Heartbeats


class Waiting(ActivityInboundInterceptor):
    """An activity that waits for something, as for a lock of the table, and never heartbeats itself."""

    def __init__(self, awaited: asyncio.Event) -> None:
        """Wait for an event."""
        self.awaited = awaited

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ARG002 - as the SDK has it
        """Wait."""
        await self.awaited.wait()
        return "done"


class Hearing:
    """Hears heartbeats; the third one ends what the activity waits for."""

    def __init__(self) -> None:
        self.heard = 0
        self.third = asyncio.Event()

    def __call__(self, *_: object) -> None:
        self.heard += 1
        if self.heard == 3:
            self.third.set()


async def run(hearing: Hearing, heartbeat_timeout: timedelta | None) -> object:
    """Run an activity that waits for the third heartbeat."""
    environment = ActivityEnvironment()
    environment.on_heartbeat = hearing
    environment.info = replace(environment.info, heartbeat_timeout=heartbeat_timeout)

    async def execute() -> object:
        call = ExecuteActivityInput(fn=execute, args=(), executor=None, headers={})
        return await Heartbeats().intercept_activity(Waiting(hearing.third)).execute_activity(call)

    return await environment.run(execute)


async def test_an_activity_that_waits_heartbeats_until_it_ends() -> None:
    hearing = Hearing()
    assert await run(hearing, timedelta(milliseconds=30)) == "done"
    heard = hearing.heard
    await asyncio.sleep(0.1)
    assert hearing.heard == heard


async def test_an_activity_without_a_heartbeat_timeout_does_not_heartbeat() -> None:
    hearing = Hearing()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run(hearing, None)
    assert hearing.heard == 0
