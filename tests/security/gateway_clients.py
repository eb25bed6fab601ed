"""Processes that speak to a gateway as routers do, and say whatever an attacker would."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import grpc
import grpc.aio
from sqlalchemy import select

from celadon.gateway import discovery, load_reports
from celadon.gateway.authority import GATEWAY_NAME, Issued
from celadon.gateway.protobuf import Fields, serialise
from celadon.table.core.engine import Table
from celadon.table.core.models import Base

DEADLINE_SECONDS = 60.0

DISCOVERY = f"/{discovery.SERVICE}/{discovery.METHOD}"
LOAD = f"/{load_reports.SERVICE}/{load_reports.METHOD}"

Call = grpc.aio.StreamStreamCall[bytes, bytes]


@dataclass(frozen=True)
class Attacker:
    """A process with a certificate, or none, and the address that it tries."""

    target: str
    shows: Issued | None = None
    trusts: bytes | None = None
    """The CA from which it takes the gateway's certificate; ``None`` speaks without TLS."""

    @asynccontextmanager
    async def open(self, method: str) -> AsyncIterator[Call]:
        """Open a stream on a connection of its own."""
        credentials = self.trusts and grpc.ssl_channel_credentials(
            root_certificates=self.trusts,
            private_key=None if self.shows is None else self.shows.key,
            certificate_chain=None if self.shows is None else self.shows.certificate,
        )
        options = [("grpc.ssl_target_name_override", GATEWAY_NAME), ("grpc.use_local_subchannel_pool", 1)]
        channel = (
            grpc.aio.secure_channel(self.target, credentials, options)
            if credentials
            else grpc.aio.insecure_channel(self.target, options)
        )
        async with channel:
            call: Call = channel.stream_stream(method)()
            yield call

    async def answer(self, method: str, node: str) -> tuple[grpc.StatusCode, str]:
        """Return how a stream ends that names a router in its first message."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.open(method) as call:
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(FIRST[method](node))
            return await ending_of(call)


async def ending_of(call: Call) -> tuple[grpc.StatusCode, str]:
    """Read a stream to its end; return how it ended, and what was told."""
    # What is not OK comes as an error too.
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code(), await call.details() or ""


def discovery_request(node: str, kind: str = "type.googleapis.com/envoy.config.cluster.v3.Cluster") -> bytes:
    """Return a first request that asks for everything of a type."""
    fields: Fields = {"node": {"id": node}, "type_url": kind, "resource_names_subscribe": ["*"]}
    return serialise("envoy.service.discovery.v3.DeltaDiscoveryRequest", fields)


def zeros(node: str, cluster: str = "chat") -> bytes:
    """Return a report that nothing runs in a cluster."""
    fields: Fields = {"node": {"id": node}, "cluster_stats": [{"cluster_name": cluster}]}
    return serialise("envoy.service.load_stats.v3.LoadStatsRequest", fields)


FIRST = {DISCOVERY: discovery_request, LOAD: zeros}


async def rows_of(table: Table) -> Mapping[str, list[tuple[object, ...]]]:
    """Return everything that the tables hold."""
    async with table.transaction() as tx:
        return {
            name: sorted(map(tuple, (await tx.execute(select(one))).all()), key=repr)
            for name, one in Base.metadata.tables.items()
        }
