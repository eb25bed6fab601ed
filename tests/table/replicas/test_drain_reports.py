"""What live routers say of requests that still run."""

from celadon.domain.decisions.drain import RouterDrain
from celadon.domain.language.names import Epoch, RouteSetId
from celadon.table.replicas.drain_reports import read_drain_reports
from celadon.table.routers.reports import SetLoad, record_load
from tests.table.rows import Opened, Rows


async def draining(rows: Rows) -> tuple[Opened, RouteSetId, int]:
    """Return a rollout whose blue drains, blue, and the epoch of the drain."""
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    return second, first.green, await rows.value("select drain_epoch from route_sets where id = :id", id=first.green)


async def reports(rows: Rows, route_set: RouteSetId) -> tuple[RouterDrain, ...]:
    async with rows.table.transaction() as tx:
        return (await read_drain_reports(tx, [route_set])).routers[route_set]


async def report(
    rows: Rows, node: str, route_set: RouteSetId, running: int, zero_reports: int, epoch: int | None = None
) -> None:
    """Report at the deployment's present epoch, unless another one is given."""
    present = await rows.value("select epoch from deployments")
    load = SetLoad(
        route_set=route_set,
        epoch=Epoch(present if epoch is None else epoch),
        running=running,
        zero_reports=zero_reports,
    )
    async with rows.table.transaction() as tx:
        await record_load(tx, node, [load])


async def test_every_live_router_is_asked_about_a_drain(rows: Rows) -> None:
    _, blue, epoch = await draining(rows)
    await rows.router("edge-1", epoch)
    await rows.router("edge-2", epoch - 1)
    await rows.router("edge-3", epoch)
    await rows.sql("update routers set gone_at = now() where node = 'edge-3'")
    await rows.connect("edge-4")
    await report(rows, "edge-1", blue, 4, 0)

    assert await reports(rows, blue) == (
        RouterDrain(router="edge-1", acknowledged=True, running=4, zero_reports=0),
        RouterDrain(router="edge-2", acknowledged=False, running=None, zero_reports=0),
    )


async def test_a_report_from_before_the_drain_says_nothing(rows: Rows) -> None:
    _, blue, epoch = await draining(rows)
    await rows.router("edge-1", epoch)
    await report(rows, "edge-1", blue, 0, 9)
    await rows.sql("update router_load set reported_at = reported_at - interval '1 hour'")

    assert await reports(rows, blue) == (RouterDrain(router="edge-1", acknowledged=True, running=None, zero_reports=0),)


async def test_a_zero_of_an_earlier_drain_that_is_written_late_says_nothing(rows: Rows) -> None:
    second, blue, earlier = await draining(rows)
    await rows.switch_back(second)
    again = await rows.switched("run-3")
    await rows.close(again, blue)
    epoch = await rows.value("select drain_epoch from route_sets where id = :id", id=blue)
    await rows.router("edge-1", epoch)
    await report(rows, "edge-1", blue, 0, 9, epoch=earlier)

    assert await reports(rows, blue) == (RouterDrain(router="edge-1", acknowledged=True, running=None, zero_reports=0),)

    await report(rows, "edge-1", blue, 3, 0)
    await report(rows, "edge-1", blue, 0, 9, epoch=earlier)

    assert await reports(rows, blue) == (RouterDrain(router="edge-1", acknowledged=True, running=3, zero_reports=0),)


async def test_without_routers_nobody_reports(rows: Rows) -> None:
    _, blue, _ = await draining(rows)

    assert await reports(rows, blue) == ()
