"""Switches on the real Envoy, under load."""

import asyncio

import pytest

from celadon.domain.decisions.publication import SetRole
from celadon.domain.language.names import Epoch, RouterNode
from celadon.gateway.resources import ResourceType
from celadon.gateway.routing import Routing
from tests.gateway.conftest import Gateway, serving
from tests.gateway.load import under_load
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_router, until
from tests.gateway.traffic import BLUE, GREEN, after_switch, before_switch, publication

pytestmark = pytest.mark.parts

SWITCHES = 20


async def test_switches_under_load_lose_no_request(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    async with under_load(router) as load:
        for epoch in range(2, 2 + SWITCHES):
            await load.more(3)
            switch = after_switch if epoch % 2 == 0 else before_switch
            await gateway.tell(switch(epoch, [blue.port], [green.port]))
    assert load.failed == 0
    assert min(load.answers["blue"], load.answers["green"]) > SWITCHES


async def test_after_its_acknowledgement_the_old_colour_gets_no_new_request(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    await router.ask()
    await gateway.tell(after_switch(2, [blue.port], [green.port]))
    await router.ask()
    before = blue.requests
    for _ in range(50):
        assert (await router.ask()).json["colour"] == "green"
    assert blue.requests == before


async def test_streams_on_a_draining_replica_run_to_their_end(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    streams = [asyncio.create_task(router.stream()) for _ in range(6)]
    await until(lambda: blue.running == len(streams))
    await gateway.tell(after_switch(2, [blue.port], [green.port]))
    assert (await router.ask()).json["colour"] == "green"
    assert blue.running == len(streams)
    blue.finish.set()
    assert all(body.endswith("data: [DONE]\n\n") for body in await asyncio.gather(*streams))


async def test_streams_run_to_their_end_after_their_replica_is_unpublished(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    stream = asyncio.create_task(router.stream())
    await until(lambda: blue.running == 1)
    await gateway.tell(publication(2, {(GREEN, SetRole.LIVE): [green.port]}))
    blue.finish.set()
    assert (await stream).endswith("data: [DONE]\n\n")


async def test_replicas_that_are_not_ready_get_nothing(gateway: Gateway, router: Router, blue: Replica) -> None:
    nobody_listens = [1, 2, 3]
    await gateway.tell(before_switch(2, [blue.port], nobody_listens))
    assert {(await router.ask(method="POST")).status for _ in range(50)} == {200}


async def test_a_new_deployment_is_served_once_it_is_acknowledged(
    gateway: Gateway,
    router: Router,
    blue: Replica,
) -> None:
    for number in range(10):
        name = f"new-{number}"
        await gateway.tell(publication(1, {(BLUE, SetRole.LIVE): [blue.port]}, deployment=name))
        assert (await router.ask(host=name)).status == 200


async def test_deployments_that_come_under_load_disturb_no_other(
    gateway: Gateway,
    router: Router,
    blue: Replica,
) -> None:
    async with under_load(router) as load:
        for number in range(10):
            await gateway.tell(publication(1, {(BLUE, SetRole.LIVE): [blue.port]}, deployment=f"new-{number}"))
    assert load.failed == 0


async def test_what_cannot_be_published_keeps_no_other_deployment_from_its_routes(
    gateway: Gateway, router: Router, green: Replica
) -> None:
    no_port = 2**40

    gateway.server.publish([publication(2, {(BLUE, SetRole.LIVE): [no_port]})])
    await gateway.tell(publication(1, {(BLUE, SetRole.LIVE): [green.port]}, deployment="code"))

    assert (await router.ask()).json["colour"] == "blue"
    assert (await router.ask(host="code")).json["colour"] == "green"
    assert gateway.metrics.registry.get_sample_value("celadon_gateway_faults_total", {"part": "publications"}) == 1


async def test_a_deleted_deployment_is_answered_404(gateway: Gateway, router: Router) -> None:
    gateway.server.publish([], ["chat"])

    async def is_gone() -> bool:
        return (await router.ask()).status == 404

    await until(is_gone)
    assert (await router.ask("/chat/", host="127.0.0.1")).status == 404


async def test_a_deployment_can_be_deleted_and_made_anew_at_once(
    gateway: Gateway,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    gateway.server.publish([], ["chat"])
    await gateway.tell(before_switch(2, [blue.port], [green.port]))
    assert (await router.ask()).json["colour"] == "blue"


@pytest.mark.parametrize("others", [0, 1000])
async def test_a_switch_sends_two_resources_beside_any_number_of_deployments(
    others: int,
    blue: Replica,
    green: Replica,
    ports: Routing,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    names = ["chat", *(f"other-{number}" for number in range(others))]
    publications = [before_switch(1, [blue.port], [green.port], name) for name in names]
    assert ports.preview is not None
    async with (
        serving(publications, ports) as gateway,
        running_router(
            tmp_path_factory.mktemp("envoy"),
            gateway.address,
            ports.live.port,
            ports.preview.port,
        ),
    ):
        await until(lambda: len(gateway.heard.epochs) == len(names))
        before = {kind: gateway.sent(kind) for kind in ResourceType}
        await gateway.tell(after_switch(2, [blue.port], [green.port]))
        assert {kind: gateway.sent(kind) - before[kind] for kind in ResourceType} == {
            ResourceType.RUNTIME: 0,
            ResourceType.CLUSTER: 0,
            ResourceType.ENDPOINTS: 2,
            ResourceType.LISTENER: 0,
            ResourceType.ROUTES: 0,
        }


async def test_the_acknowledgements_of_a_new_router_come_together(
    blue: Replica,
    green: Replica,
    ports: Routing,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    names = [f"one-of-{number}" for number in range(50)]
    publications = [before_switch(1, [blue.port], [green.port], name) for name in names]
    assert ports.preview is not None
    async with (
        serving(publications, ports) as gateway,
        running_router(
            tmp_path_factory.mktemp("envoy"),
            gateway.address,
            ports.live.port,
            ports.preview.port,
        ),
    ):
        await until(lambda: len(gateway.heard.epochs) == len(names))
        assert gateway.heard.batches == [dict.fromkeys(names, Epoch(1))]
        assert gateway.heard.connections == [RouterNode("router")]
