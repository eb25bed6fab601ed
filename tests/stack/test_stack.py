"""The whole stack, in a process of its own."""

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from temporalio.client import Client, WorkflowExecutionStatus

from celadon.stack.addresses import StackAddresses
from celadon.stack.errors import StackError
from tests.stack.processes import is_running, until
from tests.stack.stack_process import StackProcess, stack_process

pytestmark = pytest.mark.stack

CHILDREN = ("postgres", "temporal", "gateway", "worker", "api", "router")
DATABASES = ("postgres", "temporal")
"""The children that keep something, for the tests that are about nothing else."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(reachable_directory: Path) -> AsyncIterator[StackProcess]:
    """Run one stack for the tests that leave it running."""
    async with stack_process(reachable_directory / "whole-stack") as process:
        await process.until_ready()
        yield process


async def run_sql(addresses: StackAddresses, statement: str) -> list[tuple[object, ...]]:
    engine = create_async_engine(addresses.database_url)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        await engine.dispose()


async def keep_something(addresses: StackAddresses) -> None:
    await run_sql(addresses, "CREATE TABLE kept AS SELECT 42 AS answer")
    client = await Client.connect(addresses.temporal_address)
    await client.start_workflow("NobodyRunsThis", id="kept", task_queue="nobody-listens")


async def assert_kept(addresses: StackAddresses) -> None:
    assert await run_sql(addresses, "SELECT answer FROM kept") == [(42,)]
    client = await Client.connect(addresses.temporal_address)
    description = await client.get_workflow_handle("kept").describe()
    assert description.status is WorkflowExecutionStatus.RUNNING


def test_runs_every_child(stack: StackProcess) -> None:
    assert set(stack.addresses().children) == set(CHILDREN)


def test_only_the_owner_can_read_where_everything_is(stack: StackProcess) -> None:
    assert stat.S_IMODE((stack.data_dir / "stack.json").stat().st_mode) == 0o600


async def test_everything_listens_where_it_is_said_to(stack: StackProcess) -> None:
    addresses = stack.addresses()
    urls = (
        addresses.temporal_ui,
        addresses.router,
        addresses.preview_router,
        addresses.metrics,
        addresses.gateway_metrics,
        f"//{addresses.temporal_address}",
    )
    for url in urls:
        parts = urlsplit(url)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.close()
        await writer.wait_closed()


async def test_gateway_and_admin_interface_listen_on_sockets_for_their_owner_alone(stack: StackProcess) -> None:
    addresses = stack.addresses()
    gateway = Path(addresses.gateway.removeprefix("unix:"))

    for path in (gateway, addresses.router_admin):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        _, writer = await asyncio.open_unix_connection(path)
        writer.close()
        await writer.wait_closed()


async def test_the_database_has_its_tables(stack: StackProcess) -> None:
    assert await run_sql(stack.addresses(), "SELECT count(*) FROM deployments") == [(0,)]


@pytest.mark.parametrize("name", CHILDREN)
async def test_a_killed_child_comes_back(stack: StackProcess, name: str) -> None:
    killed = stack.addresses().children[name]
    os.kill(killed, signal.SIGKILL)
    await until(lambda: stack.addresses().children.get(name) not in {None, killed})
    await until(lambda: set(stack.addresses().children) == set(CHILDREN))


@contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    """Let processes that are started meanwhile ignore a signal."""
    with _meant_as(number, signal.SIG_IGN):
        yield


@contextmanager
def heeded(number: signal.Signals) -> Iterator[None]:
    """Let processes that are started meanwhile heed a signal."""
    with _meant_as(number, signal.SIG_DFL):
        yield


@contextmanager
def _meant_as(number: signal.Signals, handler: signal.Handlers) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.shared
@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_everything(data_dir: Path, with_signal: signal.Signals) -> None:
    # These tests themselves may run under nohup.
    with heeded(with_signal):
        async with stack_process(data_dir, *DATABASES) as process:
            addresses = await process.until_ready()
            assert await process.stop(with_signal) == 0
    assert [pid for pid in addresses.children.values() if is_running(pid)] == []
    assert not (data_dir / "stack.json").exists()


@pytest.mark.shared
async def test_a_background_job_of_a_script_stops_on_an_interrupt(data_dir: Path) -> None:
    """A shell without job control starts such a job with SIGINT ignored."""
    with ignored(signal.SIGINT):
        async with stack_process(data_dir, *DATABASES) as process:
            await process.until_ready()
            assert await process.stop(signal.SIGINT) == 0


@pytest.mark.shared
async def test_a_stack_started_with_nohup_outlives_its_terminal(data_dir: Path) -> None:
    with ignored(signal.SIGHUP):
        async with stack_process(data_dir, *DATABASES) as process:
            await process.until_ready()
            process.process.send_signal(signal.SIGHUP)
            assert await process.stop(signal.SIGTERM) == 0
            assert "SIGHUP" not in await process.errors()


@pytest.mark.shared
async def test_a_signal_while_it_starts_stops_everything(data_dir: Path) -> None:
    async with stack_process(data_dir, *DATABASES) as process:
        await until((data_dir / "children.json").exists)
        assert await process.stop() == 0
    assert not (data_dir / "postgres/cluster/postmaster.pid").exists()
    assert [process for process in psutil.process_iter(["cmdline"]) if str(data_dir) in str(process.info)] == []


async def test_goes_on_where_it_stopped(data_dir: Path) -> None:
    async with stack_process(data_dir, *DATABASES) as process:
        before = await process.until_ready()
        await keep_something(before)
        await process.stop()
    async with stack_process(data_dir, *DATABASES) as process:
        after = await process.until_ready()
        await assert_kept(after)
    assert after.model_copy(update={"pid": before.pid, "children": before.children}) == before


@pytest.mark.shared
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's own")
async def test_a_killed_stack_takes_its_children_along(data_dir: Path) -> None:
    async with stack_process(data_dir, *DATABASES) as process:
        children = (await process.until_ready()).children.values()
        await process.stop(signal.SIGKILL)
        await until(lambda: not any(is_running(pid) for pid in children))


@pytest.mark.shared
async def test_goes_on_where_it_was_killed(data_dir: Path) -> None:
    async with stack_process(data_dir) as process:
        before = await process.until_ready()
        await keep_something(before)
        await process.stop(signal.SIGKILL)
        assert (data_dir / "stack.json").exists()
    async with stack_process(data_dir) as process:
        await assert_kept(await process.until_ready())
        assert [pid for pid in before.children.values() if is_running(pid)] == []


@pytest.mark.shared
async def test_a_stack_file_that_a_killed_stack_left_is_not_believed(data_dir: Path) -> None:
    async with stack_process(data_dir, *DATABASES) as process:
        await process.until_ready()
        await process.stop(signal.SIGKILL)
    with pytest.raises(StackError, match="is stopped: celadon up --data-dir"):
        StackAddresses.of_running(data_dir)


async def test_a_second_stack_in_the_same_directory_is_refused(stack: StackProcess) -> None:
    async with stack_process(stack.data_dir) as second:
        assert await second.process.wait() != 0
        assert f"already runs in {stack.data_dir} (process {stack.process.pid})" in await second.errors()
    await until(lambda: set(stack.addresses().children) == set(CHILDREN))


async def test_two_stacks_run_side_by_side(stack: StackProcess, data_dir: Path) -> None:
    async with stack_process(data_dir) as second:
        addresses = await second.until_ready()
        await keep_something(addresses)
        await until(lambda: set(stack.addresses().children) == set(CHILDREN))


async def test_a_port_that_somebody_took_is_replaced(data_dir: Path) -> None:
    async with stack_process(data_dir, *DATABASES) as process:
        before = await process.until_ready()
    port = urlsplit(f"//{before.temporal_address}").port
    with socket.create_server(("127.0.0.1", port or 0)):
        async with stack_process(data_dir, *DATABASES) as process:
            after = await process.until_ready()
    assert after.temporal_address != before.temporal_address
    assert after.router == before.router
