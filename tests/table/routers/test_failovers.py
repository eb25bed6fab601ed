"""What blue took for green, as routers report it."""

from celadon.domain.language.names import RouteSetId
from celadon.table.read.overview import view_deployment
from celadon.table.routers.failovers import record_failovers
from tests.table.rows import Rows


async def record(rows: Rows, node: str, route_set: RouteSetId, requests: int) -> None:
    async with rows.table.transaction() as tx:
        await record_failovers(tx, node, "gateway-1", {route_set: requests})


async def counted(rows: Rows) -> dict[str, int]:
    found = await rows.rows("select router, requests from failovers order by router")
    return {one["router"]: one["requests"] for one in found}


async def test_reports_add_up_by_router(rows: Rows) -> None:
    blue = await rows.live()
    await rows.switched("run-2")
    for node, requests in (("r1", 3), ("r2", 5), ("r1", 4)):
        await rows.router(node, 1)
        await record(rows, node, blue.green, requests)

    assert await counted(rows) == {"r1": 7, "r2": 5}


async def test_the_audit_log_of_the_rollout_tells_once_of_each_router(rows: Rows) -> None:
    blue = await rows.live()
    opened = await rows.switched("run-2")
    await rows.router("r1", 1)

    for _ in range(3):
        await record(rows, "r1", blue.green, 2)

    [event] = await rows.rows("select rollout, actor, reason, evidence from rollout_events where kind = 'failover'")
    assert (event["rollout"], event["actor"]) == (opened.begun.rollout, "gateway")
    assert event["reason"] == "no replica of green could take requests, so that blue took them"
    assert event["evidence"] == {"router": "r1", "route_set": str(blue.green), "gateway": "gateway-1"}


async def test_a_router_that_nobody_has_enrolled_is_not_believed(rows: Rows) -> None:
    blue = await rows.live()

    await record(rows, "r1", blue.green, 2)

    assert await counted(rows) == {}


async def test_a_set_that_is_not_there_changes_nothing(rows: Rows) -> None:
    await rows.live()
    await rows.router("r1", 1)

    await record(rows, "r1", RouteSetId(10**9), 2)

    assert await counted(rows) == {}


async def test_a_deployment_shows_what_its_blue_took(rows: Rows) -> None:
    blue = await rows.live()
    await rows.switched("run-2")
    for node in ("r1", "r2"):
        await rows.router(node, 1)
        await record(rows, node, blue.green, 20)

    async with rows.table.transaction() as tx:
        view = await view_deployment(tx, "chat")

    assert view is not None
    took = {one.route_set: (one.failover_requests, one.failover_since is not None) for one in view.sets}
    assert took[blue.green] == (40, True)
    assert set(took.values()) == {(40, True), (0, False)}
