"""Host names of deployments' own: which lead where, first without Envoy, then on the real one."""

import pytest
from structlog.testing import capture_logs

from celadon.domain.decisions.publication import Publication, SetRole
from celadon.domain.language.names import RouterNode
from celadon.gateway.hosts import HostClaims, LeftOut
from celadon.gateway.resources import ResourceType
from celadon.gateway.snapshot import Snapshot
from tests.gateway.conftest import Gateway
from tests.gateway.load import under_load
from tests.gateway.replica import Replica
from tests.gateway.router import Router, until
from tests.gateway.test_delta import ENDPOINTS, ROUTES
from tests.gateway.test_delta import Router as Subscriber
from tests.gateway.traffic import BLUE, DOMAINS, before_switch, publication, routing

HOST = "llm.example.com"
CHANGES = 20
NODE = RouterNode("router")


@pytest.fixture
def subscriber() -> Subscriber:
    """Return a router without Envoy that serves epoch 1."""
    snapshot = Snapshot(routing())
    snapshot.publish(before_switch(1, [1], [2]))
    made = Subscriber(snapshot)
    made.connect()
    assert made.stream.take_acknowledged() == {"chat": 1}
    return made


def live(epoch: int, replica: Replica, deployment: str, *hosts: str) -> Publication:
    """Return a publication of a deployment with one live replica."""
    return publication(epoch, {(BLUE, SetRole.LIVE): [replica.port]}, deployment, hosts=hosts)


# What leads where.


def test_the_deployment_that_was_read_last_has_a_host() -> None:
    claims = HostClaims(DOMAINS)
    claims.claim("chat", (HOST,))
    assert claims.claim("code", (HOST,)) == {"chat"}
    assert (claims.of("chat"), claims.of("code")) == ((), (HOST,))
    assert claims.claim("chat", ()) == set()
    assert claims.of("code") == (HOST,)


def test_a_host_that_is_given_up_or_whose_deployment_goes_is_nobodys() -> None:
    for hosts in ((), None):
        claims = HostClaims(DOMAINS)
        claims.claim("chat", (HOST,))
        claims.claim("chat", hosts)
        assert claims.of("chat") == ()
        assert claims.claim("code", (HOST,)) == set()


@pytest.mark.parametrize("host", ["code.localhost", "code-preview.models.example.com"])
def test_an_address_of_a_name_leads_to_the_deployment_of_that_name_as_long_as_there_is_one(host: str) -> None:
    claims = HostClaims(DOMAINS)
    claims.claim("chat", (host, HOST))
    assert claims.of("chat") == (host, HOST)
    assert claims.claim("code", ()) == {"chat"}
    assert claims.of("chat") == (HOST,)
    assert claims.left_out == {host: LeftOut(host=host, claimed_by="chat", address_of="code")}
    assert claims.claim("code", None) == {"chat"}
    assert claims.of("chat") == (host, HOST)
    assert claims.left_out == {}


def test_an_address_of_the_deployments_own_name_is_there_once() -> None:
    claims = HostClaims(DOMAINS)
    claims.claim("chat", ("chat.localhost",))
    assert claims.of("chat") == ()
    assert claims.left_out == {}


def test_a_name_with_more_labels_below_a_domain_is_no_address_of_a_name() -> None:
    claims = HostClaims(DOMAINS)
    claims.claim("chat", ("a.code.localhost",))
    claims.claim("code", ())
    assert claims.of("chat") == ("a.code.localhost",)


# When an epoch is acknowledged.


def test_other_hosts_are_acknowledged_when_the_routes_are_accepted(subscriber: Subscriber) -> None:
    subscriber.publish(before_switch(2, [1], [2], hosts=(HOST,)))
    assert subscriber.stream.take_acknowledged() == {}
    [response] = subscriber.stream.responses()
    assert response.kind is ROUTES
    subscriber.answer(response)
    assert subscriber.stream.take_acknowledged() == {"chat": 2}


def test_other_hosts_that_are_refused_are_not_acknowledged(subscriber: Subscriber) -> None:
    subscriber.publish(before_switch(2, [1], [2], hosts=(HOST,)))
    while responses := subscriber.stream.responses():
        for response in responses:
            subscriber.answer(response, refusal="no")
    assert subscriber.stream.take_acknowledged() == {}


def test_other_hosts_and_other_endpoints_are_acknowledged_once_both_are_there(subscriber: Subscriber) -> None:
    subscriber.publish(before_switch(2, [1, 3], [2], hosts=(HOST,)))
    responses = {one.kind: one for one in subscriber.stream.responses()}
    subscriber.answer(responses[ENDPOINTS])
    assert subscriber.stream.take_acknowledged() == {}
    subscriber.answer(responses[ROUTES])
    assert subscriber.stream.take_acknowledged() == {"chat": 2}


# On the real Envoy.


@pytest.mark.parts
@pytest.mark.parametrize("host", [HOST, "LLM.Example.COM", "llm.example.com:8000", "Llm.Example.com:443"])
async def test_a_deployment_answers_under_a_host_of_its_own(
    gateway: Gateway, router: Router, blue: Replica, green: Replica, host: str
) -> None:
    await gateway.tell(before_switch(2, [blue.port], [green.port], hosts=(HOST,)))
    assert (await router.ask("/v1/models", host)).json["path"] == "/v1/models"
    assert (await router.ask(host=host, port=router.preview)).json["colour"] == "green"


@pytest.mark.parts
async def test_a_host_that_is_given_up_leads_nowhere_and_may_lead_elsewhere(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    await gateway.tell(live(2, blue, "chat", HOST), live(1, green, "code"))
    assert (await router.ask(host=HOST)).json["colour"] == "blue"
    await gateway.tell(live(3, blue, "chat"))
    assert (await router.ask(host=HOST)).status == 404
    await gateway.tell(live(2, green, "code", HOST))
    assert (await router.ask(host=HOST)).json["colour"] == "green"


@pytest.mark.parts
async def test_a_host_of_two_deployments_leads_to_the_one_that_was_read_last_and_breaks_no_other_route(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    await gateway.tell(live(2, blue, "chat", HOST, "chat.example.com"))
    await gateway.tell(live(1, green, "code", HOST))
    assert (await router.ask(host=HOST)).json["colour"] == "green"
    assert (await router.ask(host="chat.example.com")).json["colour"] == "blue"
    assert not gateway.heard.refusals.get(NODE)


@pytest.mark.parts
async def test_an_address_of_another_deployments_name_never_breaks_routes_and_is_counted(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    def left_out() -> float | None:
        return gateway.metrics.registry.get_sample_value("celadon_gateway_hosts_left_out")

    await gateway.tell(live(2, blue, "chat", "code.localhost", "chat.localhost", HOST))
    assert (await router.ask(host="code.localhost")).json["colour"] == "blue"
    assert left_out() == 0
    with capture_logs() as logs:
        await gateway.tell(live(1, green, "code"))
        await gateway.tell(live(3, blue, "chat", "code.localhost", HOST))
    assert (await router.ask(host="code.localhost")).json["colour"] == "green"
    assert (await router.ask(host=HOST)).json["colour"] == "blue"
    assert left_out() == 1
    told = [one for one in logs if one["event"] == "host_left_out"]
    assert [(one["host"], one["claimed_by"], one["address_of"]) for one in told] == [("code.localhost", "chat", "code")]
    gateway.server.publish([], ["code"])

    async def is_back() -> bool:
        return bool((await router.ask(host="code.localhost")).json.get("colour") == "blue")

    await until(is_back)
    assert left_out() == 0
    assert not gateway.heard.refusals.get(NODE)


@pytest.mark.parts
async def test_hosts_that_change_under_load_lose_no_request_and_touch_nothing_but_routes(
    gateway: Gateway, router: Router, blue: Replica, green: Replica
) -> None:
    sent = gateway.sent(ResourceType.CLUSTER.message), gateway.sent(ResourceType.ENDPOINTS.message)
    async with under_load(router) as load:
        for epoch in range(2, 2 + CHANGES):
            await load.more(3)
            hosts = (HOST,) if epoch % 2 == 0 else ("other.example.com", "www.other.example.com")
            await gateway.tell(before_switch(epoch, [blue.port], [green.port], hosts=hosts))
            assert (await router.ask(host=hosts[0])).status == 200
    assert load.failed == 0
    assert (gateway.sent(ResourceType.CLUSTER.message), gateway.sent(ResourceType.ENDPOINTS.message)) == sent
