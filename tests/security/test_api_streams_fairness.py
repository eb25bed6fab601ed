"""Attacks on live streams, over HTTP: one caller takes all, reads nothing, or hides a line of the audit log."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import event
from sqlalchemy.engine import Engine
from temporalio.testing import WorkflowEnvironment

from celadon.domain.language.permissions import Role
from celadon.table.access.tokens import revoke_token
from celadon.table.core.engine import Table
from celadon.table.rollouts.audit import write_event
from tests.api.conftest import DEADLINE_SECONDS, GENEROUS, PATIENT, ApiClient, running_api
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

LONG = "x" * 2000


@pytest_asyncio.fixture(loop_scope="session")
async def api(table: Table, temporal_env: WorkflowEnvironment) -> AsyncIterator[ApiClient]:
    """Run an API with room for eight streams, four of one caller."""
    async with running_api(table, temporal_env, api_max_streams=8, api_max_streams_per_caller=4, **GENEROUS) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def rows(table: Table) -> Rows:
    """Return an empty table with a keeper that lives."""
    return await Rows.with_keeper(table)


class Follower:
    """An open stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self, *kinds: str) -> dict[str, Any]:
        """Return the next event of one of these kinds."""
        found: dict[str, Any] = {}
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                line = (await self.answer.content.readuntil(b"\n")).decode().rstrip("\n")
                assert line or not self.answer.content.at_eof(), "the stream ended"
                if line:
                    name, _, value = line.partition(": ")
                    found[name] = value
                elif found.get("event") in kinds:
                    return {**found, "data": json.loads(found["data"])}
                else:
                    found = {}

    async def kinds(self, count: int) -> list[str]:
        """Return what the next lines of the audit log are of."""
        return [(await self.next("audit"))["data"]["kind"] for _ in range(count)]


@asynccontextmanager
async def following(
    api: ApiClient, path: str = "/v1/stream", after: str | None = None, role: Role = Role.VIEWER, **scope: str
) -> AsyncIterator[Follower]:
    headers = {"authorization": f"Bearer {await api.token(role, **scope)}"}
    if after is not None:
        headers["last-event-id"] = after
    timeout = aiohttp.ClientTimeout(total=None)
    async with api.session.get(f"{api.url}{path}", headers=headers, timeout=timeout, read_bufsize=2**22) as answer:
        assert answer.status == 200, await answer.text()
        yield Follower(answer)


async def _open_streams(api: ApiClient) -> float:
    text = (await api.call("GET", "/metrics", Role.ADMIN)).text
    [line] = [line for line in text.splitlines() if line.startswith("celadon_api_streams ")]
    return float(line.split()[1])


async def _until_open(api: ApiClient, count: int) -> None:
    async def are_open() -> bool:
        return await _open_streams(api) == count

    async with asyncio.timeout(DEADLINE_SECONDS * 2):
        await api.until(are_open)


async def test_one_caller_cannot_take_all_streams(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    async with AsyncExitStack() as held:
        for _ in range(4):
            await held.enter_async_context(following(api))
        refused = await api.call("GET", "/v1/stream", Role.VIEWER)
        assert (refused.status, refused.code) == (429, "TOO_MANY_STREAMS")
        await held.enter_async_context(following(api, role=Role.OPERATOR))


async def test_two_callers_together_leave_room_for_a_third(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    async with AsyncExitStack() as held:
        for role in (Role.VIEWER, Role.OPERATOR):
            for _ in range(3):
                await held.enter_async_context(following(api, role=role))
            assert await _open_streams(api) <= 6
        for role in (Role.VIEWER, Role.OPERATOR):
            assert (await api.call("GET", "/v1/stream", role)).status == 429
        await held.enter_async_context(following(api, role=Role.APPROVER))
        await held.enter_async_context(following(api, role=Role.ADMIN))


async def test_a_stream_that_is_closed_makes_room(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    for _ in range(3):
        async with AsyncExitStack() as held:
            for _ in range(4):
                await held.enter_async_context(following(api))
        await _until_open(api, 0)


async def test_a_line_that_is_committed_late_reaches_every_stream(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    await rows.live("run-2", deployment="ads")
    async with AsyncExitStack() as held:
        of_all = await held.enter_async_context(following(api))
        of_chat = await held.enter_async_context(following(api, "/v1/deployments/chat/stream"))
        async with rows.table.transaction() as low:
            await write_event(low, "chat", None, "low")
            async with rows.table.transaction() as high:
                await write_event(high, "ads", None, "high")
        assert await of_all.kinds(2) == ["low", "high"]
        assert await of_chat.kinds(1) == ["low"]


async def test_who_resumes_after_a_higher_number_gets_the_lower_one_that_was_committed_later(
    api: ApiClient, rows: Rows
) -> None:
    await rows.live()
    await rows.live("run-2", deployment="ads")
    async with rows.table.transaction() as first, rows.table.transaction() as second:
        # The second takes its turn among transactions first, and its number last.
        await write_event(second, "ads", None, "two: begun")
        await write_event(first, "chat", None, "one")
        await write_event(second, "ads", None, "two: goes on")
    async with following(api, after="0") as follower:
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["data"]["kind"] != "one":
            seen.append(await follower.next("audit"))
    assert [one["data"]["kind"] for one in seen[-3:]] == ["two: begun", "two: goes on", "one"]
    assert int(seen[-1]["id"]) < int(seen[-2]["id"])
    async with following(api, after=seen[-2]["id"]) as follower:
        assert await follower.kinds(1) == ["one"]


@contextmanager
def _reads() -> Iterator[list[str]]:
    """Collect the reads of the audit log that the feed makes."""
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "pg_snapshot_xmin" in statement and "settled" in statement:
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_however_many_follow_a_change_is_read_once_for_a_scope(
    table: Table, temporal_env: WorkflowEnvironment, rows: Rows
) -> None:
    # What looks from time to time would be counted too.
    times = replace(PATIENT, look=timedelta(hours=1))
    await rows.live()
    async with running_api(table, temporal_env, times, **GENEROUS) as api, AsyncExitStack() as held:
        followers = [
            await held.enter_async_context(following(api, path))
            for path in ["/v1/stream"] * 9 + ["/v1/deployments/chat/stream"] * 9
        ]
        for follower in followers:
            await follower.next("deployments", "deployment")
        with _reads() as reads:
            async with rows.table.transaction() as tx:
                await write_event(tx, "chat", None, "noted")
            for follower in followers:
                assert await follower.kinds(1) == ["noted"]
        # Once for all deployments and once for the one; again where the line was held back by somebody's transaction.
        assert 2 <= len(reads) < len(followers)


@asynccontextmanager
async def _deaf(api: ApiClient, path: str, role: Role) -> AsyncIterator[socket.socket]:
    """Open a stream from the first line on, and never read of it."""
    address = urlsplit(api.url)
    token = await api.token(role)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)  # noqa: FBT003 - the library's own argument
    try:
        await asyncio.get_running_loop().sock_connect(deaf, (address.hostname, address.port))
        head = [
            f"GET {path} HTTP/1.1",
            f"host: {address.netloc}",
            f"authorization: Bearer {token}",
            "last-event-id: 0",
        ]
        await asyncio.get_running_loop().sock_sendall(deaf, "\r\n".join([*head, "", ""]).encode())
        yield deaf
    finally:
        deaf.close()


async def _write_much(rows: Rows) -> None:
    """Write more into the audit log than the buffers between two processes hold."""
    await rows.live()
    await rows.sql(
        "insert into rollout_events (deployment, kind, reason) "
        "select 'chat', 'noted', :reason from generate_series(1, 6000)",
        reason=LONG,
    )


async def test_who_reads_nothing_is_dropped_and_keeps_nobody_waiting(
    table: Table, temporal_env: WorkflowEnvironment, rows: Rows
) -> None:
    await _write_much(rows)
    times = replace(PATIENT, send=timedelta(seconds=1))
    async with running_api(table, temporal_env, times, **GENEROUS) as api, AsyncExitStack() as held:
        for path in ("/v1/stream", "/v1/deployments/chat/stream"):
            await held.enter_async_context(_deaf(api, path, Role.VIEWER))
        await _until_open(api, 2)
        follower = await held.enter_async_context(following(api, role=Role.OPERATOR))
        async with rows.table.transaction() as tx:
            await write_event(tx, "chat", None, "heard")
        assert await follower.kinds(1) == ["heard"]
        await _until_open(api, 1)


async def test_a_slow_reader_misses_no_line_of_the_log(api: ApiClient, rows: Rows) -> None:
    """What the feed keeps for all is less than what this one is behind with."""
    await _write_much(rows)
    async with following(api, after="0") as follower:
        await follower.kinds(1)
        await rows.sql(
            "insert into rollout_events (deployment, kind, reason) "
            "select 'chat', 'more', :reason from generate_series(1, 1500)",
            reason=LONG,
        )
        seen = [int((await follower.next("audit"))["id"])]
        wanted = [row["id"] for row in await rows.rows("select id from rollout_events order by id")]
        while seen[-1] != wanted[-1]:
            seen.append(int((await follower.next("audit"))["id"]))
    assert seen == wanted[1:]


async def test_a_revoked_token_ends_a_stream_that_nothing_happens_on(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    async with following(api, "/v1/deployments/chat/stream") as follower:
        await follower.next("deployment")
        async with rows.table.transaction() as tx:
            assert await revoke_token(tx, api.name_of(Role.VIEWER)) is not None
        assert (await follower.next("gone"))["data"]["code"] == "FORBIDDEN"
    await _until_open(api, 0)


async def test_a_scoped_caller_learns_nothing_of_what_others_follow(api: ApiClient, rows: Rows) -> None:
    """Its stream is read for its scope alone, also while somebody follows everything."""
    await rows.live(labels={"team": "search"})
    await rows.live("run-2", deployment="secret")
    async with following(api) as of_all, following(api, team="search") as scoped:
        await of_all.next("deployments")
        await scoped.next("deployments")
        async with rows.table.transaction() as tx:
            await write_event(tx, "secret", None, "hidden")
        async with rows.table.transaction() as tx:
            await write_event(tx, "chat", None, "shown")
        assert await of_all.kinds(2) == ["hidden", "shown"]
        first = await scoped.next("audit", "deployments")
        assert "secret" not in json.dumps(first)
        assert first["data"].get("kind", "shown") == "shown"
