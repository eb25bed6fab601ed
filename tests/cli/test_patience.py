"""Waiting ends with the person's patience, and what was begun goes on."""

import os
import signal
import subprocess
import sys

PROGRAM = """
import asyncio
import signal

from celadon.cli.patience import Patience
from celadon.cli.running import run

# What a shell runs in the background is born without an ear for Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


async def work():
    async with Patience(None).waiting("rollout 7 of chat has not ended", "it goes on; follow it with 'celadon watch'"):
        print("waiting", flush=True)
        await asyncio.Event().wait()

run(work)
"""
DEADLINE_SECONDS = 60


def test_ctrl_c_says_that_it_goes_on_and_how_to_come_back() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waiting\n"
        os.kill(waiting.pid, signal.SIGINT)
        try:
            _, told = waiting.communicate(timeout=DEADLINE_SECONDS)
        finally:
            waiting.kill()

    assert told.startswith("Note: rollout 7 of chat has not ended; it goes on; follow it with 'celadon watch'\n")
