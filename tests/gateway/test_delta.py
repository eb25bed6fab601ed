"""Incremental discovery with one router, without a router."""

from collections.abc import Iterable, Sequence

import pytest

from celadon.domain.decisions.publication import Publication, SetRole
from celadon.domain.language.names import Epoch
from celadon.gateway.delta import DeltaStream
from celadon.gateway.discovery import DiscoveryRequest, DiscoveryResponse
from celadon.gateway.resources import Resource, ResourceType
from celadon.gateway.routing import DeploymentRoutes, Routing
from celadon.gateway.snapshot import Snapshot
from tests.gateway.traffic import BLUE, GREEN, after_switch, before_switch, publication, routing

CLUSTERS, ENDPOINTS, ROUTES = ResourceType.CLUSTER, ResourceType.ENDPOINTS, ResourceType.ROUTES


class Router:
    """A router that asks for everything, and accepts it unless a test says otherwise."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Connect to nothing yet."""
        self.snapshot = snapshot
        self.stream = DeltaStream(snapshot)
        self.versions: dict[ResourceType, dict[str, str]] = {kind: {} for kind in ResourceType}

    def connect(self) -> list[DiscoveryResponse]:
        """Open a new stream, telling what is known; return everything that is sent until nothing more is."""
        self.stream = self.new_stream()
        return self.ask_for_all()

    def new_stream(self) -> DeltaStream:
        """Return a stream on which nothing was said yet."""
        return DeltaStream(self.snapshot)

    def ask_for_all(self) -> list[DiscoveryResponse]:
        """Ask for all but limits, telling what is known; return everything that is sent until nothing more is."""
        self.subscribe(CLUSTERS)
        sent = self.settle()
        for kind in (ENDPOINTS, ResourceType.LISTENER, ROUTES):
            self.subscribe(kind, () if kind is ResourceType.LISTENER else tuple(self.snapshot.of(kind)))
            sent += self.settle()
        return sent

    def subscribe(self, kind: ResourceType, names: Sequence[str] = ()) -> None:
        """Send the first request of a type."""
        self.stream.receive(
            DiscoveryRequest(kind=kind, subscribe=tuple(names), initial_versions=dict(self.versions[kind])),
        )

    def answer(self, response: DiscoveryResponse, refusal: str | None = None) -> None:
        """Accept or refuse a response."""
        if refusal is None:
            self.versions[response.kind].update({one.name: one.version for one in response.resources})
            for name in response.removed:
                self.versions[response.kind].pop(name, None)
        self.stream.receive(DiscoveryRequest(kind=response.kind, nonce=response.nonce, refusal=refusal))

    def settle(self) -> list[DiscoveryResponse]:
        """Accept responses until nothing more is sent; return them."""
        sent = []
        while responses := self.stream.responses():
            for response in responses:
                sent.append(response)
                self.answer(response)
        return sent

    def publish(self, publication: Publication) -> None:
        """Change the snapshot and tell the stream, as the server does."""
        before = self.snapshot.clusters_of(publication.deployment)
        if self.snapshot.publish(publication):
            self.stream.deployments_changed(before | self.snapshot.clusters_of(publication.deployment))
        self.stream.deployment_changed(publication.deployment)

    def withdraw(self, deployment: str) -> None:
        """Take a deployment out of the snapshot and tell the stream, as the server does."""
        clusters = self.snapshot.clusters_of(deployment)
        self.snapshot.withdraw(deployment)
        self.stream.deployments_changed(clusters)
        self.stream.deployment_changed(deployment)

    def subscribe_more(self, *names: str) -> None:
        """Ask for the endpoints of further clusters."""
        self.stream.receive(DiscoveryRequest(kind=ENDPOINTS, subscribe=names))


@pytest.fixture
def snapshot() -> Snapshot:
    """Return a snapshot with the deployment chat before its switch."""
    made = Snapshot(routing())
    made.publish(before_switch(1, [1], [2]))
    return made


@pytest.fixture
def router(snapshot: Snapshot) -> Router:
    """Return a router that has connected and serves epoch 1."""
    made = Router(snapshot)
    made.connect()
    assert made.stream.take_acknowledged() == {"chat": Epoch(1)}
    return made


def names(response: DiscoveryResponse) -> set[str]:
    """Return the names of a response's resources."""
    return {one.name for one in response.resources}


def test_a_switch_is_one_endpoint_update(router: Router) -> None:
    router.publish(after_switch(2, [1], [2]))
    [response] = router.settle()
    assert (response.kind, names(response)) == (ENDPOINTS, {"chat", "chat-preview"})


def test_an_epoch_is_acknowledged_when_its_endpoints_are_accepted(router: Router) -> None:
    router.publish(after_switch(2, [1], [2]))
    [response] = router.stream.responses()
    assert router.stream.take_acknowledged() == {}
    router.answer(response)
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_an_epoch_that_changes_nothing_is_acknowledged_at_once(router: Router) -> None:
    router.publish(before_switch(7, [1], [2]))
    assert router.stream.take_acknowledged() == {"chat": Epoch(7)}
    assert router.stream.responses() == []


def test_an_epoch_that_returns_to_what_was_before_an_unanswered_one_is_not_acknowledged_yet(router: Router) -> None:
    router.publish(after_switch(2, [1], [2]))
    [unanswered] = router.stream.responses()
    router.publish(before_switch(3, [1], [2]))
    assert router.stream.take_acknowledged() == {}
    router.answer(unanswered)
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}
    router.settle()
    assert router.stream.take_acknowledged() == {"chat": Epoch(3)}


def test_a_slow_router_is_sent_only_the_newest_state(router: Router) -> None:
    router.publish(after_switch(2, [1], [2]))
    [first] = router.stream.responses()
    for epoch in range(3, 10):
        router.publish(after_switch(epoch, [1], [2, epoch]))
    assert router.stream.responses() == []
    router.answer(first)
    [second] = router.settle()
    assert second.resources[0] == router.snapshot.of(ENDPOINTS)["chat"]
    assert router.stream.take_acknowledged() == {"chat": Epoch(9)}


def test_a_router_that_comes_back_is_sent_nothing_that_it_holds(router: Router) -> None:
    assert router.connect() == []
    assert router.stream.take_acknowledged() == {"chat": Epoch(1)}


def test_a_router_that_comes_back_is_sent_what_has_changed(router: Router) -> None:
    router.snapshot.publish(after_switch(2, [1], [2]))
    [response] = router.connect()
    assert response.kind is ENDPOINTS
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_router_that_comes_back_forgets_what_was_deleted_meanwhile(router: Router) -> None:
    router.snapshot.publish(before_switch(1, [3], [4], "other"))
    router.connect()
    router.snapshot.withdraw("chat")
    sent = router.connect()
    assert [response.removed for response in sent if response.kind is CLUSTERS] == [("chat", "chat-preview")]


def test_refused_endpoints_are_not_sent_again_and_never_acknowledged(router: Router) -> None:
    router.publish(after_switch(2, [1], [2]))
    while responses := router.stream.responses():
        for response in responses:
            router.answer(response, refusal="malformed address")
    assert router.stream.take_acknowledged() == {}
    assert "malformed address" in (router.stream.refusal or "")


def test_a_refusal_ends_when_a_newer_version_is_accepted(router: Router) -> None:
    router.publish(after_switch(2, [1], [2]))
    while responses := router.stream.responses():
        for response in responses:
            router.answer(response, refusal="malformed address")
    router.publish(before_switch(3, [1], [5]))
    router.settle()
    assert router.stream.refusal is None
    assert router.stream.take_acknowledged() == {"chat": Epoch(3)}


def test_one_refused_deployment_does_not_stop_another(router: Router) -> None:
    router.publish(before_switch(1, [3], [4], "other"))
    router.settle()
    router.subscribe_more("other", "other-preview")
    router.settle()
    router.stream.take_acknowledged()
    router.publish(after_switch(2, [1], [2]))
    router.publish(after_switch(2, [3], [4], "other"))
    while responses := router.stream.responses():
        for response in responses:
            router.answer(response, refusal="bad" if names(response) & {"chat", "chat-preview"} else None)
    assert router.stream.take_acknowledged() == {"other": Epoch(2)}
    assert "other" not in (router.stream.refusal or "")


def test_routes_to_a_new_deployment_wait_for_its_clusters(router: Router) -> None:
    router.publish(before_switch(1, [3], [4], "other"))
    [clusters] = router.stream.responses()
    assert (clusters.kind, names(clusters)) == (CLUSTERS, {"other", "other-preview"})
    router.subscribe_more("other", "other-preview")
    [endpoints] = router.stream.responses()
    assert (endpoints.kind, names(endpoints)) == (ENDPOINTS, {"other", "other-preview"})
    router.answer(endpoints)
    assert router.stream.responses() == []
    router.answer(clusters)
    [routes] = router.stream.responses()
    assert routes.kind is ROUTES


def test_a_new_deployment_is_acknowledged_only_when_there_are_routes_to_it(router: Router) -> None:
    router.publish(before_switch(1, [3], [4], "other"))
    [clusters] = router.stream.responses()
    router.subscribe_more("other", "other-preview")
    [endpoints] = router.stream.responses()
    router.answer(endpoints)
    router.answer(clusters)
    [routes] = router.stream.responses()
    assert router.stream.take_acknowledged() == {}
    router.answer(routes)
    assert router.stream.take_acknowledged() == {"other": Epoch(1)}


def test_clusters_of_a_deleted_deployment_go_after_the_routes_to_them(router: Router) -> None:
    router.withdraw("chat")
    [routes] = router.stream.responses()
    assert routes.kind is ROUTES
    router.answer(routes)
    [clusters] = router.stream.responses()
    assert clusters.removed == ("chat", "chat-preview")


def test_a_deployment_that_is_made_anew_while_its_removal_is_under_way_is_served(router: Router) -> None:
    router.withdraw("chat")
    [routes] = router.stream.responses()
    router.answer(routes)
    [removal] = router.stream.responses()
    router.publish(before_switch(1, [5], [6]))
    router.answer(removal)
    router.stream.receive(DiscoveryRequest(kind=ENDPOINTS, unsubscribe=("chat", "chat-preview")))
    sent = router.settle()
    assert names(sent[0]) == {"chat", "chat-preview"}
    router.subscribe_more("chat", "chat-preview")
    router.settle()
    assert router.stream.take_acknowledged() == {"chat": Epoch(1)}


def test_endpoints_of_a_changed_cluster_are_sent_again(snapshot: Snapshot) -> None:
    router = Router(snapshot)
    router.connect()
    router.versions[CLUSTERS]["chat"] = "of-an-older-gateway"
    sent = router.connect()
    assert [(response.kind, names(response)) for response in sent] == [(CLUSTERS, {"chat"}), (ENDPOINTS, {"chat"})]


def test_a_router_that_was_sent_a_changed_cluster_has_lost_its_counts(snapshot: Snapshot) -> None:
    router = Router(snapshot)
    router.connect()
    assert router.stream.take_replaced_clusters() == set()
    router.versions[CLUSTERS]["chat"] = "of-an-older-gateway"
    router.connect()
    assert router.stream.take_replaced_clusters() == {"chat"}


def test_a_subscription_made_again_is_answered_again(router: Router) -> None:
    router.subscribe_more("chat")
    [response] = router.settle()
    assert names(response) == {"chat"}


def test_a_name_that_does_not_exist_is_answered_as_removed(router: Router) -> None:
    router.subscribe_more("nothing")
    [response] = router.settle()
    assert response.removed == ("nothing",)


def test_an_answer_to_an_older_response_changes_nothing(router: Router) -> None:
    router.publish(after_switch(2, [1], [2]))
    [response] = router.stream.responses()
    router.stream.receive(DiscoveryRequest(kind=ENDPOINTS, nonce="0"))
    assert router.stream.take_acknowledged() == {}
    router.answer(response)
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_type_that_is_not_served_is_ignored(router: Router) -> None:
    router.stream.receive(DiscoveryRequest(kind="type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"))
    assert router.stream.responses() == []


@pytest.mark.parametrize("others", [0, 1000])
def test_a_switch_sends_the_same_beside_any_number_of_deployments(others: int) -> None:
    snapshot = Snapshot(routing())
    for number in range(others):
        snapshot.publish(before_switch(1, [1], [2], f"other-{number}"))
    snapshot.publish(before_switch(1, [1], [2]))
    router = Router(snapshot)
    router.connect()
    assert len(router.stream.take_acknowledged()) == others + 1
    router.publish(after_switch(2, [1], [2]))
    [response] = router.settle()
    assert (response.kind, names(response)) == (ENDPOINTS, {"chat", "chat-preview"})
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_the_first_question_is_answered_although_there_is_nothing_to_tell() -> None:
    router = Router(Snapshot(routing()))

    router.subscribe(CLUSTERS)

    [response] = router.stream.responses()
    assert (response.kind, response.resources, response.removed) == (CLUSTERS, (), ())


# Deployments that are being deleted.


def deleted(epoch: int) -> Publication:
    """Return what is published of chat while it is being deleted."""
    return publication(epoch, {(BLUE, SetRole.DRAINING): [1], (GREEN, SetRole.DRAINING): [2]}, routed=False)


def test_a_deleted_deployment_loses_its_route_before_its_endpoints_drain(router: Router) -> None:
    router.publish(deleted(2))
    sent = router.settle()
    assert [response.kind for response in sent] == [ROUTES, ENDPOINTS]
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_deletion_is_not_acknowledged_before_the_endpoints_drain(router: Router) -> None:
    router.publish(deleted(2))
    [routes] = router.stream.responses()
    assert router.stream.take_acknowledged() == {}
    router.answer(routes)
    assert router.stream.take_acknowledged() == {}
    [endpoints] = router.stream.responses()
    router.answer(endpoints)
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_deletion_that_changes_no_endpoint_is_acknowledged_with_the_routes(router: Router) -> None:
    unchanged = before_switch(2, [1], [2]).model_copy(update={"routed": False})
    router.publish(unchanged)
    assert router.stream.take_acknowledged() == {}
    assert [response.kind for response in router.settle()] == [ROUTES]
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_router_that_refuses_to_lose_the_route_keeps_the_endpoints(router: Router) -> None:
    router.publish(deleted(2))
    for _ in range(9):
        for response in router.stream.responses():
            assert response.kind is ROUTES
            router.answer(response, refusal="no")
    assert router.stream.take_acknowledged() == {}
    assert router.stream.refusal is not None


def test_a_router_that_reconnects_loses_the_route_first_too(router: Router, snapshot: Snapshot) -> None:
    snapshot.publish(deleted(2))
    sent = [response.kind for response in router.connect() if response.resources]
    assert sent == [ROUTES, ENDPOINTS]
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_router_that_reconnects_after_it_lost_the_route_is_told_nothing(router: Router) -> None:
    router.publish(deleted(2))
    router.settle()
    assert [response.kind for response in router.connect() if response.resources] == []
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_new_router_gets_the_endpoints_at_once_and_never_a_route(snapshot: Snapshot) -> None:
    """It would not ask for routes before its clusters are warm."""
    snapshot.publish(deleted(2))
    fresh = Router(snapshot)
    sent = [response.kind for response in fresh.connect() if response.resources]
    assert sent.index(ENDPOINTS) < sent.index(ROUTES)
    assert fresh.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_cluster_that_is_sent_anew_gets_its_endpoints_although_the_route_is_still_there(
    router: Router,
    snapshot: Snapshot,
) -> None:
    router.versions[CLUSTERS]["chat"] = "older"
    snapshot.publish(deleted(2))
    kinds = [response.kind for response in router.connect() if response.resources]
    assert set(kinds) == {CLUSTERS, ENDPOINTS, ROUTES}
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_what_was_destroyed_and_starts_anew_is_routed_to_again(router: Router) -> None:
    router.publish(deleted(2))
    router.settle()
    router.withdraw("chat")
    router.settle()
    router.stream.take_acknowledged()
    router.publish(before_switch(4, [5], [6]))
    router.settle()
    router.subscribe_more("chat", "chat-preview")
    kinds = [response.kind for response in router.settle()]
    assert ENDPOINTS in kinds
    assert router.stream.take_acknowledged() == {"chat": Epoch(4)}


def test_other_deployments_do_not_wait_for_the_routes(router: Router) -> None:
    router.publish(before_switch(1, [3], [4], deployment="other"))
    router.settle()
    router.subscribe_more("other", "other-preview")
    router.settle()
    router.publish(deleted(2))
    router.publish(after_switch(2, [3], [4], deployment="other"))
    kinds = {response.kind: names(response) for response in router.stream.responses()}
    assert kinds[ENDPOINTS] == {"other", "other-preview"}


def test_deployments_that_come_while_routes_are_on_their_way_are_sent_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_together: list[int] = []
    route_configurations = Routing.route_configurations

    def counted(self: Routing, deployments: Iterable[DeploymentRoutes]) -> dict[str, Resource]:
        routes = list(deployments)
        put_together.append(len(routes))
        return route_configurations(self, routes)

    router = Router(Snapshot(routing()))
    router.connect()
    monkeypatch.setattr(Routing, "route_configurations", counted)
    router.publish(before_switch(1, [1], [2], "first"))
    on_their_way: list[DiscoveryResponse] = []
    while not on_their_way:
        for response in router.stream.responses():
            if response.kind is ROUTES:
                on_their_way.append(response)
            else:
                router.answer(response)
    for number in range(20):
        router.publish(before_switch(1, [1], [2], f"later-{number}"))
        for response in router.stream.responses():
            assert response.kind is not ROUTES
            router.answer(response)
    assert put_together == [1]
    router.answer(on_their_way[0])
    later = [one for one in router.settle() if one.kind is ROUTES]
    assert (len(later), put_together) == (1, [1, 21])


# A port for gRPC that comes and goes.


def test_the_first_epoch_with_grpc_is_acknowledged_only_with_its_endpoints_and_its_routes(router: Router) -> None:
    router.publish(before_switch(2, [1], [2], grpc={2: 3}))
    [clusters] = router.stream.responses()
    assert names(clusters) == {"chat.grpc", "chat-preview.grpc"}
    router.subscribe_more("chat.grpc", "chat-preview.grpc")
    [endpoints] = router.stream.responses()
    router.answer(clusters)
    [routes] = router.stream.responses()
    assert (endpoints.kind, routes.kind) == (ENDPOINTS, ROUTES)
    router.answer(endpoints)
    assert router.stream.take_acknowledged() == {}
    router.answer(routes)
    assert router.stream.take_acknowledged() == {"chat": Epoch(2)}


def test_a_switch_with_grpc_is_acknowledged_only_when_both_are_served(router: Router) -> None:
    router.publish(before_switch(2, [1], [2], grpc={1: 4, 2: 3}))
    router.settle()
    router.subscribe_more("chat.grpc", "chat-preview.grpc")
    router.settle()
    router.stream.take_acknowledged()
    router.publish(after_switch(3, [1], [2], grpc={1: 4, 2: 3}))
    [both] = router.stream.responses()
    assert names(both) == {"chat", "chat-preview", "chat.grpc", "chat-preview.grpc"}
    assert router.stream.take_acknowledged() == {}
    router.answer(both)
    assert router.stream.take_acknowledged() == {"chat": Epoch(3)}


def test_clusters_for_grpc_go_once_no_route_leads_to_them(router: Router) -> None:
    router.publish(before_switch(2, [1], [2], grpc={2: 3}))
    router.settle()
    router.subscribe_more("chat.grpc", "chat-preview.grpc")
    router.settle()
    router.publish(before_switch(3, [1], [2]))
    [routes] = router.stream.responses()
    assert routes.kind is ROUTES
    router.answer(routes)
    [clusters] = router.settle()
    assert (clusters.kind, set(clusters.removed)) == (CLUSTERS, {"chat.grpc", "chat-preview.grpc"})
    assert router.stream.take_acknowledged() == {"chat": Epoch(3)}
