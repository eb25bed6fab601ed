"""How many requests of a deployment run at a time: first what routers are told, then the real Envoy."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from structlog.testing import capture_logs

from celadon.domain.decisions.publication import SetRole
from celadon.domain.language.names import RouterNode
from celadon.domain.language.traffic import DEFAULT_MAX_REQUESTS, TrafficSettings
from celadon.gateway import local_replies
from celadon.gateway.addresses import GatewayAddress
from celadon.gateway.bootstrap import RUNTIME_LAYER, bootstrap
from celadon.gateway.delta import DeltaStream
from celadon.gateway.discovery import DiscoveryRequest
from celadon.gateway.limits import limits_of, runtime_layer
from celadon.gateway.protobuf import message_class
from celadon.gateway.resources import Resource, ResourceType, cluster
from celadon.gateway.routing import Routing
from celadon.gateway.snapshot import Snapshot
from tests.gateway.conftest import Gateway, serving
from tests.gateway.load import under_load
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_envoy, running_router, until
from tests.gateway.test_bounds import decoded
from tests.gateway.test_delta import Router as Subscriber
from tests.gateway.traffic import BLUE, GREEN, after_switch, before_switch, publication, routing

RUNTIME, ROUTES = ResourceType.RUNTIME, ResourceType.ROUTES
NODE = RouterNode("router")
FEW = 4
CHANGES = 20
KEEPS_DEFAULT = "router_keeps_default_limits"


def at_most(requests: int | None) -> TrafficSettings:
    """Return settings with a limit alone."""
    return TrafficSettings(max_requests=requests)


def layer_of(resource: Resource) -> dict[str, float]:
    """Return the keys of a layer."""
    response: Any = message_class("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(resource.wire)
    runtime = message_class(RUNTIME.message).FromString(response.resources[0].resource.value)
    found: dict[str, float] = json_format.MessageToDict(runtime).get("layer", {})
    return found


# What routers are told.


def test_each_cluster_of_a_deployment_has_the_figure_for_requests_that_run_and_for_those_that_wait() -> None:
    assert limits_of(("chat", "chat.grpc"), 7) == {
        f"circuit_breakers.{name}.default.{what}": 7
        for name in ("chat", "chat.grpc")
        for what in ("max_requests", "max_pending_requests")
    }


@pytest.mark.parametrize("default", [None, DEFAULT_MAX_REQUESTS])
def test_the_default_is_told_with_clusters_alone(default: int | None) -> None:
    assert limits_of(("chat",), default) == {}
    [thresholds] = decoded(ResourceType.CLUSTER, cluster("chat"))["circuit_breakers"]["thresholds"]
    assert (thresholds["max_requests"], thresholds["max_pending_requests"]) == (10_000, 10_000)


def test_the_layer_has_the_limits_of_all_deployments_and_the_same_ones_the_same_version() -> None:
    one, other = limits_of(("chat",), 7), limits_of(("code",), 8)
    assert layer_of(runtime_layer([one, other])) == {**one, **other}
    assert runtime_layer([one, other]) == runtime_layer([other, one])
    assert layer_of(runtime_layer([])) == {}


def test_another_limit_changes_the_layer_and_no_cluster_and_no_route() -> None:
    snapshot = Snapshot(routing())
    snapshot.publish(before_switch(1, [1], [2]))
    before = {kind: dict(snapshot.of(kind)) for kind in ResourceType}
    assert not snapshot.publish(before_switch(2, [1], [2], settings=at_most(FEW)))
    changed = {kind for kind in ResourceType if snapshot.of(kind) != before[kind]}
    assert changed == {RUNTIME}
    snapshot.publish(before_switch(3, [1], [2]))
    assert snapshot.of(RUNTIME) == before[RUNTIME]


def test_another_limit_takes_no_others() -> None:
    snapshot = Snapshot(routing())
    for name in ("chat", "code"):
        snapshot.publish(before_switch(1, [1], [2], name))
    snapshot.publish(before_switch(2, [1], [2], "chat", settings=at_most(FEW)))
    assert {key.split(".")[1] for key in layer_of(snapshot.of(RUNTIME)[RUNTIME_LAYER])} == {"chat", "chat-preview"}


def test_a_deployment_that_goes_takes_its_limit_with_it_and_no_others() -> None:
    snapshot = Snapshot(routing())
    for name in ("chat", "code"):
        snapshot.publish(before_switch(1, [1], [2], name, settings=at_most(FEW)))
    snapshot.withdraw("chat")
    assert {key.split(".")[1] for key in layer_of(snapshot.of(RUNTIME)[RUNTIME_LAYER])} == {"code", "code-preview"}


@pytest.fixture
def subscriber() -> Subscriber:
    """Return a router without Envoy that asks for limits, and serves epoch 1."""
    snapshot = Snapshot(routing())
    snapshot.publish(before_switch(1, [1], [2]))
    snapshot.publish(before_switch(1, [1], [2], "code"))
    made = Subscriber(snapshot)
    made.subscribe(RUNTIME, [RUNTIME_LAYER])
    assert [one.kind for one in made.settle()] == [RUNTIME]
    made.ask_for_all()
    assert made.stream.take_acknowledged() == {"chat": 1, "code": 1}
    return made


def test_another_limit_is_acknowledged_when_the_layer_is_accepted(subscriber: Subscriber) -> None:
    subscriber.publish(before_switch(2, [1], [2], settings=at_most(FEW)))
    assert subscriber.stream.take_acknowledged() == {}
    [response] = subscriber.stream.responses()
    assert response.kind is RUNTIME
    subscriber.answer(response)
    assert subscriber.stream.take_acknowledged() == {"chat": 2}


def test_a_limit_that_is_refused_keeps_no_other_deployment_waiting(subscriber: Subscriber) -> None:
    subscriber.publish(before_switch(2, [1], [2], settings=at_most(FEW)))
    [response] = subscriber.stream.responses()
    subscriber.answer(response, refusal="no")
    subscriber.publish(after_switch(2, [1], [2], "code"))
    subscriber.settle()
    assert subscriber.stream.take_acknowledged() == {"code": 2}


def test_a_router_that_refuses_limits_from_its_beginning_acknowledges_deployments_that_have_none() -> None:
    snapshot = Snapshot(routing())
    snapshot.publish(before_switch(1, [1], [2], settings=at_most(FEW)))
    snapshot.publish(before_switch(1, [1], [2], "code"))
    refusing = Subscriber(snapshot)
    refusing.subscribe(RUNTIME, [RUNTIME_LAYER])
    [response] = refusing.stream.responses()
    refusing.answer(response, refusal="no")
    refusing.ask_for_all()
    assert refusing.stream.take_acknowledged() == {"code": 1}
    assert refusing.stream.refusal is not None


def test_a_router_that_asks_for_no_limits_acknowledges_without_them() -> None:
    snapshot = Snapshot(routing())
    snapshot.publish(before_switch(1, [1], [2]))
    older = Subscriber(snapshot)
    older.ask_for_all()
    assert older.stream.take_acknowledged() == {"chat": 1}
    older.publish(before_switch(2, [1], [2], settings=at_most(FEW)))
    assert older.stream.responses() == []
    assert older.stream.take_acknowledged() == {"chat": 2}


def test_a_router_that_comes_back_with_the_limits_acknowledges_at_once(subscriber: Subscriber) -> None:
    subscriber.publish(before_switch(2, [1], [2], settings=at_most(FEW)))
    subscriber.settle()
    subscriber.stream = subscriber.new_stream()
    subscriber.subscribe(RUNTIME, [RUNTIME_LAYER])
    subscriber.ask_for_all()
    assert subscriber.stream.take_acknowledged() == {"chat": 2, "code": 1}


# On the real Envoy.


class Streams:
    """Requests of one deployment that run until they are let go."""

    def __init__(self, router: Router, host: str = "chat") -> None:
        """Begin without any."""
        self._router, self._host = router, host
        self._tasks: list[asyncio.Task[tuple[int, str]]] = []

    async def _run(self) -> tuple[int, str]:
        answer = await self._router.ask("/stream", self._host)
        return answer.status, answer.body

    async def open(self, count: int) -> None:
        """Open so many more."""
        self._tasks += [asyncio.create_task(self._run()) for _ in range(count)]
        await asyncio.sleep(0)

    async def ends(self) -> list[tuple[int, str]]:
        """Return the status and the last line of each, once all have ended."""
        return [(status, body.rstrip().rpartition("\n")[2]) for status, body in await asyncio.gather(*self._tasks)]


@asynccontextmanager
async def two_deployments(
    made: Routing, blue: Replica, green: Replica, directory: Path, chat: TrafficSettings
) -> AsyncIterator[tuple[Gateway, Router]]:
    """Run a router for chat, served by blue, and code, served by green."""
    loaded = [
        publication(1, {(BLUE, SetRole.LIVE): [blue.port]}, settings=chat),
        publication(1, {(BLUE, SetRole.LIVE): [green.port]}, "code"),
    ]
    assert made.preview is not None
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(serving(loaded, made))
        running = running_router(directory, gateway.address, made.live.port, made.preview.port)
        router = await stack.enter_async_context(running)
        await until(lambda: gateway.heard.epoch() == gateway.heard.epoch("code") == 1)
        await until(router.listens)
        yield gateway, router


@pytest.mark.parts
async def test_a_deployment_at_its_limit_refuses_its_own_clients_and_no_other_deployments(
    ports: Routing, blue: Replica, green: Replica, tmp_path: Path
) -> None:
    async with two_deployments(ports, blue, green, tmp_path, at_most(FEW)) as (_, router):
        streams = Streams(router)
        await streams.open(FEW)
        await until(lambda: blue.running == FEW)
        for _ in range(10):
            refused = await router.ask()
            assert (refused.status, refused.json["error"]["code"]) == (503, local_replies.OVERLOADED)
            assert refused.headers["retry-after"] == "2"
            assert (await router.ask(host="code")).json["colour"] == "green"
        others = Streams(router, "code")
        await others.open(3 * FEW)
        await until(lambda: green.running == 3 * FEW)
        blue.finish.set()
        green.finish.set()
        assert await streams.ends() == [(200, "data: [DONE]")] * FEW
        assert await others.ends() == [(200, "data: [DONE]")] * 3 * FEW
        assert (await router.ask()).json["colour"] == "blue"


@pytest.mark.parts
async def test_a_limit_that_changes_under_load_cuts_nothing_and_loses_no_count(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    sent = {kind: gateway.sent(kind) for kind in (ResourceType.CLUSTER, ResourceType.ENDPOINTS, ROUTES)}
    streams = Streams(router)
    await streams.open(FEW)
    await until(lambda: blue.running == FEW)
    async with under_load(router) as load:
        for epoch in range(2, 2 + CHANGES):
            await load.more(3)
            settings = at_most(1_000 if epoch % 2 else None)
            await gateway.tell(before_switch(epoch, [blue.port], [green.port], settings=settings))
    assert load.failed == 0
    assert {kind: gateway.sent(kind) for kind in sent} == sent
    # Fewer than run: they run on, and only new ones are refused.
    last = 2 + CHANGES
    await gateway.tell(before_switch(last, [blue.port], [green.port], settings=at_most(1)))
    assert (await router.ask()).status == 503
    assert blue.running == FEW
    # What drains is counted as before.
    await gateway.tell(after_switch(last + 1, [blue.port], [green.port], settings=at_most(1)))
    await until(lambda: BLUE in gateway.heard.loads and gateway.heard.loads[BLUE].running == FEW)
    await gateway.tell(after_switch(last + 2, [blue.port], [green.port]))
    assert (await router.ask()).json["colour"] == "green"
    blue.finish.set()
    assert await streams.ends() == [(200, "data: [DONE]")] * FEW
    await until(lambda: gateway.heard.loads[BLUE].zero_reports >= 2)
    loads = [one.running for one in gateway.heard.all_loads]
    assert 0 not in loads[: loads.index(FEW)]
    assert GREEN not in gateway.heard.loads


@pytest.mark.parts
async def test_a_limit_outlasts_the_gateway_and_is_the_same_after_its_restart(
    ports: Routing, blue: Replica, tmp_path: Path
) -> None:
    told = [publication(1, {(BLUE, SetRole.LIVE): [blue.port]}, settings=at_most(1))]
    assert ports.preview is not None
    async with AsyncExitStack() as stack:
        first = AsyncExitStack()
        gateway = await first.enter_async_context(serving(told, ports))
        router = await stack.enter_async_context(
            running_router(tmp_path, gateway.address, ports.live.port, ports.preview.port)
        )
        await until(lambda: gateway.heard.epoch() == 1)
        await until(router.listens)
        streams = Streams(router)
        await streams.open(1)
        await until(lambda: blue.running == 1)
        assert (await router.ask()).status == 503
        await first.aclose()
        assert (await router.ask()).status == 503
        with capture_logs() as logs:
            again = await stack.enter_async_context(serving(told, ports, gateway.address))
            await until(lambda: again.heard.epoch() == 1)
        assert KEEPS_DEFAULT not in [one["event"] for one in logs]
        assert again.heard.takes_limits == {NODE: True}
        assert (await router.ask()).status == 503
        assert again.sent(RUNTIME) == 0
        blue.finish.set()
        assert await streams.ends() == [(200, "data: [DONE]")]


@asynccontextmanager
async def older_router(made: Routing, address: GatewayAddress, directory: Path, admin: Path) -> AsyncIterator[Router]:
    """Run a router whose bootstrap was written before there were limits."""
    assert made.preview is not None
    written = {key: one for key, one in bootstrap(NODE, [address], admin).items() if key != "layered_runtime"}
    async with AsyncExitStack() as stack:
        new = await stack.enter_async_context(running_router(directory, address, made.live.port, made.preview.port))
        new.process.kill()
        await new.process.wait()
        (directory / "older.json").write_text(json.dumps(written))
        new.process = await stack.enter_async_context(running_envoy(directory / "older.json", directory / "older.log"))
        yield new


@pytest.mark.parts
async def test_a_router_whose_bootstrap_has_no_layer_serves_and_keeps_the_default(
    gateway: Gateway, ports: Routing, blue: Replica, green: Replica, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        with capture_logs() as logs:
            older = older_router(ports, gateway.address, tmp_path, tmp_path / "a.sock")
            router = await stack.enter_async_context(older)
            await until(lambda: KEEPS_DEFAULT in [one["event"] for one in logs])
        assert gateway.heard.takes_limits == {NODE: False}
        await until(lambda: gateway.heard.epoch() == 1)
        await until(router.listens)
        await gateway.tell(before_switch(2, [blue.port], [green.port], settings=at_most(1)))
        streams = Streams(router)
        await streams.open(2)
        await until(lambda: blue.running == 2)
        await gateway.tell(after_switch(3, [blue.port], [green.port], settings=at_most(1)))
        assert (await router.ask()).json["colour"] == "green"
        blue.finish.set()
        assert await streams.ends() == [(200, "data: [DONE]")] * 2
        assert gateway.sent(RUNTIME) == 0


@pytest.mark.parts
async def test_a_router_starts_beside_a_gateway_of_before_that_tells_no_limits(
    ports: Routing, blue: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = DeltaStream.receive

    def ignore(self: DeltaStream, request: DiscoveryRequest) -> None:
        if request.kind != RUNTIME:
            receive(self, request)

    monkeypatch.setattr(DeltaStream, "receive", ignore)
    assert ports.preview is not None
    async with (
        serving([publication(1, {(BLUE, SetRole.LIVE): [blue.port]})], ports) as gateway,
        running_router(tmp_path, gateway.address, ports.live.port, ports.preview.port) as router,
    ):
        await until(lambda: gateway.heard.epoch() == 1)
        await until(router.listens)
        assert (await router.ask()).json["colour"] == "blue"
