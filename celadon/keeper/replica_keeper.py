"""One replica from its row to its end: starts or adopts it, probes it, stops it, and writes each step down."""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, assert_never

import structlog

from celadon.domain.health import HealthRecord, judge
from celadon.domain.names import RouteId
from celadon.domain.states import RouteHealthStatus, RouteStatus
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.probes import Prober, ProbeResult, connect
from celadon.provisioners.protocol import (
    Address,
    Ended,
    Listener,
    NeverStarted,
    Replica,
    ReplicaProvisioner,
    StartError,
)
from celadon.racing import first_to_end
from celadon.table.kept_sets import KeptRoute, KeptSet
from celadon.table.labels import labels_of
from celadon.table.replicas import route_confirmed, route_ended, route_health, route_running

_SETTLING: Final = timedelta(seconds=1)
"""A replica counts as running when it listens or has lived so long: a command that ends at once never does."""

_SETTLING_POLL: Final = timedelta(milliseconds=50)

_TRUSTED: Final = timedelta(minutes=1)
"""How long who listens is not asked again while probes pass. It costs a look at all connections of the machine."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tools:
    """What every replica's keeper works with."""

    table: FencedTable
    prober: Prober
    metrics: KeeperMetrics


@dataclass(frozen=True, slots=True)
class ReplicaEnd:
    """How a replica ended."""

    route: RouteId
    failed: bool
    """By the revision's fault."""
    by_itself: bool
    lived: timedelta


class ReplicaKeeper:
    """Looks after one replica. A new one for the same route goes on where an earlier one was."""

    def __init__(self, tools: Tools, provisioner: ReplicaProvisioner, kept: KeptSet, row: KeptRoute) -> None:
        """Take over a replica as its row says."""
        self._tools = tools
        self._provisioner = provisioner
        self._kept = kept
        self._replica = Replica(row.route, Address(row.host, row.port), kept.revision)
        self._status = row.status
        self._health = HealthRecord(status=row.health)
        self._is_confirmed = False
        """Whether this term's keeper has written down what it saw."""
        self._was_healthy = row.health in {RouteHealthStatus.HEALTHY, RouteHealthStatus.DEGRADED}
        self._listened_at = float("-inf")
        """When it was last seen that the replica itself listens at its address; long ago once a probe has failed."""
        self._stop_wanted = asyncio.Event()
        if row.status is RouteStatus.TERMINATING:
            self._stop_wanted.set()
        self.row = row

    @property
    def is_stopping(self) -> bool:
        """Whether its stop was asked for."""
        return self._stop_wanted.is_set()

    def stop(self) -> None:
        """Ask for its stop, after that was written down."""
        self._stop_wanted.set()

    async def run(self) -> ReplicaEnd:
        """Look after the replica until its end is written down.

        Raises:
            LeaseLostError: the keeper must not act any more; the replica goes on.

        """
        began = time.monotonic()
        ended = None if self.is_stopping else await first_to_end(self._wait_for_stop(), self._serve())
        lived = timedelta(seconds=time.monotonic() - began)
        route = self._replica.route
        self._tools.table.check_lease()
        # Also after an end by itself: processes that it has started may be left.
        await self._provisioner.stop(self._replica)
        if ended is None:
            await self._write_end(RouteStatus.TERMINATED, Ended("", failed=False))
        else:
            status = RouteStatus.TERMINATED if self._was_healthy else RouteStatus.FAILED_TO_START
            await self._write_end(status, await self._excuse(ended))
        await self._provisioner.forget(route)
        return ReplicaEnd(route, failed=ended is not None and ended.failed, by_itself=ended is not None, lived=lived)

    async def _excuse(self, ended: Ended) -> Ended:
        """Return an end that is not the revision's fault when another program took the port before it could listen."""
        if self._was_healthy or not ended.failed:
            return ended
        check = await self._provisioner.check_listener(self._replica)
        if check.listener is not Listener.FOREIGN:
            return ended
        return replace(ended, error=f"{check.error} ({ended.error})", failed=False, port_taken=True)

    async def _wait_for_stop(self) -> None:
        await self._stop_wanted.wait()

    async def _serve(self) -> Ended:
        """Start the replica unless it runs, and look after it until it ends by itself."""
        seen = await self._provisioner.look(self._replica)
        if isinstance(seen, NeverStarted):
            if self._status is not RouteStatus.PROVISIONING:
                return Ended("this worker knows nothing of its process: was CELADON_STATE_DIR lost?", failed=False)
            if self._replica.revision.secrets:
                # Now, and not when the set was read: a label may have been taken away since.
                labels = await self._tools.table.read(lambda tx: labels_of(tx, self._kept.deployment))
                self._replica = replace(self._replica, labels=labels or {})
            self._tools.table.check_lease()
            try:
                await self._provisioner.start(self._replica)
            except StartError as error:
                return Ended(str(error), error.output, failed=error.failed)
            log.info("replica_started", **self._names(), address=str(self._replica.address))
        elif isinstance(seen, Ended):
            return seen
        else:
            log.info("replica_adopted", **self._names(), address=str(self._replica.address))
        return await first_to_end(self._provisioner.until_ended(self._replica), self._probe_until_cancelled())

    async def _probe_until_cancelled(self) -> Ended:
        if self._status is RouteStatus.PROVISIONING:
            taken = await self._settle()
            if taken is not None:
                return taken
            await self._tools.table.write(lambda tx, fence: route_running(tx, fence, self._kept, self._replica.route))
        check = self._kept.revision.health_check
        while True:
            began = time.monotonic()
            result = await self._tools.prober.probe(self._replica.address, check)
            if result.passed:
                checked = await self._check_listener()
                if isinstance(checked, Ended):
                    return checked
                result = checked
            if not result.passed:
                self._listened_at = float("-inf")
            self._tools.metrics.probes.labels("passed" if result.passed else "failed").inc()
            await self._judge(result)
            await asyncio.sleep(max(0.0, check.interval.total_seconds() - (time.monotonic() - began)))

    async def _settle(self) -> Ended | None:
        """Wait until it listens, for a while; return its end when another program listens in its place."""
        deadline = time.monotonic() + _SETTLING.total_seconds()
        while time.monotonic() < deadline:
            if (await connect(self._replica.address, _SETTLING)).passed:
                checked = await self._check_listener()
                if isinstance(checked, Ended):
                    return checked
                if checked.passed:
                    return None
            await asyncio.sleep(_SETTLING_POLL.total_seconds())
        return None

    async def _check_listener(self) -> ProbeResult | Ended:
        """Return that the replica itself answers, what is missing, or its end when another program does.

        Asked at the first success of this keeper, at each one that follows a failure, and now and then: in between the
        replica's sockets keep other users away from the address.
        """
        if time.monotonic() < self._listened_at + _TRUSTED.total_seconds():
            return ProbeResult()
        check = await self._provisioner.check_listener(self._replica)
        match check.listener:
            case Listener.OWN:
                self._listened_at = time.monotonic()
                return ProbeResult()
            case Listener.NONE:
                return ProbeResult(check.error)
            case Listener.FOREIGN:
                log.warning("port_taken", **self._names(), address=str(self._replica.address), why=check.error)
                return Ended(check.error, failed=False, port_taken=True)
            case _:
                assert_never(check.listener)

    async def _judge(self, result: ProbeResult) -> None:
        """Write an edge of health down; what one more probe of the same kind says is nobody's news."""
        error = self._provisioner.mask(self._replica, result.error) if result.error else ""
        after = judge(self._health, self._kept.revision.health_check, passed=result.passed)
        if after.status is not self._health.status:
            await self._tools.table.write(
                lambda tx, fence: route_health(
                    tx,
                    fence,
                    self._kept,
                    self._replica.route,
                    health=after.status,
                    error=error,
                ),
            )
            self._is_confirmed = True
            log.info("replica_health", **self._names(), health=after.status.value, error=error)
        elif not self._is_confirmed:
            await self._tools.table.write(
                lambda tx, fence: route_confirmed(tx, fence, self._kept, self._replica.route),
            )
            self._is_confirmed = True
        self._health = after
        self._was_healthy = self._was_healthy or after.status is RouteHealthStatus.HEALTHY

    async def _write_end(self, status: RouteStatus, ended: Ended) -> None:
        error, output = (self._provisioner.mask(self._replica, text) for text in (ended.error, ended.output))
        await self._tools.table.write(
            lambda tx, fence: route_ended(
                tx,
                fence,
                self._kept,
                self._replica.route,
                status=status,
                error=error,
                output=output,
                failed=ended.failed,
                port_taken=ended.port_taken,
            ),
        )
        log.info("replica_ended", **self._names(), status=status.value, error=error)
        if ended.failed:
            self._tools.metrics.failed_replicas.inc()

    def _names(self) -> dict[str, object]:
        return {
            "deployment": self._kept.deployment,
            "revision": self._kept.revision_number,
            "route_set": self._kept.route_set,
            "route": self._replica.route,
        }
