"""The xDS server: incremental discovery (ADS) and load reporting (LRS) on one address.

It is made with the publications that were loaded, so it cannot answer with an empty table. What routers say goes to a
:class:`RouterJournal` and never waits for it. Each stream begins with :meth:`XdsServer._identify`, which ends those of
peers that nobody enrolled; what a stream says later is not judged again, until an enrolment or a certificate ends.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from time import monotonic
from typing import Final, Protocol, TypeAlias

import grpc
import grpc.aio
import structlog

from celadon.domain.decisions.enrolment import CertifiedPeer, refusal_of_spoken_node
from celadon.domain.decisions.publication import Publication
from celadon.domain.language.names import DeploymentName, Epoch, RouterNode, RouteSetId
from celadon.gateway import discovery, load_reports
from celadon.gateway.addresses import GatewayAddress
from celadon.gateway.connections import close_connection
from celadon.gateway.delta import DeltaStream
from celadon.gateway.discovery import DiscoveryRequest, DiscoveryResponse
from celadon.gateway.drains import Drains
from celadon.gateway.failovers import Failovers
from celadon.gateway.hosts import LeftOut
from celadon.gateway.listening import listen
from celadon.gateway.load_reports import IDLE_PLAN, Drainee, DrainLoad, LoadReport, ReportingPlan
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.own_listeners import OwnListeners
from celadon.gateway.peers import Speaker, peer_of
from celadon.gateway.resources import ResourceType, deployment_of
from celadon.gateway.routing import Routing
from celadon.gateway.snapshot import Snapshot
from celadon.racing import first_to_end

SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # An answer to a ping is waited for as long as the longer of the two says, which is a minute where nobody sets it.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
)
"""One process a port; messages of any size; a router that vanished or froze is noticed within 15 s; the pings of
routers are welcome."""

STOP_GRACE_SECONDS: Final = 0.5

CLOSE_SECONDS: Final = 0.2
"""How long a connection stays after a stream on it was refused, so that the peer reads why."""

_APART_POLL_SECONDS: Final = 1.0
_KINDS: Final = frozenset(kind.value for kind in ResourceType)
APART_POLLS: Final = 3
"""After so many looks a router's load reports are sent away, if it takes its routes from another gateway."""

_ENROL_AGAIN: Final = "its bootstrap asks for no limits of requests; enrol it again, and start its Envoy anew"
_ABORT_RAISES: Final = "context.abort raises"

log = structlog.get_logger()

_Discovery: TypeAlias = "grpc.aio.ServicerContext[DiscoveryRequest, DiscoveryResponse]"
_LoadReporting: TypeAlias = "grpc.aio.ServicerContext[LoadReport, ReportingPlan]"
_AnyService: TypeAlias = "_Discovery | _LoadReporting"


class RouterJournal(Protocol):
    """Takes down what routers say; never blocks and never fails."""

    def connected(
        self, node: RouterNode, certificate_expires_at: datetime | None, *, takes_limits: bool = True
    ) -> None:
        """A router opened its stream, with a certificate unless it came by a Unix socket.

        It takes limits when its bootstrap asks for them.
        """

    def disconnected(self, node: RouterNode) -> None:
        """A router's newest stream ended."""

    def acknowledged(self, node: RouterNode, epochs: Mapping[DeploymentName, Epoch]) -> None:
        """A router serves these epochs."""

    def refused(self, node: RouterNode, why: str) -> None:
        """A router refuses something, or with an empty text: accepts all again."""

    def loaded(self, node: RouterNode, loads: Mapping[Drainee, tuple[DrainLoad, Epoch]]) -> None:
        """A router reports requests of what drains, each counted at an epoch of its deployment."""

    def failed_over(self, node: RouterNode, sent: Mapping[RouteSetId, int]) -> None:
        """A router has sent requests to fallbacks, so many to each since it was last told."""


class Admission(Protocol):
    """Says which peers may speak for which routers."""

    async def refusal(self, speaker: Speaker) -> str | None:
        """Return why a peer may not speak for a router; ``None`` when it may."""

    def refusal_now(self, speaker: Speaker) -> str | None:
        """Return the same by what is known at this moment."""


class CatchUp(Protocol):
    """Brings the server up to what the table has now."""

    async def __call__(self, *, patient: bool) -> None:
        """Return when that is done; not ``patient`` also when the table cannot be read."""


async def _is_up_to_date(*, patient: bool) -> None:
    """Catch up with a table that there is none of."""


class _RouterStream:
    """One open discovery stream; its writer sends whatever the state has to say each time it is woken."""

    def __init__(self, speaker: Speaker, delta: DeltaStream, opened_at: float) -> None:
        self.speaker = speaker
        self.node = speaker.node
        self.delta = delta
        self.opened_at = opened_at
        self.refusal: str | None = None
        self.ended: str | None = None
        """Why the gateway ends the stream; ``None`` while it goes on."""
        self.refused: str | None = None
        """Why its peer is not believed any more, so that the stream ends; ``None`` while it is."""
        self._wake = asyncio.Event()

    def end(self, why: str) -> None:
        self.ended = why
        self.wake()

    def refuse(self, why: str) -> None:
        self.refused = why
        self.end(why)

    def wake(self) -> None:
        self._wake.set()

    async def woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()


class _LoadStream:
    """One open stream of load reports."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.replan = asyncio.Event()
        """Set when what is asked of the router may have changed, or the stream has ended."""
        self.refused: str | None = None
        """Why its peer is not believed any more; ``None`` while it is."""


class XdsServer:
    """Tells every connected router the snapshot, and its changes from then on."""

    def __init__(
        self,
        routing: Routing,
        loaded: Iterable[Publication],
        journal: RouterJournal,
        metrics: GatewayMetrics,
        admission: Admission,
        catch_up: CatchUp = _is_up_to_date,
    ) -> None:
        """Prepare a server for all publications as they were loaded; nothing listens yet."""
        self._catch_up = catch_up
        self._admission = admission
        self._snapshot = Snapshot(routing)
        self._journal = journal
        self._metrics = metrics
        self._drains = Drains()
        self._failovers = Failovers()
        self._streams: dict[RouterNode, _RouterStream] = {}
        self._reporters: dict[Speaker, _LoadStream] = {}
        self._published_at: dict[DeploymentName, float] = {}
        self._hosts_left_out: Mapping[str, LeftOut] = {}
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers(_handlers(self._discover, self._report))
        self.publish(loaded)

    async def start(self, address: GatewayAddress, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen on a Unix socket, or with the credentials of mutual TLS on a TCP address.

        Raises:
            CertificateError: a TCP address without credentials, or a socket that others could put in place.
            OSError: the address is not free.

        """
        try:
            listen(self._server, address, credentials)
        except Exception:
            await self._server.stop(None)
            raise
        await self._server.start()

    async def stop(self) -> None:
        """Close all streams; routers go on with what they have and come back by themselves."""
        for stream in self._streams.values():
            stream.end("the gateway stops")
        reporters, self._reporters = self._reporters, {}
        for reporter in reporters.values():
            reporter.replan.set()
        await self._server.stop(STOP_GRACE_SECONDS)

    def end_refused_streams(self) -> None:
        """End the streams of peers that may no longer speak for their router: forgotten, revoked or expired."""
        for stream in self._streams.values():
            why = self._admission.refusal_now(stream.speaker)
            if why is not None:
                log.warning("router_not_believed", router=stream.node, peer=str(stream.speaker.peer), why=why)
                stream.refuse(why)
        for speaker, reporter in self._reporters.items():
            reporter.refused = self._admission.refusal_now(speaker)
            if reporter.refused is not None:
                reporter.replan.set()

    def publish(self, publications: Iterable[Publication], withdrawn: Iterable[DeploymentName] = ()) -> None:
        """Tell routers of changed deployments, and that others are gone.

        A publication that cannot be put into messages is logged and counted; routers keep what they have of its
        deployment, and hear of all others.
        """
        now = monotonic()
        changed: set[DeploymentName] = set()
        clusters: set[str] = set()
        for publication in publications:
            name = publication.deployment
            before = self._snapshot.clusters_of(name)
            try:
                changes_routes = self._snapshot.publish(publication)
            except Exception:
                self._metrics.faults.labels("publications").inc()
                log.exception("publication_impossible", deployment=name, epoch=publication.epoch)
                continue
            if changes_routes:
                clusters |= before | self._snapshot.clusters_of(name)
            self._drains.publish(publication)
            self._failovers.publish(publication)
            self._published_at[name] = now
            self._metrics.publications.inc()
            self._metrics.panic.labels(name).set(publication.panic)
            changed.add(name)
        for name in withdrawn:
            clusters |= self._snapshot.clusters_of(name)
            self._snapshot.withdraw(name)
            self._drains.withdraw(name)
            self._failovers.withdraw(name)
            self._published_at.pop(name, None)
            self._metrics.panic.remove(name)
            changed.add(name)
        if clusters:
            self._tell_hosts_left_out()
        for stream in self._streams.values():
            for name in changed:
                stream.delta.deployment_changed(name)
            if clusters:
                stream.delta.deployments_changed(clusters)
            self._settle(stream)
            stream.wake()

    def _tell_hosts_left_out(self) -> None:
        """Log, once each, which hosts of deployments lead to others by their names, and count them."""
        before, self._hosts_left_out = self._hosts_left_out, self._snapshot.hosts_left_out
        self._metrics.hosts_left_out.set(len(self._hosts_left_out))
        for host, one in self._hosts_left_out.items():
            if before.get(host) != one:
                log.error("host_left_out", host=host, claimed_by=one.claimed_by, address_of=one.address_of)
        for host in before.keys() - self._hosts_left_out.keys():
            log.info("host_no_longer_left_out", host=host)

    # Identity

    async def _identify(self, node: str | None, service: str, context: _AnyService) -> Speaker:
        """Return who speaks on a stream, by the node of its first message and by its connection.

        Every service calls this before it takes in anything else of a stream; one of somebody else ends here.
        """
        if not node:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must name the router: set node.id")
            raise AssertionError(_ABORT_RAISES)
        unspeakable = refusal_of_spoken_node(node)
        if unspeakable is not None:
            self._metrics.refused_streams.labels(service).inc()
            log.warning("stream_refused", service=service, why=unspeakable)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, unspeakable)
            raise AssertionError(_ABORT_RAISES)
        speaker = Speaker(RouterNode(node), peer_of(context), context.peer())
        why = await self._admission.refusal(speaker)
        if why is not None:
            self._metrics.refused_streams.labels(service).inc()
            log.warning("stream_refused", service=service, router=node, peer=str(speaker.peer), why=why)
            await self._turn_away(speaker, why, context)
        return speaker

    @staticmethod
    async def _turn_away(speaker: Speaker, why: str, context: _AnyService) -> None:
        """End a stream of a peer that is not believed, and soon its connection; raises as ``context.abort`` does."""
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, close_connection, speaker.connection)
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, why)

    # Discovery

    async def _discover(
        self,
        requests: AsyncIterator[DiscoveryRequest],
        context: _Discovery,
    ) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        speaker = await self._identify(first.node, "discovery", context)
        # It may have acknowledged at another gateway what this one has not heard of yet, and must not be led back.
        # One that holds nothing has to lose only if it is not told what is known.
        await self._catch_up(patient=bool(first.initial_versions))
        why = self._admission.refusal_now(speaker)
        if why is not None:
            await self._turn_away(speaker, why, context)
        # Envoy asks for its runtime first, at each stream.
        takes_limits = first.kind == ResourceType.RUNTIME
        stream = self._open(speaker, first.own, takes_limits=takes_limits)
        if not takes_limits:
            log.warning("router_keeps_default_limits", router=stream.node, next_step=_ENROL_AGAIN)
        try:
            with self._metrics.streams.labels("discovery").track_inprogress():
                await first_to_end(self._listen(stream, first, requests), self._tell(stream, context))
        finally:
            self._close(stream)
        if stream.refused is not None:
            await self._turn_away(speaker, stream.refused, context)
        if stream.ended is not None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, stream.ended)

    def _open(self, speaker: Speaker, own: OwnListeners, *, takes_limits: bool) -> _RouterStream:
        """Register a router's newest stream; an older one ends."""
        node, peer = speaker.node, speaker.peer
        stream = _RouterStream(speaker, DeltaStream(self._snapshot, own), monotonic())
        older = self._streams.get(node)
        if older is not None:
            log.warning("router_stream_superseded", router=node)
            older.end(f"a newer stream of router {node} took over")
            self._drains.disconnect(node)
            self._failovers.disconnect(node)
        self._streams[node] = stream
        expires_at = peer.expires_at if isinstance(peer, CertifiedPeer) else None
        self._journal.connected(node, expires_at, takes_limits=takes_limits)
        log.info("router_connected", router=node, peer=str(peer))
        return stream

    def _close(self, stream: _RouterStream) -> None:
        if self._streams.get(stream.node) is stream:
            del self._streams[stream.node]
            self._drains.disconnect(stream.node)
            self._failovers.disconnect(stream.node)
            self._journal.disconnected(stream.node)
            log.info("router_disconnected", router=stream.node)

    async def _listen(
        self,
        stream: _RouterStream,
        first: DiscoveryRequest,
        requests: AsyncIterator[DiscoveryRequest],
    ) -> None:
        """Take in all that a router says until it ends its stream."""
        self._receive(stream, first)
        async for request in requests:
            self._receive(stream, request)

    def _receive(self, stream: _RouterStream, request: DiscoveryRequest) -> None:
        if stream.ended is not None:
            return
        if request.refusal is not None:
            self._metrics.refusals.labels(request.kind if request.kind in _KINDS else "other").inc()
            log.warning("router_refused", router=stream.node, type=request.kind, why=request.refusal)
        stream.delta.receive(request)
        self._settle(stream)
        stream.wake()

    async def _tell(
        self,
        stream: _RouterStream,
        context: _Discovery,
    ) -> None:
        """Send what the stream's state has to say, each time that it may have something, until it ends."""
        while stream.ended is None:
            for response in stream.delta.responses():
                for cluster in stream.delta.take_replaced_clusters():
                    self._drains.lose_count(stream.node, deployment_of(cluster))
                self._metrics.responses.labels(response.kind).inc()
                self._metrics.resources.labels(response.kind).inc(len(response.resources) + len(response.removed))
                await context.write(response)
            await stream.woken()

    def _settle(self, stream: _RouterStream) -> None:
        """Hand on what the last event on a stream has settled: acknowledged epochs, a refusal or its end."""
        node, now = stream.node, monotonic()
        acknowledged = stream.delta.take_acknowledged()
        if acknowledged:
            self._drains.acknowledge(node, acknowledged, now)
            self._failovers.acknowledge(node, acknowledged)
            self._journal.acknowledged(node, acknowledged)
            for name in acknowledged:
                published_at = self._published_at.get(name, 0.0)
                if published_at > stream.opened_at:
                    self._metrics.acknowledgement_seconds.observe(now - published_at)
        if stream.delta.refusal != stream.refusal:
            stream.refusal = stream.delta.refusal
            self._journal.refused(node, stream.refusal or "")
        reporter = self._reporters.get(stream.speaker)
        if reporter is not None:
            reporter.replan.set()

    # Load reporting

    async def _report(
        self,
        requests: AsyncIterator[LoadReport],
        context: _LoadReporting,
    ) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        speaker = await self._identify(first.node, "load", context)
        older = self._reporters.get(speaker)
        reporter = self._reporters[speaker] = _LoadStream(speaker)
        if older is not None:
            older.replan.set()
        try:
            with self._metrics.streams.labels("load").track_inprogress():
                await first_to_end(
                    self._take_reports(first, requests, reporter),
                    self._ask_for_reports(context, reporter),
                    self._until_apart(reporter),
                )
        finally:
            is_newest = self._is_newest(reporter)
            if is_newest:
                del self._reporters[speaker]
                if self._counts(speaker):
                    self._drains.stop_reports(speaker.node)
        if reporter.refused is not None:
            await self._turn_away(speaker, reporter.refused, context)
        if is_newest and not self._counts(speaker):
            await context.abort(
                grpc.StatusCode.UNAVAILABLE,
                "reports are taken on the connection on which the router takes its routes",
            )

    def _is_newest(self, reporter: _LoadStream) -> bool:
        return self._reporters.get(reporter.speaker) is reporter

    def _counts(self, speaker: Speaker) -> bool:
        """Whether reports of this peer count: it holds the router's discovery stream.

        Only the gateway to which the router acknowledges knows since when its zeros count; and a zero of any other
        peer would stop replicas on which the router's requests run.
        """
        stream = self._streams.get(speaker.node)
        return stream is not None and stream.speaker == speaker

    async def _until_apart(self, reporter: _LoadStream) -> None:
        """Return when a peer reports for a router and does not hold its discovery stream here for some time.

        A router with several gateways may be led to the right one by its next try.
        """
        looks = 0
        while self._is_newest(reporter) and reporter.refused is None and looks < APART_POLLS:
            await asyncio.sleep(_APART_POLL_SECONDS)
            looks = 0 if self._counts(reporter.speaker) else looks + 1
        if looks >= APART_POLLS:
            log.info("reports_sent_away", router=reporter.speaker.node, peer=str(reporter.speaker.peer))

    async def _take_reports(
        self,
        first: LoadReport,
        requests: AsyncIterator[LoadReport],
        reporter: _LoadStream,
    ) -> None:
        self._take_report(first, reporter)
        async for report in requests:
            self._take_report(report, reporter)

    def _take_report(self, report: LoadReport, reporter: _LoadStream) -> None:
        """Take a report of a router's newest stream, from the peer that holds its discovery stream."""
        if not self._is_newest(reporter) or reporter.refused is not None:
            return
        self._metrics.load_reports.inc()
        node = reporter.speaker.node
        if self._counts(reporter.speaker):
            news = self._drains.report(node, report, monotonic())
            if news:
                self._journal.loaded(node, {one: (load, self._drains.epoch_of(one)) for one, load in news.items()})
            sent = self._failovers.report(node, report)
            if sent:
                self._metrics.failover_requests.inc(sum(sent.values()))
                self._journal.failed_over(node, sent)
        reporter.replan.set()

    async def _ask_for_reports(
        self,
        context: _LoadReporting,
        reporter: _LoadStream,
    ) -> None:
        """Tell a router what to report when that changes, and only then: each answer starts its interval anew."""
        asked: ReportingPlan | None = None
        while self._is_newest(reporter) and reporter.refused is None:
            reporter.replan.clear()
            wanted = self._drains.plan(reporter.speaker.node) if self._counts(reporter.speaker) else IDLE_PLAN
            if wanted != asked:
                await context.write(wanted)
                asked = wanted
            await reporter.replan.wait()


def _handlers(
    discover: Callable[[AsyncIterator[DiscoveryRequest], _Discovery], Awaitable[None]],
    report: Callable[[AsyncIterator[LoadReport], _LoadReporting], Awaitable[None]],
) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return the two services without generated code."""
    return (
        grpc.method_handlers_generic_handler(
            discovery.SERVICE,
            {
                discovery.METHOD: grpc.stream_stream_rpc_method_handler(
                    discover,
                    request_deserializer=discovery.parse_request,
                    response_serializer=discovery.serialise_response,
                ),
            },
        ),
        grpc.method_handlers_generic_handler(
            load_reports.SERVICE,
            {
                load_reports.METHOD: grpc.stream_stream_rpc_method_handler(
                    report,
                    request_deserializer=load_reports.parse_report,
                    response_serializer=load_reports.serialise_plan,
                ),
            },
        ),
    )
