"""All that routers are to be told."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from celadon.gateway.resources import Handling, Leads, ResourceType
from celadon.gateway.routing import DeploymentRoutes, Routing
from celadon.gateway.snapshot import Snapshot
from tests.gateway.traffic import after_switch, before_switch, routing


def test_a_switch_changes_no_routes() -> None:
    snapshot = Snapshot(routing())
    snapshot.publish(before_switch(1, [1], [2]))
    routes = snapshot.routes
    snapshot.publish(after_switch(2, [1], [2]))
    assert snapshot.routes is routes


def test_a_new_deployment_changes_the_routes() -> None:
    snapshot = Snapshot(routing())
    versions = {name: one.version for name, one in snapshot.routes.resources.items()}
    assert snapshot.publish(before_switch(1, [1], [2]))
    assert all(one.version != versions[name] for name, one in snapshot.routes.resources.items())


def test_routes_are_made_for_the_deployment_alone_that_comes_or_gets_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    routes_to = Routing.routes_to

    def counted(self: Routing, name: str, leads: Leads, hosts: Sequence[str], handling: Handling) -> DeploymentRoutes:
        made.append(name)
        return routes_to(self, name, leads, hosts, handling)

    monkeypatch.setattr(Routing, "routes_to", counted)
    snapshot = Snapshot(routing())
    for name in ("chat", "code", "ask"):
        snapshot.publish(before_switch(1, [1], [2], name))
        assert name in snapshot.routes.deployments
    snapshot.publish(after_switch(2, [1], [2], "chat"))
    snapshot.withdraw("code")
    snapshot.publish(before_switch(3, [1], [2], "ask", hosts=("ask.example.com",)))
    snapshot.publish(before_switch(4, [1], [2], "ask", hosts=("ask.example.com",)))
    assert snapshot.routes.deployments.keys() == {"chat", "ask"}
    assert made == ["chat", "code", "ask", "ask"]


def test_the_order_in_which_deployments_come_changes_no_version() -> None:
    names = ("chat", "ask", "code", "code-2", "a")
    snapshots = [Snapshot(routing()) for _ in range(2)]
    for snapshot, ordered in zip(snapshots, (names, reversed(names)), strict=True):
        for name in ordered:
            snapshot.publish(before_switch(1, [1], [2], name))
    assert snapshots[0].routes == snapshots[1].routes


def test_the_names_of_routes_are_those_of_the_route_configurations() -> None:
    for made in (routing(), replace(routing(), preview=None)):
        assert Snapshot(made).route_names == set(Snapshot(made).routes.resources)


def test_a_deployment_that_goes_leaves_nothing_behind() -> None:
    snapshot = Snapshot(routing())
    empty = snapshot.routes
    snapshot.publish(before_switch(1, [1], [2]))
    assert snapshot.withdraw("chat")
    assert snapshot.routes == empty
    assert snapshot.of(ResourceType.CLUSTER) == snapshot.of(ResourceType.ENDPOINTS) == {}


def test_a_deployment_that_is_not_there_cannot_go() -> None:
    assert not Snapshot(routing()).withdraw("chat")


def test_without_an_address_for_previews_there_is_no_preview_listener() -> None:
    snapshot = Snapshot(routing())
    assert set(snapshot.of(ResourceType.LISTENER)) == {"live", "preview"}
    without = Snapshot(type(routing())(routing().live, None, None, routing().stream_idle_timeout))
    assert set(without.of(ResourceType.LISTENER)) == set(without.of(ResourceType.ROUTES)) == {"live"}
