"""Routers that come back, refuse, or are replaced, on the real Envoy."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from celadon.domain.decisions.publication import SetRole
from celadon.domain.language.names import RouterNode
from celadon.gateway import discovery, load_reports, resources
from celadon.gateway.protobuf import message_class
from celadon.gateway.resources import ResourceType
from tests.gateway.conftest import Gateway, free_port, serving
from tests.gateway.load import under_load
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_router, until
from tests.gateway.traffic import BLUE, after_switch, before_switch, publication

pytestmark = pytest.mark.parts


def resources_sent(gateway: Gateway) -> dict[ResourceType, int]:
    """Return what a gateway has sent so far."""
    return {kind: gateway.sent(kind) for kind in ResourceType}


NOTHING = dict.fromkeys(ResourceType, 0)


async def test_a_router_that_comes_back_acknowledges_without_being_sent_anything(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await gateway.server.stop()
    loaded = [before_switch(7, [blue.port], [green.port])]
    async with serving(loaded, gateway.routing, gateway.address) as restarted:
        await until(lambda: restarted.heard.epoch() == 7)
        assert resources_sent(restarted) == NOTHING
        assert (await router.ask()).json["colour"] == "blue"


async def test_a_switch_that_was_missed_is_told_when_the_router_comes_back(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await gateway.server.stop()
    async with serving([after_switch(2, [blue.port], [green.port])], gateway.routing, gateway.address) as restarted:
        await until(lambda: restarted.heard.epoch() == 2)
        assert resources_sent(restarted) == {**NOTHING, ResourceType.ENDPOINTS: 2}
        assert (await router.ask()).json["colour"] == "green"


async def test_the_router_serves_on_while_the_gateway_is_away(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    async with under_load(router) as load:
        await gateway.server.stop()
        await asyncio.sleep(0.3)
        async with serving([after_switch(2, [blue.port], [green.port])], gateway.routing, gateway.address) as restarted:
            await until(lambda: restarted.heard.epoch() == 2)
    assert load.failed == 0


async def test_what_a_router_refuses_is_recorded_and_not_acknowledged(gateway: Gateway, router: Router) -> None:
    refused = publication(2, {(BLUE, SetRole.LIVE): [80]}, host="not-an-ip-address")
    gateway.server.publish([refused])
    await until(lambda: "not-an-ip-address" in gateway.heard.refusals.get(router.node, ""))
    assert gateway.heard.epoch() == 1
    assert (await router.ask()).json["colour"] == "blue"


async def test_a_refusal_is_cleared_by_the_next_acknowledgement(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    gateway.server.publish([publication(2, {(BLUE, SetRole.LIVE): [80]}, host="not-an-ip-address")])
    await until(lambda: bool(gateway.heard.refusals.get(router.node)))
    await gateway.tell(after_switch(3, [blue.port], [green.port]))
    assert gateway.heard.refusals[router.node] == ""


async def test_a_deployment_that_is_refused_at_the_start_stops_no_other(
    gateway: Gateway,
    tmp_path: Path,
    blue: Replica,
) -> None:
    gateway.server.publish([publication(1, {(BLUE, SetRole.LIVE): [80]}, "bad", host="not-an-ip-address")])
    gateway.server.publish([publication(1, {(BLUE, SetRole.LIVE): [blue.port]}, "good")])
    ports = gateway.routing
    assert ports.preview is not None
    async with running_router(tmp_path, gateway.address, ports.live.port, ports.preview.port) as router:
        await until(lambda: gateway.heard.epoch("good") == gateway.heard.epoch("chat") == 1)
        assert (await router.ask(host="good")).status == 200
        assert gateway.heard.epoch("bad") == -1
        assert "not-an-ip-address" in gateway.heard.refusals[router.node]


async def test_a_deployment_that_is_refused_later_stops_no_other(
    gateway: Gateway,
    router: Router,
    blue: Replica,
) -> None:
    gateway.server.publish([publication(1, {(BLUE, SetRole.LIVE): [80]}, "bad", host="not-an-ip-address")])
    await gateway.tell(publication(1, {(BLUE, SetRole.LIVE): [blue.port]}, "good"))
    assert (await router.ask(host="good")).status == 200
    assert "not-an-ip-address" in gateway.heard.refusals[router.node]


async def test_a_router_without_a_name_is_told_what_is_missing(gateway: Gateway) -> None:
    async with grpc.aio.insecure_channel(str(gateway.address)) as channel:
        for service in (discovery, load_reports):
            open_stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
            open_stream = channel.stream_stream(f"/{service.SERVICE}/{service.METHOD}")
            call = open_stream()
            await call.write(b"")
            assert (await call.code(), "node.id" in await call.details()) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.parametrize("name", ["x" * 3000, "é" * 101])
async def test_a_name_that_no_router_can_have_is_refused_at_the_door_and_not_repeated(
    gateway: Gateway,
    name: str,
) -> None:
    async with grpc.aio.insecure_channel(str(gateway.address)) as channel:
        for service, message in (
            (discovery, "envoy.service.discovery.v3.DeltaDiscoveryRequest"),
            (load_reports, "envoy.service.load_stats.v3.LoadStatsRequest"),
        ):
            request = message_class(message).FromString(b"")
            request.node.id = name  # type: ignore[attr-defined]
            open_stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
            open_stream = channel.stream_stream(f"/{service.SERVICE}/{service.METHOD}")
            call = open_stream()
            await call.write(request.SerializeToString())

            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            told = str(await call.details())
            assert "200" in told
            assert len(told.encode()) < 400

    assert gateway.heard.connections == []


async def test_the_newest_stream_of_a_router_wins(gateway: Gateway, router: Router, tmp_path: Path) -> None:
    ports = gateway.routing
    assert ports.preview is not None
    async with running_router(tmp_path, gateway.address, ports.live.port, ports.preview.port):
        await until(lambda: len(gateway.heard.connections) >= 2)
        assert gateway.heard.gone == []
        router.process.kill()
        await router.process.wait()
        gateway.heard.epochs.clear()
        gateway.server.publish([publication(2, {(BLUE, SetRole.LIVE): [1]})])
        await until(lambda: gateway.heard.epoch() == 2)


async def test_two_routers_acknowledge_each_for_itself(
    gateway: Gateway,
    router: Router,
    tmp_path: Path,
    blue: Replica,
    green: Replica,
) -> None:
    async with running_router(tmp_path, gateway.address, free_port(), free_port(), "second"):
        await until(lambda: gateway.heard.epoch(node="second") == 1)
        await gateway.tell(after_switch(2, [blue.port], [green.port]))
        await until(lambda: gateway.heard.epoch(node="second") == 2)
        assert set(gateway.heard.connections) == {router.node, RouterNode("second")}


async def test_a_changed_cluster_is_warm_and_acknowledged_at_once(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await gateway.server.stop()
    monkeypatch.setattr(resources, "UNLIMITED", 999_999)
    resources.cluster.cache_clear()
    try:
        loaded = [before_switch(2, [blue.port], [green.port])]
        async with serving(loaded, gateway.routing, gateway.address) as restarted, under_load(router) as load:
            await until(lambda: restarted.heard.epoch() == 2)
            assert resources_sent(restarted) == {**NOTHING, ResourceType.CLUSTER: 2, ResourceType.ENDPOINTS: 2}
            await restarted.tell(publication(1, {(BLUE, SetRole.LIVE): [blue.port]}, "proves-that-clusters-are-warm"))
        assert load.failed == 0
    finally:
        monkeypatch.undo()
        resources.cluster.cache_clear()
