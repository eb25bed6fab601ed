"""Every list of the API is read in the same way: newest first or by name, page after page, to its end."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from celadon.domain.language.permissions import Role
from tests.api.conftest import ApiClient
from tests.revisions import serving
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

LISTS = {
    "/v1/deployments": ("deployments", "deployment", "after"),
    "/v1/routers": ("routers", "router", "after"),
    "/v1/rollouts": ("rollouts", "rollout", "before"),
    "/v1/deployments/chat/rollouts": ("rollouts", "rollout", "before"),
    "/v1/deployments/chat/history": ("rollouts", "rollout", "before"),
    "/v1/deployments/chat/revisions": ("revisions", "number", "before"),
    "/v1/freezes": ("freezes", "id", "before"),
    "/v1/events": ("events", "id", "before"),
    "/v1/deployments/chat/events": ("events", "id", "before"),
    "/v1/deployments/chat/schedules": ("schedules", "schedule", "after"),
}
"""By path: the name of the list, where an element stands in it, and how the next page is asked for."""


SCHEDULES = "/v1/deployments/chat/schedules"


@pytest_asyncio.fixture(loop_scope="session")
async def scheduled(api: ApiClient, rows: Rows) -> AsyncIterator[None]:
    """Let ``chat`` have three schedules, and leave none of them in Temporal."""
    await rows.live("run-0", revision=serving("0"))
    names = [f"paged-{number}" for number in range(3)]
    for name in names:
        body = {"schedule": name, "command": "promote", "cron": "0 3 * * *"}
        made = await api.call("POST", SCHEDULES, Role.ADMIN, body=body)
        assert made.status == 201, made.text
    yield
    for name in names:
        gone = await api.call("DELETE", f"{SCHEDULES}?schedule={name}", Role.ADMIN)
        assert gone.status == 200, gone.text


@pytest.mark.usefixtures("scheduled")
@pytest.mark.parametrize("path", LISTS)
async def test_pages_meet_without_gap_or_overlap(path: str, api: ApiClient, rows: Rows) -> None:
    for number in range(1, 3):
        await rows.live(f"run-{number}", revision=serving(str(number)))
    await rows.live("run-ads", deployment="ads")
    for number in range(3):
        await rows.router(f"edge-{number}", 0)
        body = {"all": True, "begins_at": f"203{number}-01-01T00:00:00Z"}
        made = await api.call("POST", "/v1/freezes", Role.ADMIN, body=body)
        assert made.status == 201, made.text
    items, place, cursor = LISTS[path]
    whole = (await api.call("GET", f"{path}?limit=100", Role.VIEWER)).json

    seen: list[Any] = []
    more = ""
    while True:
        page = (await api.call("GET", f"{path}?limit=2{more}", Role.VIEWER)).json
        seen += [one[place] for one in page[items]]
        if page[f"next_{cursor}"] is None:
            break
        more = f"&{cursor}={page[f'next_{cursor}']}"

    assert seen == [one[place] for one in whole[items]] == sorted(seen, reverse=cursor == "before")
    assert whole[f"next_{cursor}"] is None
    assert len(set(seen)) > 1


async def test_events_go_on_from_a_line_as_they_came(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    newest = (await api.call("GET", "/v1/events", Role.VIEWER)).json

    first = (await api.call("GET", "/v1/events?after=0&limit=2", Role.VIEWER)).json
    rest = (await api.call("GET", f"/v1/events?after={first['next_after']}", Role.VIEWER)).json
    coming = (await api.call("GET", f"/v1/events?after={newest['next_after']}", Role.VIEWER)).json

    told = [one["id"] for page in (first, rest) for one in page["events"]]
    assert told == [one["id"] for one in newest["events"]][::-1]
    assert (coming["events"], coming["next_after"]) == ([], newest["next_after"])


async def test_events_go_one_way_at_a_time(api: ApiClient, rows: Rows) -> None:
    await rows.live()

    refused = await api.call("GET", "/v1/events?before=5&after=1", Role.VIEWER)

    assert (refused.status, refused.code) == (422, "INVALID_PAYLOAD")


async def test_each_line_of_a_past_stands_on_the_page_of_its_time(api: ApiClient, rows: Rows) -> None:
    path = "/v1/deployments/chat/history"
    for number in range(3):
        await rows.live(f"run-{number}", revision=serving(str(number)))
        await rows.scale(number + 3)
    whole = (await api.call("GET", path, Role.VIEWER)).json

    pages = [(await api.call("GET", f"{path}?limit=1", Role.VIEWER)).json]
    while pages[-1]["next_before"] is not None:
        # One rollout a page, and with a limit of one it is one line a page as well: the newest of its time.
        before = pages[-1]["next_before"]
        pages.append((await api.call("GET", f"{path}?limit=1&before={before}", Role.VIEWER)).json)

    assert [one["rollout"] for page in pages for one in page["rollouts"]] == [
        one["rollout"] for one in whole["rollouts"]
    ]
    assert [one["kind"] for page in pages for one in page["events"]] == ["scaled"] * 3
    assert [one["evidence"] for page in pages for one in page["events"]] == [
        one["evidence"] for one in whole["events"] if one["kind"] == "scaled"
    ]


async def test_pages_of_a_past_leave_no_line_out_and_tell_none_twice(api: ApiClient, rows: Rows) -> None:
    path = "/v1/deployments/chat/history"
    for number in range(4):
        await rows.live(f"run-{number}", revision=serving(str(number)))
        await rows.scale(number + 3)
    whole = (await api.call("GET", path, Role.VIEWER)).json
    newest, second, *_ = (one["rollout"] for one in whole["rollouts"])

    older = (await api.call("GET", f"{path}?before={second}", Role.VIEWER)).json
    newer = [one for one in whole["events"] if one not in older["events"]]

    assert {one["rollout"] for one in newer} == {newest, second, None}
    assert [one["kind"] for one in newer if one["rollout"] is None] == ["scaled"] * 2
    assert [one["kind"] for one in older["events"] if one["rollout"] is None].count("scaled") == 2
    assert newer + older["events"] == whole["events"]


async def test_a_past_is_read_page_by_page_or_of_one_rollout(api: ApiClient, rows: Rows) -> None:
    await rows.live()

    refused = await api.call("GET", "/v1/deployments/chat/history?before=5&rollout=1", Role.VIEWER)

    assert (refused.status, refused.code) == (422, "INVALID_PAYLOAD")
