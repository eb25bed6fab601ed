"""Load reports of the real Envoy, against the streams that are really open."""

import asyncio

import pytest

from celadon.domain.decisions.publication import SetRole
from celadon.gateway import resources
from celadon.gateway.load_reports import DrainLoad
from tests.gateway.conftest import Gateway, serving
from tests.gateway.replica import Replica
from tests.gateway.router import Router, until
from tests.gateway.traffic import BLUE, GREEN, after_switch, before_switch, publication

pytestmark = pytest.mark.parts

STREAMS = 5


async def open_streams(router: Router, blue: Replica) -> list[asyncio.Task[str]]:
    """Open streams on blue."""
    streams = [asyncio.create_task(router.stream()) for _ in range(STREAMS)]
    await until(lambda: blue.running == STREAMS)
    return streams


async def test_running_streams_are_counted_exactly_and_reach_zero(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    streams = await open_streams(router, blue)
    await gateway.tell(after_switch(2, [blue.port], [green.port]))
    await until(lambda: gateway.heard.loads.get(BLUE) == DrainLoad(STREAMS, 0))
    streams.pop().cancel()
    await until(lambda: gateway.heard.loads[BLUE].running == STREAMS - 1)
    assert blue.running <= STREAMS
    blue.finish.set()
    await asyncio.gather(*streams)
    await until(lambda: gateway.heard.loads[BLUE].zero_reports >= 2)


async def test_zeros_are_not_counted_while_a_stream_runs(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    streams = await open_streams(router, blue)
    await gateway.tell(after_switch(2, [blue.port], [green.port]))
    await until(lambda: len(gateway.heard.all_loads) >= 3)
    assert {load.zero_reports for load in gateway.heard.all_loads} == {0}
    blue.finish.set()
    await asyncio.gather(*streams)


async def test_previews_that_run_on_a_draining_green_are_counted(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    streams = [asyncio.create_task(router.stream(router.preview)) for _ in range(STREAMS)]
    await until(lambda: green.running == STREAMS)
    aborted = publication(2, {(BLUE, SetRole.LIVE): [blue.port], (GREEN, SetRole.DRAINING): [green.port]})
    in_preview = tuple(endpoint for endpoint in aborted.endpoints if endpoint.route_set == GREEN)
    await gateway.tell(aborted.model_copy(update={"preview": in_preview}))
    await until(lambda: gateway.heard.loads.get(GREEN) == DrainLoad(STREAMS, 0))
    assert (await router.ask(port=router.preview)).status == 404
    green.finish.set()
    await asyncio.gather(*streams)
    await until(lambda: gateway.heard.loads[GREEN].zero_reports >= 2)


async def test_nothing_is_told_while_nothing_drains(gateway: Gateway, router: Router, blue: Replica) -> None:
    streams = await open_streams(router, blue)
    received = gateway.metrics.registry.get_sample_value
    await until(lambda: (received("celadon_gateway_load_reports_total") or 0) >= 2)
    assert gateway.heard.loads == {}
    blue.finish.set()
    await asyncio.gather(*streams)


async def test_reports_come_back_exact_after_the_gateway_was_away(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    streams = await open_streams(router, blue)
    await gateway.tell(after_switch(2, [blue.port], [green.port]))
    await gateway.server.stop()
    async with serving([after_switch(2, [blue.port], [green.port])], gateway.routing, gateway.address) as restarted:
        await until(lambda: restarted.heard.loads.get(BLUE) == DrainLoad(STREAMS, 0))
        blue.finish.set()
        await asyncio.gather(*streams)
        await until(lambda: restarted.heard.loads[BLUE].zero_reports >= 2)


async def test_no_zero_is_believed_after_a_cluster_was_changed_under_running_streams(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams = await open_streams(router, blue)
    await gateway.server.stop()
    monkeypatch.setattr(resources, "UNLIMITED", 999_998)
    resources.cluster.cache_clear()
    try:
        loaded = [before_switch(2, [blue.port], [green.port])]
        async with serving(loaded, gateway.routing, gateway.address) as restarted:
            await until(lambda: restarted.heard.epoch() == 2)
            await restarted.tell(after_switch(3, [blue.port], [green.port]))
            received = restarted.metrics.registry.get_sample_value
            await until(lambda: (received("celadon_gateway_load_reports_total") or 0) >= 2)
            assert (blue.running, restarted.heard.loads) == (STREAMS, {})
            blue.finish.set()
            await asyncio.gather(*streams)
    finally:
        monkeypatch.undo()
        resources.cluster.cache_clear()
