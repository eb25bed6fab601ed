"""Lists that are longer than a page are shown whole, whichever way a Celadon is reached."""

import json

import pytest

from celadon.table.core.paging import LONGEST_PAGE
from tests.cli.access.conftest import Ways
from tests.cli.conftest import Command
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

MANY = LONGEST_PAGE + 5


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_people_see_every_deployment(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.sql(
        "insert into deployments (name, replicas, lifecycle) "
        "select 'd' || lpad(n::text, 4, '0'), 1, 'pending' from generate_series(1, :count) n",
        count=MANY,
    )
    await ways.take(way)

    listed = json.loads((await command("deployment", "list", "-o", "json")).stdout)

    names = [one["deployment"] for one in listed["deployments"]]
    assert names == [f"d{number:04}" for number in range(1, MANY + 1)]
    assert listed["next_after"] is None


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_people_see_every_revision(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await rows.sql(
        "insert into revisions (deployment, number, digest, content) "
        "select deployment, n, digest || n, content from revisions, generate_series(2, :count) n",
        count=MANY,
    )
    await ways.take(way)

    listed = json.loads((await command("revision", "list", "chat", "-o", "json")).stdout)

    assert [one["number"] for one in listed["revisions"]] == list(range(MANY, 0, -1))


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_people_see_every_router(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.sql(
        "insert into routers (node, gateway, stream_started_at, seen_at) "
        "select 'edge-' || lpad(n::text, 4, '0'), 'gateway', now(), now() from generate_series(1, :count) n",
        count=MANY,
    )
    await ways.take(way)

    listed = json.loads((await command("router", "list", "-o", "json")).stdout)

    assert [one["router"] for one in listed["routers"]] == [f"edge-{number:04}" for number in range(1, MANY + 1)]
