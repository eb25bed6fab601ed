"""What routers do with the requests of one deployment because it says so: sizes, silence, retries, balancing."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError

from celadon.domain.decisions.publication import Publication, SetRole
from celadon.domain.language.traffic import Traffic, TrafficSettings
from celadon.gateway import local_replies
from celadon.gateway.load_reports import draining_clusters
from celadon.gateway.protobuf import message_class
from celadon.gateway.resources import ResourceType, cluster, deployment_of, deployment_resources, is_preview
from celadon.gateway.routing import Routing
from celadon.gateway.snapshot import Snapshot
from tests.gateway.conftest import Gateway, free_port, serving
from tests.gateway.grpc_replica import GrpcReplica, grpc_client
from tests.gateway.load import under_load
from tests.gateway.replica import Replica
from tests.gateway.router import Router, raw, running_router, until
from tests.gateway.test_bounds import decoded
from tests.gateway.test_limits import Streams
from tests.gateway.traffic import BLUE, GREEN, LOOPBACK, after_switch, before_switch, publication, routing

CLUSTER, ENDPOINTS, ROUTES = ResourceType.CLUSTER, ResourceType.ENDPOINTS, ResourceType.ROUTES
SHORT = timedelta(milliseconds=300)
SESSIONS = 40
HEADER = "x-session-id"


def settings(**written: object) -> TrafficSettings:
    """Return settings as a deployment file writes them."""
    return Traffic.model_validate(written).over(TrafficSettings())


LEAST_REQUEST = settings(load_balancing="least_request")
BY_SESSION = settings(load_balancing={"maglev": {"header": HEADER}})


def live(
    epoch: int, ports: Sequence[int], made: TrafficSettings, deployment: str = "chat", role: SetRole = SetRole.LIVE
) -> Publication:
    """Return a publication of one set."""
    return publication(epoch, {(BLUE, role): ports}, deployment, settings=made)


# What routers are told.


def test_a_cluster_that_balances_by_what_requests_say_is_one_beside_the_other() -> None:
    before = deployment_resources(before_switch(1, [1], [2]))
    after = deployment_resources(before_switch(2, [1], [2], settings=BY_SESSION))
    back = deployment_resources(before_switch(3, [1], [2], settings=LEAST_REQUEST))
    assert {one.name for one in before.clusters} == {"chat", "chat-preview"}
    assert {one.name for one in after.clusters} == {"chat", "chat-preview", "chat~maglev", "chat-preview~maglev"}
    assert after.clusters[: len(before.clusters)] == before.clusters
    assert back.clusters == after.clusters
    assert {deployment_of(one.name) for one in after.clusters} == {"chat"}
    assert [is_preview(one.name) for one in after.clusters] == [False, True, False, True]
    found = decoded(CLUSTER, cluster("chat~maglev", hashed=True))
    assert (found["lb_policy"], found["maglev_lb_config"]) == ("MAGLEV", {"table_size": "16381"})


def test_what_drains_is_counted_in_the_clusters_of_both_ways_to_balance() -> None:
    drains = draining_clusters(after_switch(2, [1], [2], grpc={1: 3, 2: 4}, settings=BY_SESSION))
    names = {"chat", "chat-preview", "chat~maglev", "chat-preview~maglev"}
    assert drains == {BLUE: names | {f"{name}.grpc" for name in names}}


@pytest.mark.parametrize(
    "made",
    [
        settings(max_body="1MiB"),
        settings(idle_timeout="5m"),
        settings(retries=0),
        BY_SESSION,
    ],
)
def test_what_a_deployment_says_changes_its_own_routes_and_no_others(made: TrafficSettings) -> None:
    snapshot = Snapshot(routing())
    for name in ("chat", "code"):
        snapshot.publish(before_switch(1, [1], [2], name))
    before = {name: snapshot.routes_to(name) for name in ("chat", "code")}
    assert snapshot.publish(before_switch(2, [1], [2], settings=made))
    assert snapshot.routes_to("chat") != before["chat"]
    assert snapshot.routes_to("code") == before["code"]


def test_what_is_the_default_anyway_changes_no_routes() -> None:
    snapshot = Snapshot(routing())
    snapshot.publish(before_switch(1, [1], [2]))
    assert not snapshot.publish(before_switch(2, [1], [2], settings=settings(retries=5)))


# On the real Envoy: sizes.


def post(length: int, path: str = "/", host: str = "chat", sent: bytes = b"") -> bytes:
    """Return a request that says how long its body is."""
    return b"POST %s HTTP/1.1\r\nhost: %s\r\ncontent-length: %d\r\n\r\n" % (path.encode(), host.encode(), length) + sent


@pytest.mark.parts
async def test_a_body_that_says_that_it_is_too_large_is_refused_before_a_replica_sees_it(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    await gateway.tell(
        live(2, [blue.port], settings(max_body="1KiB")), live(1, [green.port], TrafficSettings(), "code")
    )
    for host, path in (("chat", "/v1"), ("router.internal", "/chat/v1"), ("router.internal", "/chat")):
        status, headers, body = await raw(router, post(1025, path, host))
        assert (status, headers["content-type"]) == (413, "application/json")
        assert json.loads(body)["error"]["code"] == local_replies.BODY_TOO_LARGE
        assert (await raw(router, post(2**62, path, host)))[0] == 413
        assert (await raw(router, post(1024, path, host, b"x" * 1024)))[0] == 200
    assert blue.requests == 3
    assert (await router.ask(method="POST", host="code", body=b"x" * 1025)).status == 200
    assert (await router.ask(method="POST", body=b"x" * (8 << 20))).status == 413
    await gateway.tell(live(3, [blue.port], TrafficSettings()))
    assert (await router.ask(method="POST", body=b"x" * 1025)).status == 200


@pytest.mark.parts
async def test_a_body_that_does_not_say_its_length_passes_as_it_comes(
    gateway: Gateway, router: Router, blue: Replica
) -> None:
    await gateway.tell(live(2, [blue.port], settings(max_body="1KiB")))

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 1024
            await asyncio.sleep(0)

    url = f"http://{LOOPBACK}:{router.live}/"
    async with router.client.post(url, data=parts(), headers={"host": "chat"}) as answer:
        assert answer.status == 200


# Silence.


@pytest.mark.parts
async def test_a_deployment_has_an_idle_timeout_of_its_own(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    silent = settings(idle_timeout="300ms")
    await gateway.tell(live(2, [blue.port], silent), live(1, [green.port], TrafficSettings(), "code"))
    patient = asyncio.create_task(router.ask("/silent", "code"))
    async with router.open("/silent") as answer:
        assert answer.status == 200
        with pytest.raises(ClientPayloadError):
            await answer.read()
    streams = Streams(router)
    await streams.open(1)
    await until(lambda: blue.running == 1)
    await asyncio.sleep(3 * SHORT.total_seconds())
    blue.finish.set()
    green.finish.set()
    assert await streams.ends() == [(200, "data: [DONE]")]
    assert (await patient).body == "begins, ends"


@pytest.mark.parts
async def test_a_deployment_may_wait_longer_than_the_gateway_says(
    ports: Routing, blue: Replica, green: Replica, tmp_path: Path
) -> None:
    made = replace(ports, stream_idle_timeout=SHORT)
    assert made.preview is not None
    loaded = [live(1, [blue.port], settings(idle_timeout="0s")), live(1, [green.port], TrafficSettings(), "code")]
    async with (
        serving(loaded, made) as gateway,
        running_router(tmp_path, gateway.address, made.live.port, made.preview.port) as router,
    ):
        await until(lambda: gateway.heard.epoch() == gateway.heard.epoch("code") == 1)
        await until(router.listens)
        patient = asyncio.create_task(router.ask("/silent"))
        async with router.open("/silent", "code") as answer:
            with pytest.raises(ClientPayloadError):
                await answer.read()
        blue.finish.set()
        assert (await patient).body == "begins, ends"


# Retries.


def test_without_retries_no_route_says_when_a_request_is_tried_again_so_that_no_body_is_kept() -> None:
    snapshot = Snapshot(routing())
    snapshot.publish(before_switch(1, [1], [2], grpc={1: 3, 2: 4}, settings=settings(retries=0)))
    for configuration in snapshot.of(ResourceType.ROUTES).values():
        response: Any = message_class("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(
            configuration.wire
        )
        told: Any = message_class(ResourceType.ROUTES.message).FromString(response.resources[0].resource.value)
        by_host, by_path = told.virtual_hosts
        packed = by_path.matcher.matcher_tree.prefix_match_map.map["/chat"].action.typed_config.value
        below: Any = message_class("envoy.config.route.v3.RouteList").FromString(packed)
        routes = [one.route for one in (*by_host.routes, *below.routes) if one.HasField("route")]
        assert routes
        for route in routes:
            assert route.HasField("retry_policy")
            assert (route.retry_policy.retry_on, route.retry_policy.num_retries.value) == ("", 0)


@pytest.mark.parts
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_retries_a_dead_replica_loses_requests_of_its_own_deployment_alone(
    gateway: Gateway, router: Router, blue: Replica, green: Replica, method: str
) -> None:
    dead = free_port()
    await gateway.tell(
        live(2, [blue.port, dead], settings(retries=0)), live(1, [green.port, dead], TrafficSettings(), "code")
    )
    answers = Counter([(await router.ask(method=method)).status for _ in range(20)])
    assert set(answers) == {200, 503}
    assert Counter([(await router.ask(method=method, host="code")).status for _ in range(20)]) == {200: 20}
    await gateway.tell(live(3, [blue.port, dead], settings(retries=1)))
    assert Counter([(await router.ask(method=method)).status for _ in range(20)]) == {200: 20}


# Balancing.


async def placed(router: Router) -> dict[str, str]:
    """Return which replica answers each session."""
    found = {}
    for number in range(SESSIONS):
        answer = await router.ask(x_session_id=f"s-{number}")
        assert answer.status == 200, answer.body
        found[f"s-{number}"] = answer.json["colour"]
    return found


@pytest.mark.parts
async def test_a_session_stays_on_its_replica_and_moves_only_when_that_leaves(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    async with Replica("red").listening() as red:
        three = [blue.port, green.port, red.port]
        await gateway.tell(live(2, three, BY_SESSION))
        first = await placed(router)
        assert set(first.values()) == {"blue", "green", "red"}
        assert await placed(router) == first
        await gateway.tell(live(3, three[:2], BY_SESSION))
        after = await placed(router)
        assert set(after.values()) == {"blue", "green"}
        moved = [one for one, colour in first.items() if colour != "red" and after[one] != colour]
        assert len(moved) <= SESSIONS // 4, moved
        spread = Counter([(await router.ask()).json["colour"] for _ in range(SESSIONS)])
        assert set(spread) == {"blue", "green"}, "requests without the header go to any replica"


@pytest.mark.parts
async def test_another_balancing_under_load_loses_no_request_and_no_count(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    before = [CLUSTER, ENDPOINTS]
    streams = Streams(router)
    await streams.open(3)
    await until(lambda: blue.running == 3)
    ways = (BY_SESSION, LEAST_REQUEST, settings(load_balancing={"maglev": {"header": "authorization"}}))
    epoch = 1
    async with under_load(router) as load:
        for _ in range(6):
            for way in ways:
                epoch += 1
                await load.more(3)
                await gateway.tell(before_switch(epoch, [blue.port], [green.port], settings=way))
                if epoch == 2:
                    sent = [gateway.sent(kind) for kind in before]
        await load.more(20)
        assert [gateway.sent(kind) for kind in before] == sent, "only routes change once both clusters are there"
        # More run in the other cluster, and then all of blue drains.
        await streams.open(2)
        await until(lambda: blue.running == 5)
        await gateway.tell(after_switch(epoch + 1, [blue.port], [green.port], settings=BY_SESSION))
        await until(lambda: BLUE in gateway.heard.loads and gateway.heard.loads[BLUE].running == 5)
        await gateway.tell(after_switch(epoch + 2, [blue.port], [green.port], settings=LEAST_REQUEST))
        await load.more(20)
    assert load.failed == 0
    assert (await router.ask()).json["colour"] == "green"
    assert gateway.heard.loads[BLUE].running == 5
    blue.finish.set()
    assert await streams.ends() == [(200, "data: [DONE]")] * 5
    await until(lambda: gateway.heard.loads[BLUE].zero_reports >= 2)
    loads = [one.running for one in gateway.heard.all_loads]
    assert 0 not in loads[: len(loads) - loads[::-1].index(5)]
    assert GREEN not in gateway.heard.loads


@pytest.mark.parts
async def test_calls_of_grpc_are_balanced_by_their_metadata_too(gateway: Gateway, router: Router) -> None:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(GrpcReplica(colour).listening()) for colour in ("blue", "green")]
        grpc_ports = {one.port: one.grpc_port for one in replicas}
        sets = {(BLUE, SetRole.LIVE): list(grpc_ports)}
        await gateway.tell(publication(2, sets, grpc=grpc_ports, settings=BY_SESSION))

        async def placed_calls() -> list[str]:
            found = []
            for number in range(SESSIONS):
                async with grpc_client(router.live, x_session_id=f"s-{number}") as client:
                    found.append(await client.generate())
            return found

        first = await placed_calls()
        assert set(first) == {"blue", "green"}
        assert await placed_calls() == first


@pytest.mark.parts
async def test_previews_are_balanced_as_the_deployment_is(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    async with Replica("red").listening() as red:
        told = before_switch(2, [blue.port], [green.port, red.port], settings=BY_SESSION)
        await gateway.tell(told)
        found = [
            [(await router.ask(port=router.preview, x_session_id=f"s-{n}")).json["colour"] for n in range(20)]
            for _ in range(2)
        ]
        assert found[0] == found[1]
        assert set(found[0]) == {"green", "red"}
