"""Which signals ask a service to stop."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from celadon.stopping import stop_signal, stop_signals


@contextmanager
def handled(number: signal.Signals, handler: signal.Handlers) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_service_stops(number: signal.Signals) -> None:
    with handled(signal.SIGHUP, signal.SIG_DFL), stop_signal() as stop:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(60):
            await stop.wait()


def test_a_service_under_nohup_outlives_its_terminal() -> None:
    with handled(signal.SIGHUP, signal.SIG_IGN):
        assert signal.SIGHUP not in stop_signals()
