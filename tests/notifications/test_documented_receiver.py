"""The receiver of the documentation, run as it is written there."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.notifications.conftest import OTHER_SECRET, SECRET, RunCourier, add, until_all
from tests.table.rows import Rows

PAGE = Path(__file__).parents[2] / "docs" / "notifications.md"


def documented_receiver() -> str:
    found = re.search(
        r"<!-- receiver:begin -->\n```python\n(.*?)```\n<!-- receiver:end -->", PAGE.read_text(), re.DOTALL
    )
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("known", "takes"), [(SECRET, True), (OTHER_SECRET, False)], ids=["its key", "another key"])
async def test_the_documented_receiver(rows: Rows, run_courier: RunCourier, known: str, *, takes: bool) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        documented_receiver(),
        env={**os.environ, "HOOK_KEY": known, "PORT": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            url = f"http://127.0.0.1:{(await process.stdout.readline()).split()[-1].decode()}/"
        await add(rows, "ops", url)
        async with run_courier():
            await rows.begin(reason="new weights")
            await until_all(rows, "delivered" if takes else "dead")
        if takes:
            async with asyncio.timeout(30):
                line = (await process.stdout.readline()).decode()
            assert line.startswith("dev.celadon.rollout.started chat nothing → r1: rollout ")
            assert line.endswith(" started by ann: new weights\n")
        else:
            assert "answered 401" in await rows.value("select last_error from deliveries")
    finally:
        process.kill()
        await process.communicate()
