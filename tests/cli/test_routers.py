"""``router list`` and ``router forget`` on a real table."""

import json

from tests.cli.conftest import Command, stay_connected
from tests.table.rows import Rows


async def test_without_routers_the_list_says_how_to_make_one(command: Command, rows: Rows) -> None:
    result = await command("router", "list")

    assert result.exit_code == 0
    assert "celadon router enrol NAME" in result.stdout
    assert rows.fence


async def test_the_list_says_who_is_live_cut_off_behind_refusing_and_gone(command: Command, rows: Rows) -> None:
    await rows.live()
    epoch = await rows.value("select epoch from deployments")
    for node in ("good", "behind", "refusing", "cut", "forgotten"):
        await rows.router(node, 1 if node == "behind" else epoch)
    await rows.connect("new")
    await stay_connected(rows)
    await rows.sql("update routers set nack = 'malformed address' where node = 'refusing'")
    await rows.sql("update routers set stream_ended_at = clock_timestamp() where node = 'cut'")
    await command("router", "forget", "forgotten", "--force")

    text = await command("router", "list")
    given = await command("router", "list", "-o", "json")

    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in text.stdout.splitlines()}
    assert lines["good"].startswith("live")
    assert lines["good"].endswith("everything as it is now")
    assert f"is behind in chat (epoch 1 of {epoch}); blue is kept for it" in lines["behind"]
    assert "refuses its configuration: malformed address" in lines["refusing"]
    assert lines["cut"].startswith("cut off")
    assert lines["new"].startswith("new")
    assert lines["forgotten"].startswith("gone")
    states = {one["router"]: one["state"] for one in json.loads(given.stdout)["routers"]}
    assert states["cut"] == "cut_off"
    assert states["refusing"] == "live"


async def test_a_router_that_is_connected_is_not_forgotten_without_force(command: Command, rows: Rows) -> None:
    await rows.live()
    await rows.router("edge-1", 1)
    await stay_connected(rows)

    refused = await command("router", "forget", "edge-1", "-o", "json")
    done = await command("router", "forget", "edge-1", "--force", "--by", "ann", "--reason", "it hangs", "-o", "json")

    assert refused.exit_code == 1
    error = json.loads(refused.stdout)["error"]
    assert error["code"] == "ROUTER_CONNECTED"
    assert "stop it first" in error["next_step"]
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"router": "edge-1", "was": "live", "deployments": ["chat"]}
    (event,) = await rows.rows("select actor, reason from rollout_events where kind = 'router_forgotten'")
    assert (event["actor"], event["reason"]) == ("ann", "it hangs")


async def test_an_unknown_router_is_refused(command: Command, rows: Rows) -> None:
    await rows.router("edge-1", 1)

    result = await command("router", "forget", "edge-7")

    assert result.exit_code == 1
    assert "there is no router edge-7; there are: edge-1" in result.stderr
