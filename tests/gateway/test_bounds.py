"""Bounds that hold for all deployments of a router: connections, buffers, headers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from celadon.gateway.open_files import DEFAULT_CONNECTIONS, connections_for, connections_of_this_process
from celadon.gateway.protobuf import message_class
from celadon.gateway.resources import Resource, ResourceType, cluster
from celadon.gateway.routing import LIVE, PREVIEW, Routing
from tests.gateway.conftest import serving
from tests.gateway.replica import Replica
from tests.gateway.router import Router, raw, running_router, until
from tests.gateway.traffic import LOOPBACK, before_switch, routing

KEEP_ALIVE = b"GET / HTTP/1.1\r\nhost: chat\r\n\r\n"
FEW = 3


def decoded(kind: ResourceType, resource: Resource) -> dict[str, Any]:
    """Return a resource without what is packed in it."""
    response: Any = message_class("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(resource.wire)
    body: Any = message_class(kind.message).FromString(response.resources[0].resource.value)
    body.ClearField("filter_chains" if kind is ResourceType.LISTENER else "typed_extension_protocol_options")
    return json_format.MessageToDict(body, preserving_proto_field_name=True)


@asynccontextmanager
async def bounded_router(
    made: Routing, blue: Replica, directory: Path, max_connections: int = DEFAULT_CONNECTIONS
) -> AsyncIterator[Router]:
    """Run a gateway and a router of it that holds so many connections."""
    assert made.preview is not None
    async with (
        serving([before_switch(1, [blue.port], [])], made) as gateway,
        running_router(
            directory, gateway.address, made.live.port, made.preview.port, max_connections=max_connections
        ) as router,
    ):
        await until(lambda: gateway.heard.epoch() == 1)
        yield router


@pytest.mark.parametrize(
    ("descriptors", "connections"), [(262_144, 130_072), (20_000, 9_000), (4_096, 1_048), (1_024, 256), (8, 2)]
)
def test_connections_leave_descriptors_for_replicas_and_there_are_always_some(
    descriptors: int, connections: int
) -> None:
    assert connections_for(descriptors) == connections


def test_no_router_holds_more_connections_than_a_unit_gives_it_descriptors_for() -> None:
    assert 0 < connections_of_this_process() <= DEFAULT_CONNECTIONS == 130_072


def test_clusters_and_listeners_keep_little_of_a_connection_that_is_read_slowly() -> None:
    for listener in (routing().listeners[LIVE], routing().listeners[PREVIEW]):
        assert decoded(ResourceType.LISTENER, listener)["per_connection_buffer_limit_bytes"] == 65536
    for streams in (None, 10):
        found = decoded(ResourceType.CLUSTER, cluster("chat", grpc_streams=streams))
        assert found["per_connection_buffer_limit_bytes"] == 65536


@pytest.mark.parts
async def test_connections_beyond_the_bound_are_closed_and_those_that_are_open_serve_on(
    ports: Routing, blue: Replica, tmp_path: Path
) -> None:
    async with bounded_router(ports, blue, tmp_path, FEW) as router:
        held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def opened() -> bool:
            """Open connections until as many as may be are open and answer."""
            try:
                reader, writer = await asyncio.open_connection(LOOPBACK, router.live)
            except OSError:
                return False  # It does not listen yet.
            held.append((reader, writer))
            writer.write(KEEP_ALIVE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            return len(held) == FEW

        await until(opened)
        for _ in range(FEW):
            reader, writer = await asyncio.open_connection(LOOPBACK, router.live)
            try:
                writer.write(KEEP_ALIVE)
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            finally:
                writer.close()
        overflow = f"listener.{LOOPBACK}_{router.live}.downstream_global_cx_overflow"
        assert await router.counter(overflow) >= FEW
        for reader, writer in held:
            writer.write(KEEP_ALIVE)
            while b"200 OK" not in await reader.readline():
                pass
            writer.close()


@pytest.mark.parts
@pytest.mark.parametrize(("kib", "status"), [(60, 431), (128, 200)])
async def test_headers_may_be_as_large_as_the_operator_says(
    ports: Routing, blue: Replica, tmp_path: Path, kib: int, status: int
) -> None:
    async with bounded_router(replace(ports, max_headers_kib=kib), blue, tmp_path) as router:
        await until(router.listens)
        lines = b"".join(b"big-%d: %s\r\n" % (number, b"x" * 7_000) for number in range(10))
        assert (await raw(router, b"GET / HTTP/1.1\r\nhost: chat\r\n" + lines + b"\r\n"))[0] == status
