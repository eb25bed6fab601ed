"""A keeper as a process of its own, which a test can pause and kill: ``keeper_process DATABASE_URL STATE_DIR``."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from celadon.keeper.lease import LeaseTimes
from celadon.table.core.engine import Table
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.own_ports import choose_own_ports


async def main(database_url: str, state_dir: Path) -> None:
    """Run a keeper until killed."""
    # It holds its own lease as long as ever, and takes another's only when the test says that it is over.
    times = LeaseTimes(expires=timedelta(hours=1))
    async with (
        Table(database_url, "celadon-keeper-process") as table,
        running_keeper(table, state_dir, Rollouts(), holder="process", lease_times=times) as running,
    ):
        await running.task


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        choose_own_ports(patch)
        asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
