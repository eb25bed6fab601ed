"""A courier on a real table, and targets that are real servers."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from celadon.domain.decisions.delivery import RetrySchedule
from celadon.domain.decisions.notification_text import Places
from celadon.domain.language.notification import TargetKind
from celadon.domain.language.targets import TargetRequest
from celadon.notifications.courier import CLAIM_GRACE, Courier
from celadon.notifications.metrics import NotificationMetrics
from celadon.notifications.secrets import Secrets
from celadon.notifications.sender import Sender
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from celadon.table.notifications.targets import add_target
from tests.notifications.receiver import Receiver, running_receiver
from tests.table.rows import Rows

SECRET = "whsec_" + base64.b64encode(b"a key of exactly thirty-two byte").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"the key that stands beside it...").decode()
FAST = RetrySchedule(
    first=timedelta(milliseconds=20),
    longest=timedelta(milliseconds=100),
    give_up_after=timedelta(hours=1),
)
TIMEOUT = timedelta(seconds=30)
"""Of one attempt: so long that no receiver that answers is taken for one that does not, however busy the machine."""
SHORT_TIMEOUT = timedelta(seconds=1)
"""For what waits until an attempt has timed out, or a claim lapsed; a receiver that answers may then hear twice."""

RunCourier = Callable[..., AbstractAsyncContextManager[CollectorRegistry]]


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    """Return a directory with a signing key and its successor."""
    (tmp_path / "hook-key").write_text(SECRET + "\n")
    (tmp_path / "next-key").write_text(OTHER_SECRET)
    return tmp_path


@pytest_asyncio.fixture(loop_scope="session")
async def rows(table: Table) -> Rows:
    """Return empty tables with a keeper that is alive."""
    return await Rows.with_keeper(table)


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """Run a receiver."""
    async with running_receiver() as running:
        yield running


@pytest.fixture
def run_courier(table: Table, secrets_dir: Path) -> RunCourier:
    """Return what runs a courier until its block ends."""

    @asynccontextmanager
    async def run(
        schedule: RetrySchedule = FAST,
        claim_grace: timedelta = CLAIM_GRACE,
        timeout: timedelta = TIMEOUT,
    ) -> AsyncIterator[CollectorRegistry]:
        registry = CollectorRegistry()
        async with Listener(table.database_url, "celadon-tests-courier") as listener:
            await asyncio.wait_for(listener.connected.wait(), 30)
            courier = Courier(
                table=table,
                listener=listener,
                sender=Sender(secrets=Secrets(secrets_dir), places=Places(), timeout=timeout),
                schedule=schedule,
                timeout=timeout,
                claim_grace=claim_grace,
                metrics=NotificationMetrics(registry),
            )
            task = asyncio.create_task(courier.run())
            try:
                yield registry
            finally:
                courier.stop()
                await task

    return run


async def add(rows: Rows, name: str, url: str | None, **given: Any) -> None:
    """Add a target that is told of every deployment."""
    request: dict[str, Any] = {
        "kind": TargetKind.WEBHOOK,
        "url": url,
        "signing_secrets": ("hook-key",),
        "every_deployment": True,
        **given,
    }
    async with rows.table.transaction() as tx:
        await add_target(tx, TargetRequest(name=name, **request), "ann")


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + 30
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {what}")
        await asyncio.sleep(0.02)


async def states(rows: Rows, target: str = "ops") -> list[tuple[str, str]]:
    """Return the kinds and states of a target's deliveries, in their order."""
    found = await rows.rows(
        "select kind, state from deliveries join notifications on notifications.id = notification "
        "where target = :target order by deliveries.id",
        target=target,
    )
    return [(row["kind"], row["state"]) for row in found]


async def until_all(rows: Rows, state: str, target: str = "ops") -> None:
    """Wait until every delivery to a target is in a state."""

    async def reached() -> bool:
        found = await states(rows, target)
        return bool(found) and {one for _, one in found} == {state}

    await until(reached, f"everything for {target} is {state}")
