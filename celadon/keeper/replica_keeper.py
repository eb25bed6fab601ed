"""One replica from its row to its end: starts or adopts it, probes it, stops it, and writes each step down."""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, assert_never

import structlog

from celadon.domain.decisions.failure_cause import LONGEST_CAUSE, are_alike
from celadon.domain.decisions.health import HealthRecord, judge
from celadon.domain.language.durations import format_duration
from celadon.domain.language.names import RouteId
from celadon.domain.language.probe import Probe
from celadon.domain.language.revision import Revision
from celadon.domain.language.shown_text import one_line
from celadon.domain.language.states import RouteHealthStatus, RouteStatus
from celadon.domain.language.text_bounds import first_bytes
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.probes import Prober, ProbeResult, connect
from celadon.keeper.times import USUAL_TIMES, KeeperTimes
from celadon.provisioners.protocol import (
    Ended,
    Listener,
    NeverStarted,
    Place,
    Replica,
    ReplicaProvisioner,
    StartError,
)
from celadon.racing import first_to_end
from celadon.table.core.labels import labels_of
from celadon.table.replicas.keeper_reads import ManagedRoute, ManagedSet
from celadon.table.replicas.routes import route_confirmed, route_ended, route_error, route_health, route_running

_SETTLING: Final = timedelta(seconds=1)
"""A replica counts as running when it listens or has lived so long: a command that ends at once never does."""

_SETTLING_POLL: Final = timedelta(milliseconds=50)

_CLEARED_SOON: Final = timedelta(milliseconds=250)
"""What a replica that has ended leaves behind is ended within, as a rule: one write then says all."""

_TRUSTED: Final = timedelta(minutes=1)
"""How long who listens is not asked again while probes pass. It costs a look at all connections of the machine."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tools:
    """What every replica's keeper works with."""

    table: FencedTable
    prober: Prober
    metrics: KeeperMetrics
    times: KeeperTimes = USUAL_TIMES


def place_of(revision: Revision, row: ManagedRoute) -> Place:
    """Return where a replica of a revision listens, by its row."""
    return Place(row.host, {revision.main_port: row.port, **row.other_ports})


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

    def __init__(self, tools: Tools, provisioner: ReplicaProvisioner, managed: ManagedSet, row: ManagedRoute) -> None:
        """Take over a replica as its row says."""
        self._tools = tools
        self._provisioner = provisioner
        self._managed = managed
        self._replica = Replica(row.route, place_of(managed.revision, row), managed.revision)
        self._status = row.status
        self._health = HealthRecord(status=row.health)
        self._is_confirmed = False
        """Whether this term's keeper has written down what it saw."""
        self._was_healthy = row.was_ready
        check = managed.revision.health_check
        self._light = check.probe()
        self._first = None if row.was_ready else check.first_probe()
        """Sent after a light one that passed, until it has passed itself: it costs the replica a real request."""
        self._start_by = time.monotonic() + (managed.start_timeout - row.age).total_seconds()
        """When a replica that was never healthy counts as failed to start."""
        self._failed_probes = 0
        self._listened_at = float("-inf")
        """When it was last seen that the replica itself listens at its address; long ago once a probe has failed."""
        self._told_error = ""
        self._told_at = float("-inf")
        """What was written down last of its probes, and when."""
        self._stop_wanted = asyncio.Event()
        if row.status is RouteStatus.TERMINATING:
            self._stop_wanted.set()
        self.row = row
        self.was_run = False
        """Whether :meth:`run` was called; it cannot be called again."""

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
        self.was_run = True
        began = time.monotonic()
        ended = None if self.is_stopping else await first_to_end(self._wait_for_stop(), self._serve())
        lived = timedelta(seconds=time.monotonic() - began)
        route = self._replica.route
        self._tools.table.check_lease()
        await self._clear_away(ended)
        if ended is None:
            is_sick = self._health.status is RouteHealthStatus.UNHEALTHY
            output = self._provisioner.last_output(self._replica) if is_sick else ""
            await self._write_end(RouteStatus.TERMINATED, Ended("", output, failed=False))
        else:
            status = RouteStatus.TERMINATED if self._was_healthy else RouteStatus.FAILED_TO_START
            await self._write_end(status, await self._excuse(ended))
        await self._provisioner.forget(route)
        return ReplicaEnd(route, failed=ended is not None and ended.failed, by_itself=ended is not None, lived=lived)

    async def _clear_away(self, ended: Ended | None) -> None:
        """End the replica, or the processes that it has left behind when it ended by itself.

        Those may take seconds. Routers hear of an end by itself before, and another replica takes its place after it:
        what is left may hold the memory that the other one needs.
        """
        clearing = asyncio.create_task(self._provisioner.stop(self._replica))
        try:
            if ended is not None and self._was_healthy:
                await asyncio.wait({clearing}, timeout=_CLEARED_SOON.total_seconds())
                if not clearing.done():
                    await self._take_out(ended)
            await clearing
        finally:
            clearing.cancel()
            await asyncio.gather(clearing, return_exceptions=True)

    async def _take_out(self, ended: Ended) -> None:
        """Let routers send it no more requests: its process has ended, whatever the last probe said."""
        error = self._provisioner.mask(self._replica, ended.error)
        await self._tools.table.write(
            lambda tx, fence: route_health(
                tx,
                fence,
                self._managed,
                self._replica.route,
                health=RouteHealthStatus.UNHEALTHY,
                error=error,
            ),
        )
        log.info("replica_taken_out", **self._names(), error=error)

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
                labels = await self._tools.table.read(lambda tx: labels_of(tx, self._managed.deployment))
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
            await self._tools.table.write(
                lambda tx, fence: route_running(tx, fence, self._managed, self._replica.route)
            )
        check = self._managed.revision.health_check
        while True:
            began = time.monotonic()
            result = await self._probe()
            if isinstance(result, Ended):
                return result
            self._tools.metrics.probes.labels("passed" if result.passed else "failed").inc()
            await self._judge(result)
            if self._is_overdue(result):
                span = format_duration(self._managed.start_timeout)
                output = self._provisioner.last_output(self._replica)
                return Ended(f"it was not healthy within {span} of its start: {result.error}", output)
            await asyncio.sleep(max(0.0, check.interval.total_seconds() - (time.monotonic() - began)))

    async def _probe(self) -> ProbeResult | Ended:
        """Ask the replica how it is; one that was never healthy is asked for more."""
        result: ProbeResult | Ended = await self._ask(self._light)
        if isinstance(result, ProbeResult) and result.passed:
            result = await self._check_listener()
        if isinstance(result, Ended):
            return result
        if not result.passed:
            self._listened_at = float("-inf")
        elif self._first is not None:
            result = await self._ask(self._first)
            if result.passed:
                self._first = None
            else:
                result = ProbeResult(f"first probe: {result.error}")
        return result

    async def _ask(self, probe: Probe) -> ProbeResult:
        address = self._replica.place.address_of(self._replica.revision.port_of(probe))
        return await self._tools.prober.probe(address, probe)

    def _is_overdue(self, result: ProbeResult) -> bool:
        """Whether it has had its time to become healthy, and this keeper has looked often enough to say so."""
        self._failed_probes += not result.passed
        return (
            not result.passed
            and not self._was_healthy
            and self._failed_probes >= self._managed.revision.health_check.failure_threshold
            and time.monotonic() >= self._start_by
        )

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
        error = first_bytes(one_line(self._provisioner.mask(self._replica, result.error)), LONGEST_CAUSE)
        after = judge(self._health, self._managed.revision.health_check, passed=result.passed)
        output = ""
        if after.status is RouteHealthStatus.UNHEALTHY and self._has_news(after.status, error):
            output = self._provisioner.last_output(self._replica)
        if after.status is not self._health.status:
            await self._tools.table.write(
                lambda tx, fence: route_health(
                    tx,
                    fence,
                    self._managed,
                    self._replica.route,
                    health=after.status,
                    error=error,
                    output=output,
                ),
            )
            self._is_confirmed = True
            self._note_told(error)
            log.info("replica_health", **self._names(), health=after.status.value, error=error)
        elif not self._is_confirmed:
            await self._tools.table.write(
                lambda tx, fence: route_confirmed(tx, fence, self._managed, self._replica.route),
            )
            self._is_confirmed = True
        elif after.status is RouteHealthStatus.UNHEALTHY and self._has_news(after.status, error):
            await self._tools.table.write(
                lambda tx, fence: route_error(
                    tx, fence, self._managed, self._replica.route, error=error, output=output
                ),
            )
            self._note_told(error)
        self._health = after
        self._was_healthy = self._was_healthy or after.status is RouteHealthStatus.HEALTHY

    def _has_news(self, health: RouteHealthStatus, error: str) -> bool:
        """Whether a replica fails otherwise than was written down; only now and then, as each answer may be new."""
        if health is not self._health.status:
            return True
        is_due = time.monotonic() >= self._told_at + self._tools.times.told_again.total_seconds()
        return is_due and not are_alike(error, self._told_error)

    def _note_told(self, error: str) -> None:
        self._told_error, self._told_at = error, time.monotonic()

    async def _write_end(self, status: RouteStatus, ended: Ended) -> None:
        error, output = (self._provisioner.mask(self._replica, text) for text in (ended.error, ended.output))
        await self._tools.table.write(
            lambda tx, fence: route_ended(
                tx,
                fence,
                self._managed,
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
            "deployment": self._managed.deployment,
            "revision": self._managed.revision_number,
            "route_set": self._managed.route_set,
            "route": self._replica.route,
        }
