"""Clusters and endpoints as routers are sent them."""

from typing import Any, cast

from google.protobuf import json_format

from celadon.domain.decisions.publication import SetRole
from celadon.domain.language.names import RouteSetId
from celadon.gateway.protobuf import message_class
from celadon.gateway.resources import (
    Resource,
    ResourceType,
    assignment,
    cluster,
    deployment_of,
    deployment_resources,
    locality,
    route_set_of,
)
from tests.gateway.traffic import BLUE, GREEN, after_switch, before_switch, publication


def decoded(kind: ResourceType, resource: Resource) -> dict[str, Any]:
    """Return a resource as the mapping that Envoy's documentation shows."""
    response = cast(
        "Any",
        message_class("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(resource.wire),
    )
    body = message_class(kind.message).FromString(response.resources[0].resource.value)
    body.ClearField("typed_extension_protocol_options" if kind is ResourceType.CLUSTER else "policy")
    return json_format.MessageToDict(body, preserving_proto_field_name=True)


def test_each_set_is_a_locality_with_the_state_of_its_role() -> None:
    endpoints = after_switch(1, [1, 2], [3]).endpoints
    found = decoded(ResourceType.ENDPOINTS, assignment("chat", endpoints))
    states = {
        group["locality"]["zone"]: [one["health_status"] for one in group["lb_endpoints"]]
        for group in found["endpoints"]
    }
    assert states == {"set-1": ["DRAINING", "DRAINING"], "set-2": ["HEALTHY"]}


def test_green_is_known_to_the_deployments_cluster_before_the_switch() -> None:
    found = decoded(ResourceType.ENDPOINTS, assignment("chat", before_switch(1, [1], [2]).endpoints))
    assert [group["lb_endpoints"][0]["health_status"] for group in found["endpoints"]] == ["HEALTHY", "UNHEALTHY"]


def healthy_localities(found: dict[str, Any]) -> list[str]:
    return [
        group["locality"]["zone"]
        for group in found.get("endpoints", [])
        if any(one["health_status"] == "HEALTHY" for one in group["lb_endpoints"])
    ]


def test_the_preview_sends_requests_to_green_alone() -> None:
    preview = deployment_resources(before_switch(1, [1], [2])).assignments[1]
    assert healthy_localities(decoded(ResourceType.ENDPOINTS, preview)) == [locality(GREEN)]


def test_the_preview_takes_no_request_while_there_is_no_green() -> None:
    preview = deployment_resources(publication(1, {(BLUE, SetRole.LIVE): [1]})).assignments[1]
    assert healthy_localities(decoded(ResourceType.ENDPOINTS, preview)) == []


def test_the_panic_threshold_is_zero() -> None:
    found = decoded(ResourceType.CLUSTER, cluster("chat"))
    assert found["common_lb_config"]["healthy_panic_threshold"] == {}


def test_clusters_are_the_same_whatever_is_published() -> None:
    before, after = before_switch(1, [1], [2]), after_switch(2, [1], [2])
    assert deployment_resources(before).clusters == deployment_resources(after).clusters


def test_the_version_follows_the_content_and_not_the_epoch() -> None:
    first = deployment_resources(before_switch(1, [1], [2])).assignments
    assert deployment_resources(before_switch(9, [1], [2])).assignments == first
    assert deployment_resources(after_switch(9, [1], [2])).assignments != first


def test_a_locality_names_its_set() -> None:
    assert route_set_of(locality(RouteSetId(42))) == RouteSetId(42)


def test_a_foreign_locality_names_no_set() -> None:
    assert [route_set_of(zone) for zone in ("", "eu-1", "set-", "set-x")] == [None] * 4


def test_both_clusters_belong_to_the_deployment() -> None:
    assert {deployment_of(name) for name in ("chat", "chat-preview")} == {"chat"}
