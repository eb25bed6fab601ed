"""Pages of lists meet without gap or overlap, whatever is listed."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import Epoch
from celadon.table.read import of_deployments
from celadon.table.read.overview import list_deployments, list_names
from celadon.table.read.router_list import behind_of, list_routers
from tests.revisions import serving
from tests.table.rows import Rows

Page = Callable[[AsyncSession, Any], Awaitable[list[Any]]]


async def _all(rows: Rows, page: Page, place: Callable[[Any], Any]) -> list[Any]:
    """Return every element, read two by two."""
    seen: list[Any] = []
    after: Any = None
    while True:
        async with rows.table.transaction() as tx:
            found = await page(tx, after)
        assert len(found) <= 2
        if not found:
            return seen
        seen += [place(one) for one in found]
        after = place(found[-1])


async def test_deployments_are_paged_by_name(rows: Rows) -> None:
    names = [f"d{number}" for number in range(5)]
    for name in reversed(names):
        await rows.live(f"run-{name}", deployment=name)

    async def page(tx: AsyncSession, after: str | None) -> list[Any]:
        return list(await list_deployments(tx, after=after, limit=2))

    assert await _all(rows, page, lambda line: line.deployment) == names
    async with rows.table.transaction() as tx:
        assert await list_names(tx) == tuple(names)
        assert await list_names(tx, limit=3) == tuple(names[:3])
        assert all(line.healthy == 1 and line.rollout is not None for line in await list_deployments(tx))


async def test_revisions_rollouts_and_lines_are_paged_newest_first(rows: Rows) -> None:
    for number in range(5):
        await rows.live(f"run-{number}", revision=serving(str(number)))
    await rows.live("run-ads", deployment="ads")
    reads: dict[str, tuple[Any, Callable[[Any], int], str]] = {
        "revisions": (of_deployments.revisions_of, lambda one: one.number, "select number from revisions"),
        "rollouts": (of_deployments.rollouts_of, lambda one: one.rollout, "select id from rollouts"),
        "events": (of_deployments.events_of, lambda one: one.id, "select id from rollout_events"),
    }
    for read, place, query in reads.values():

        async def page(tx: AsyncSession, before: int | None, read: Any = read) -> list[Any]:
            found = await read(tx, ["chat", "ads"], before=before, limit=2)
            assert all(len(one) <= 2 for one in found.values())
            return list(found["chat"])

        numbers = [next(iter(row.values())) for row in await rows.rows(f"{query} where deployment = 'chat'")]
        assert await _all(rows, page, place) == sorted(numbers, reverse=True)


async def test_replicas_sets_and_acknowledgements_are_paged(rows: Rows) -> None:
    live = await rows.live(replicas=5)
    await rows.open("run-2")
    epoch = await rows.value("select epoch from deployments")
    for number in range(5):
        await rows.router(f"edge-{number}", epoch)

    async def replicas(tx: AsyncSession, after: str | None) -> list[Any]:
        return list((await of_deployments.routes_of(tx, ["chat"], after=after, limit=2))["chat"])

    async def sets(tx: AsyncSession, after: int | None) -> list[Any]:
        return list((await of_deployments.route_sets_of(tx, ["chat"], after=after, limit=2))["chat"])

    async def acknowledgements(tx: AsyncSession, after: str | None) -> list[Any]:
        return list((await of_deployments.acknowledgements_of(tx, ["chat"], after=after, limit=2))["chat"])

    assert sorted(await _all(rows, replicas, lambda one: one.route)) == sorted(live.routes)
    assert len(await _all(rows, sets, lambda one: one.route_set)) == 2
    assert await _all(rows, acknowledgements, lambda one: one.router) == [f"edge-{number}" for number in range(5)]


async def test_replicas_are_paged_on_from_one_that_has_ended(rows: Rows) -> None:
    await rows.live(replicas=3)
    async with rows.table.transaction() as tx:
        first, second, third = (await of_deployments.routes_of(tx, ["chat"], after=None, limit=3))["chat"]
    await rows.sql("update routes set status = 'terminated', ended_at = now() where id = :id", id=second.route)
    async with rows.table.transaction() as tx:
        rest = (await of_deployments.routes_of(tx, ["chat"], after=second.route, limit=3))["chat"]
        there = (await of_deployments.routes_of(tx, ["chat"], after=None, limit=3))["chat"]
    assert [one.route for one in rest] == [third.route]
    assert [one.route for one in there] == [first.route, third.route]


async def test_routers_and_what_they_are_behind_with_are_paged(rows: Rows) -> None:
    names = [f"d{number}" for number in range(5)]
    for name in names:
        await rows.live(f"run-{name}", deployment=name)
    for number in range(5):
        await rows.router(f"edge-{number}", Epoch(0))

    async def routers(tx: AsyncSession, after: str | None) -> list[Any]:
        return list((await list_routers(tx, after=after, limit=2)).routers)

    async def behind(tx: AsyncSession, after: str | None) -> list[Any]:
        return list((await behind_of(tx, ["edge-1"], {}, after=after, limit=2))["edge-1"])

    assert await _all(rows, routers, lambda one: one.router) == [f"edge-{number}" for number in range(5)]
    assert await _all(rows, behind, lambda one: one.deployment) == names
    async with rows.table.transaction() as tx:
        first = await list_routers(tx, limit=1, most_behind=2)
        assert (len(first.routers[0].behind), first.routers[0].behind_more) == (2, True)
        whole = await list_routers(tx)
        assert not whole.routers[0].behind_more
