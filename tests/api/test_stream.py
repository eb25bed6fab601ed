"""Live changes as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from celadon.api.feed import ChangeFeed
from celadon.domain.language.permissions import Role
from celadon.table.access.tokens import revoke_token
from celadon.table.read.event_order import Place
from tests.api.conftest import DEADLINE_SECONDS, ApiClient
from tests.table.rows import Rows

pytestmark = pytest.mark.parts


class Stream:
    """An open stream."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self, *kinds: str) -> dict[str, Any]:
        """Return the next event of one of these kinds."""
        event: dict[str, Any] = {}
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                raw = await self.answer.content.readuntil(b"\n")
                assert raw, "the stream ended"
                line = raw.decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                    continue
                if event.get("event") in kinds:
                    return {**event, "data": json.loads(event["data"])}
                event = {}


@asynccontextmanager
async def following(
    api: ApiClient, path: str, role: Role = Role.VIEWER, after: str | None = None, **scope: str
) -> AsyncIterator[Stream]:
    headers = {"authorization": f"Bearer {await api.token(role, **scope)}"}
    if after is not None:
        headers["last-event-id"] = after
    async with api.session.get(
        f"{api.url}{path}", headers=headers, timeout=aiohttp.ClientTimeout(total=None)
    ) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


async def test_a_deployment_is_shown_at_once_and_when_it_changes(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    async with following(api, "/v1/deployments/chat/stream") as stream:
        first = await stream.next("deployment")
        assert first["data"]["deployment"]["live_revision"] == 1
        second = await rows.switched("run-2")
        lines = [await stream.next("audit") for _ in range(2)]
        assert {line["data"]["kind"] for line in lines} >= {"started"}
        assert all(line["data"]["deployment"] == "chat" for line in lines)
        shown = first
        while shown["data"]["deployment"]["live_revision"] != second.begun.to_revision:
            shown = await stream.next("deployment")


async def test_a_broken_stream_resumes_where_it_ended(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    async with following(api, "/v1/stream", after="0") as stream:
        first = await stream.next("audit")
        second = await stream.next("audit")
    await rows.open("run-2")
    async with following(api, "/v1/stream", after=first["id"]) as stream:
        assert (await stream.next("audit"))["id"] == second["id"]
    everything = (await api.call("GET", f"/v1/events?after={first['id']}", Role.VIEWER)).json["events"]
    async with following(api, "/v1/stream", after=first["id"]) as stream:
        seen = [int((await stream.next("audit"))["id"]) for _ in everything]
    assert seen == [one["id"] for one in everything]


async def test_who_has_the_head_of_a_stream_misses_nothing_after_it(
    api: ApiClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = ChangeFeed.newest

    async def late(feed: ChangeFeed) -> Place:
        await asyncio.sleep(1)
        return await newest(feed)

    monkeypatch.setattr(ChangeFeed, "newest", late)
    async with following(api, "/v1/stream") as stream:
        await rows.open()
        assert (await stream.next("audit"))["data"]["kind"] == "started"


async def test_a_stream_of_all_keeps_to_the_scope(api: ApiClient, rows: Rows) -> None:
    await rows.live(deployment="ads")
    await rows.live("run-2", labels={"team": "search"})
    async with following(api, "/v1/stream", after="0", team="search") as stream:
        listed = await stream.next("deployments")
        assert [one["deployment"] for one in listed["data"]["deployments"]] == ["chat"]
    async with following(api, "/v1/stream", after="0", team="search") as stream:
        assert (await stream.next("audit"))["data"]["deployment"] == "chat"


async def test_a_stream_ends_when_its_deployment_leaves_the_scope(api: ApiClient, rows: Rows) -> None:
    await rows.live(labels={"team": "search"})
    async with following(api, "/v1/deployments/chat/stream", team="search") as stream:
        await stream.next("deployment")
        moved = await api.call("PUT", "/v1/deployments/chat/labels", Role.ADMIN, body={"labels": {"team": "ads"}})
        assert moved.status == 200
        assert (await stream.next("gone"))["data"]["code"] == "NO_SUCH_DEPLOYMENT"


async def test_what_is_not_there_is_refused_before_the_stream_begins(api: ApiClient) -> None:
    assert (await api.call("GET", "/v1/deployments/nobody/stream", Role.VIEWER)).code == "NO_SUCH_DEPLOYMENT"
    wrong = await api.call("GET", "/v1/stream", Role.VIEWER, headers={"last-event-id": "x"})
    assert wrong.code == "INVALID_PAYLOAD"


async def test_a_stream_ends_with_its_callers_token(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    async with following(api, "/v1/stream") as stream:
        await stream.next("deployments")
        async with rows.table.transaction() as tx:
            assert await revoke_token(tx, api.name_of(Role.VIEWER)) is not None
        assert (await stream.next("gone"))["data"]["code"] == "FORBIDDEN"
