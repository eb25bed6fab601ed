"""Deployments' traffic, as tests write it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType

from celadon.domain.decisions.publication import DeploymentTraffic, Member, Publication, SetRole, SetTraffic, publish
from celadon.domain.language.names import Epoch, RouteId, RouteSetId
from celadon.domain.language.ports import STREAMS
from celadon.domain.language.states import RouteHealthStatus
from celadon.domain.language.traffic import DEFAULT_SETTINGS, TrafficSettings
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.routing import Routing

LOOPBACK = "127.0.0.1"
BLUE, GREEN = RouteSetId(1), RouteSetId(2)
PREVIEW_KEY = "a-key-for-previews"
DOMAINS = ("localhost", "models.example.com")


def loopback(port: int) -> SocketAddress:
    """Return an address on this machine."""
    return SocketAddress(host=LOOPBACK, port=port)


def routing(live: int = 8000, preview: int = 8001, preview_key: str | None = PREVIEW_KEY) -> Routing:
    """Return routing with both listeners on loopback."""
    return Routing(
        loopback(live),
        loopback(preview),
        preview_key,
        stream_idle_timeout=timedelta(hours=1),
        domains=DOMAINS,
    )


def publication(
    epoch: int,
    sets: Mapping[tuple[RouteSetId, SetRole], Sequence[int]],
    deployment: str = "chat",
    host: str = LOOPBACK,
    *,
    leaving: Mapping[int, int] = MappingProxyType({}),
    grpc: Mapping[int, int] | None = None,
    streams: int = STREAMS,
    routed: bool = True,
    hosts: tuple[str, ...] = (),
    settings: TrafficSettings = DEFAULT_SETTINGS,
) -> Publication:
    """Return what is published of sets whose healthy members listen on these ports.

    Args:
        epoch: the deployment's.
        sets: ports by set and role.
        deployment: its name.
        host: where all listen.
        leaving: of members that leave, the epoch of their departure by their port.
        grpc: of members that serve gRPC, the port for it by their port.
        streams: how many requests of gRPC at a time one connection takes.
        routed: whether the deployment's address leads to it.
        hosts: host names of its own.
        settings: how routers treat its requests.

    """
    return publish(
        DeploymentTraffic(
            deployment=deployment,
            epoch=Epoch(epoch),
            routed=routed,
            hosts=hosts,
            settings=settings,
            sets=tuple(
                SetTraffic(
                    route_set=route_set,
                    role=role,
                    wanted=len(set(ports) - set(leaving)),
                    grpc_streams=None if grpc is None or (ports and grpc.keys().isdisjoint(ports)) else streams,
                    members=tuple(
                        Member(
                            route=RouteId(f"{host}:{port}"),
                            host=host,
                            http=port,
                            grpc=(grpc or {}).get(port),
                            health=RouteHealthStatus.HEALTHY,
                            leaving_epoch=Epoch(leaving[port]) if port in leaving else None,
                        )
                        for port in ports
                    ),
                )
                for (route_set, role), ports in sets.items()
            ),
        ),
    )


def before_switch(
    epoch: int,
    blue: Sequence[int],
    green: Sequence[int],
    deployment: str = "chat",
    grpc: Mapping[int, int] | None = None,
    hosts: tuple[str, ...] = (),
    settings: TrafficSettings = DEFAULT_SETTINGS,
) -> Publication:
    """Return a publication in which blue is live and green is previewed."""
    sets = {(BLUE, SetRole.LIVE): blue, (GREEN, SetRole.GREEN): green}
    return publication(epoch, sets, deployment, grpc=grpc, hosts=hosts, settings=settings)


def after_switch(
    epoch: int,
    blue: Sequence[int],
    green: Sequence[int],
    deployment: str = "chat",
    grpc: Mapping[int, int] | None = None,
    settings: TrafficSettings = DEFAULT_SETTINGS,
) -> Publication:
    """Return a publication in which green is live and blue drains."""
    sets = {(BLUE, SetRole.DRAINING): blue, (GREEN, SetRole.LIVE): green}
    return publication(epoch, sets, deployment, grpc=grpc, settings=settings)
