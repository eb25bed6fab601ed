"""CeladonPanic in the audit log."""

from celadon.domain.language.names import DeploymentName, Epoch
from celadon.domain.language.states import RouteHealthStatus
from celadon.table.routers.panic import tell_panic
from celadon.table.routers.traffic import read_traffic
from tests.table.rows import Rows


async def _tell(rows: Rows, epoch: int, *, panic: bool, gateway: str = "a") -> bool:
    async with rows.table.transaction() as tx:
        return await tell_panic(tx, DeploymentName("chat"), Epoch(epoch), panic=panic, gateway=gateway)


async def _panics(rows: Rows) -> list[tuple[str, str]]:
    found = await rows.rows("select kind, evidence from rollout_events where kind like 'celadon_panic%' order by id")
    return [(row["kind"], row["evidence"]["gateway"]) for row in found]


async def test_of_several_gateways_one_tells_that_panic_began_and_one_that_it_is_over(rows: Rows) -> None:
    await rows.live()
    epoch = await rows.value("select epoch from deployments")

    first = [await _tell(rows, epoch, panic=True, gateway=gateway) for gateway in ("a", "b")]
    last = [await _tell(rows, epoch, panic=False, gateway=gateway) for gateway in ("b", "a")]

    assert (first, last) == ([True, False], [True, False])
    assert await _panics(rows) == [("celadon_panic", "a"), ("celadon_panic_over", "b")]


async def test_a_gateway_that_lags_behind_tells_nothing(rows: Rows) -> None:
    await rows.live()
    epoch = await rows.value("select epoch from deployments")

    assert not await _tell(rows, epoch - 1, panic=True)
    assert await _panics(rows) == []


async def test_a_replica_is_ready_from_its_first_good_health_on(rows: Rows) -> None:
    opened = await rows.open(replicas=2)
    late = await rows.add(opened, RouteHealthStatus.UNHEALTHY)
    early = await rows.add(opened, RouteHealthStatus.HEALTHY)
    await rows.set_health(opened, early, RouteHealthStatus.UNHEALTHY, "no")

    async with rows.table.transaction() as tx:
        traffic = await read_traffic(tx, "chat")

    assert traffic is not None
    assert {one.route: one.ready for route_set in traffic.sets for one in route_set.members} == {
        early: True,
        late: False,
    }
