"""The keeper as a service of the worker: holds the lease, follows the table, and lets each part do its work."""

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from celadon.domain.decisions.drain import DrainDecision, may_stop
from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.names import Epoch, RouteId, RouteSetId
from celadon.domain.language.revision import Provisioner
from celadon.domain.language.states import RouteSetState, WorkerRisk
from celadon.keeper.faults import attempt, survive
from celadon.keeper.fenced_table import FencedTable
from celadon.keeper.lease import USUAL_LEASE_TIMES, Lease, LeaseTimes
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.outbox import Outbox
from celadon.keeper.probes import Prober
from celadon.keeper.replica_keeper import ReplicaKeeper, Tools
from celadon.keeper.retention import prune_until_cancelled
from celadon.keeper.rollouts import end_left_rollouts_until_cancelled, tell_caught_up_until_cancelled
from celadon.keeper.set_keeper import SetKeeper
from celadon.keeper.signalling import RolloutStarter, Signaller, WorkflowDirectory
from celadon.keeper.successors import start_successors_until_cancelled
from celadon.keeper.times import USUAL_TIMES, KeeperTimes
from celadon.provisioners.protocol import Address, ReplicaProvisioner
from celadon.racing import first_to_end, task_group, wait_at_most
from celadon.table.core.engine import Table
from celadon.table.core.epoch import OWES
from celadon.table.core.fences import LeaseLostError
from celadon.table.core.listen import ACKS_CHANNEL, ROUTES_CHANNEL, ChannelSubscription, Listener
from celadon.table.replicas.drain_reports import (
    DepartureReports,
    DrainReports,
    read_departure_reports,
    read_drain_reports,
)
from celadon.table.replicas.keeper_reads import (
    ManagedSet,
    SetVersion,
    read_managed_sets,
    read_set_versions,
    read_unended_routes,
)
from celadon.table.replicas.routes import stop_for_exit

_TAKE_SECONDS: Final = 0.25
"""How often a keeper without the lease asks for it."""

_REREAD_SECONDS: Final = 5.0
"""How often versions are compared although nothing was heard: notifications are not kept while nobody listens."""

_BETWEEN_READS_SECONDS: Final = 0.05
"""Every write of a replica notifies; what comes in between is read at once."""

_READ_AT_ONCE: Final = 20
"""How many deployments are read, and their replicas begun to be looked after, in one go."""

_DRAIN_POLL_SECONDS: Final = 0.2

log = structlog.get_logger()


class Keeper:
    """Owns replicas for as long as it holds the lease, and waits for the lease when another keeper has it."""

    def __init__(  # noqa: PLR0913 - what a service needs, each by its name
        self,
        *,
        table: Table,
        listener: Listener,
        provisioners: Mapping[Provisioner, ReplicaProvisioner],
        signaller: Signaller,
        workflows: WorkflowDirectory,
        starter: RolloutStarter,
        metrics: KeeperMetrics,
        holder: str,
        reach: Reach = Reach(),  # noqa: B008 - it is frozen
        risks: Collection[WorkerRisk] = (),
        lease_times: LeaseTimes = USUAL_LEASE_TIMES,
        times: KeeperTimes = USUAL_TIMES,
    ) -> None:
        """Prepare; nothing happens before :meth:`run`.

        Args:
            table: the table.
            listener: an open listener on the table's notifications.
            provisioners: who runs the replicas of which revisions.
            signaller: sends signals to rollouts.
            workflows: knows which rollouts' workflows run.
            starter: starts rollouts that have waited for their turn.
            metrics: where to count.
            holder: how this keeper is named in the table, for people.
            reach: what may be probed.
            risks: what the settings of its worker let others do, for people.
            lease_times: how long the lease lasts.
            times: how long parts wait after what went wrong.

        """
        self._table = table
        self._listener = listener
        self._provisioners = provisioners
        self._signaller = signaller
        self._workflows = workflows
        self._starter = starter
        self._metrics = metrics
        self._holder = holder
        self._reach = reach
        self._risks = tuple(risks)
        self._lease_times = lease_times
        self._times = times
        self._asking = metrics.trouble("lease", "lease_not_asked_for")
        self._renewing = metrics.trouble("lease", "lease_not_renewed")
        self._releasing = metrics.trouble("lease", "lease_not_released")
        self._stop_wanted = asyncio.Event()
        self._stop_replicas = False
        self._replicas_stopped = False

    def stop(self, *, stop_replicas: bool = False) -> None:
        """Ask :meth:`run` to end, with all replicas that run on this machine if that was wanted once."""
        self._stop_replicas = self._stop_replicas or stop_replicas
        self._stop_wanted.set()

    async def run(self) -> None:
        """Keep replicas until :meth:`stop`, over any number of leases; faults are logged and survived."""
        # Renewals do not queue for a connection behind the keeper's own writes.
        async with Table(self._table.database_url, f"{self._holder} lease", pool_size=1) as lease_table:
            while not self._stop_wanted.is_set():
                if not await self._serve_term(lease_table):
                    await wait_at_most(self._stop_wanted, _TAKE_SECONDS)
            await self._outwait_a_dead_keeper(lease_table)

    async def _outwait_a_dead_keeper(self, lease_table: Table) -> None:
        """Stop replicas although a keeper that was killed still has the lease on paper: it expires soon."""
        deadline = time.monotonic() + self._lease_times.outwait.total_seconds()
        while self._stop_replicas and not self._replicas_stopped:
            # Asked for once more after the deadline: on a machine that stood still the lease has expired meanwhile.
            is_last = time.monotonic() >= deadline
            if await self._serve_term(lease_table):
                continue
            if is_last:
                log.warning("replicas_run_on", why="another keeper has the lease, or the table is away")
                return
            await asyncio.sleep(_TAKE_SECONDS)

    async def _serve_term(self, lease_table: Table) -> bool:
        """Take the lease and keep replicas until it is lost or the stop is wanted; false when it is another's."""
        lease = await self._take(lease_table)
        if lease is None:
            return False
        try:
            await self._hold(lease)
        finally:
            self._metrics.lease_held.set(0)
            self._metrics.count_replicas(())
            await self._release(lease)
        return True

    async def _take(self, lease_table: Table) -> Lease | None:
        try:
            lease = await Lease.take(lease_table, self._holder, self._risks, self._renewing, self._lease_times)
        except Exception as error:  # noqa: BLE001 - it is told, and the lease is asked for again
            self._asking.tell(error)
            return None
        self._asking.is_over()
        return lease

    async def _release(self, lease: Lease) -> None:
        try:
            await lease.release()
        except Exception as error:  # noqa: BLE001 - it is told; the lease expires by itself
            self._releasing.tell(error)

    async def _hold(self, lease: Lease) -> None:
        """Work under one lease until it is lost or the stop is wanted."""
        log.info("lease_taken", holder=self._holder, fence=lease.fence)
        self._metrics.lease_held.set(1)
        term = _Term(
            FencedTable(self._table, lease, self._metrics.table_errors.inc),
            self._listener,
            self._provisioners,
            self._metrics,
            self._times,
        )
        outbox = Outbox(term.table, self._signaller, self._metrics)
        try:
            async with Prober(self._reach) as prober:
                await first_to_end(lease.keep(), self._work(term, prober, outbox))
        except* LeaseLostError as errors:
            log.warning("lease_lost", fence=lease.fence, why=_first_of(errors))

    async def _work(self, term: "_Term", prober: Prober, outbox: Outbox) -> None:
        await first_to_end(
            wait_at_most(self._stop_wanted, None),
            term.keep(prober),
            survive("outbox", outbox.deliver_until_cancelled, self._metrics, self._times),
            survive(
                "routers",
                lambda: tell_caught_up_until_cancelled(term.table, self._listener, self._metrics),
                self._metrics,
                self._times,
            ),
            survive(
                "rollouts",
                lambda: end_left_rollouts_until_cancelled(term.table, self._workflows, self._metrics),
                self._metrics,
                self._times,
            ),
            survive(
                "successors",
                lambda: start_successors_until_cancelled(term.table, self._starter, self._listener, self._metrics),
                self._metrics,
                self._times,
            ),
            survive("retention", lambda: prune_until_cancelled(term.table, self._metrics), self._metrics, self._times),
        )
        if self._stop_replicas:
            await term.stop_all_replicas(prober)
            self._replicas_stopped = True


class _Term:
    """One term of a keeper: all that it knows is forgotten with the lease."""

    def __init__(
        self,
        table: FencedTable,
        listener: Listener,
        provisioners: Mapping[Provisioner, ReplicaProvisioner],
        metrics: KeeperMetrics,
        times: KeeperTimes,
    ) -> None:
        self._times = times
        self.table = table
        self._listener = listener
        self._provisioners = provisioners
        self._metrics = metrics
        self._sets: dict[RouteSetId, SetKeeper] = {}
        self._versions: dict[str, frozenset[SetVersion]] = {}
        self._draining = asyncio.Event()
        self._reading = asyncio.Lock()
        """Readings are handed over in the order of the table."""

    async def keep(self, prober: Prober) -> None:
        """Follow the table and look after every set until cancelled."""
        tools = Tools(self.table, prober, self._metrics, self._times)
        async with task_group() as group:
            group.create_task(survive("drains", self._watch_drains, self._metrics, self._times))
            await survive("table", lambda: self._follow(group, tools), self._metrics, self._times)

    async def stop_all_replicas(self, prober: Prober) -> None:
        """Stop the replicas that this machine runs, all at once; they are started again by the next keeper."""
        versions = await self.table.read(read_set_versions)
        sets = await self.table.read(lambda tx: read_managed_sets(tx, versions.keys()))
        tools = Tools(self.table, prober, self._metrics, self._times)
        async with task_group() as group:
            for managed in sets:
                if managed.revision.provisioner is Provisioner.LOCAL:
                    stop = partial(self._stop_set, tools, managed)
                    group.create_task(attempt("exit", stop, self._metrics, route_set=managed.route_set))
        log.info("replicas_stopped_for_exit")

    async def _stop_set(self, tools: Tools, managed: ManagedSet) -> None:
        tools = replace(tools, table=self.table.in_turn())
        await tools.table.write(lambda tx, fence: stop_for_exit(tx, fence, managed))
        async with task_group() as group:
            for row in managed.routes:
                replica = ReplicaKeeper(tools, self._provisioners[managed.revision.provisioner], managed, row)
                replica.stop()
                group.create_task(attempt("exit", replica.run, self._metrics, route=row.route))

    async def _follow(self, group: asyncio.TaskGroup, tools: Tools) -> None:
        """Read what changes, and hand it to the sets."""
        async with self._listener.subscribe(ROUTES_CHANNEL) as heard:
            # Also when it begins anew: what was read before the fault may not have been handed over.
            self._versions.clear()
            remembered = await self._remembered()
            await self._compare(group, tools)
            self._end_strays(group, await self._strays(remembered))
            while True:
                payloads = await heard.get(_REREAD_SECONDS)
                if not payloads or "" in payloads:
                    if payloads:
                        # What was heard may have owed a signal.
                        self.table.owing.set()
                    await self._compare(group, tools)
                else:
                    changes = [json.loads(payload) for payload in payloads]
                    if any(one.get(OWES) for one in changes):
                        self.table.owing.set()
                    await self._read_all(group, tools, {one["deployment"] for one in changes})
                await asyncio.sleep(_BETWEEN_READS_SECONDS)

    async def _compare(self, group: asyncio.TaskGroup, tools: Tools) -> None:
        """Read the deployments whose sets have other versions than when they were read last."""
        versions = await self.table.read(read_set_versions)
        known = self._versions
        changed = sorted(name for name in versions.keys() | known.keys() if versions.get(name) != known.get(name))
        # Bit by bit: a keeper that takes thousands of sets over must renew its lease meanwhile.
        for start in range(0, len(changed), _READ_AT_ONCE):
            await self._read_all(group, tools, frozenset(changed[start : start + _READ_AT_ONCE]))

    async def _read_all(self, group: asyncio.TaskGroup, tools: Tools, deployments: Collection[str]) -> None:
        """Read some deployments; one that cannot be read, which the next comparison tries again, stops no other."""
        if not await attempt("table", partial(self._read, group, tools, deployments), self._metrics):
            for name in sorted(deployments):
                read = partial(self._read, group, tools, {name})
                await attempt("deployment", read, self._metrics, deployment=name)
        self._metrics.count_replicas(route for one in self._sets.values() for route in one.managed.routes)

    async def _read(self, group: asyncio.TaskGroup, tools: Tools, deployments: Collection[str]) -> None:
        """Read some deployments and hand what was read to their sets."""
        if not deployments:
            return
        async with self._reading:
            for name in deployments:
                self._versions.pop(name, None)
            read = await self.table.read(lambda tx: read_managed_sets(tx, deployments))
            present = {managed.route_set for managed in read}
            for route_set, keeper in self._sets.items():
                if keeper.managed.deployment in deployments and route_set not in present:
                    keeper.is_gone()
            for managed in read:
                if managed.route_set in self._sets:
                    self._sets[managed.route_set].update(managed)
                else:
                    self._begin(group, tools, managed)
                if managed.state is RouteSetState.DRAINING or managed.leaving:
                    self._draining.set()
            # Last, so that whatever was not handed over is read again.
            for managed in read:
                self._versions[managed.deployment] = self._versions.get(managed.deployment, frozenset()) | {
                    managed.version
                }

    def _begin(self, group: asyncio.TaskGroup, tools: Tools, managed: ManagedSet) -> None:
        keeper = SetKeeper(
            tools,
            self._provisioners[managed.revision.provisioner],
            managed,
            addresses_in_use=self._addresses_in_use,
            reread=partial(self._read, group, tools, {managed.deployment}),
        )
        self._sets[managed.route_set] = keeper
        group.create_task(self._run_set(keeper), name=f"set-{managed.route_set}")

    async def _run_set(self, keeper: SetKeeper) -> None:
        await survive("set", keeper.run, self._metrics, self._times, route_set=keeper.managed.route_set)
        del self._sets[keeper.managed.route_set]

    def _addresses_in_use(self) -> frozenset[Address]:
        return frozenset(address for one in self._sets.values() for address in one.addresses)

    async def _remembered(self) -> dict[Provisioner, frozenset[RouteId]]:
        """Return what provisioners remember now; the table read after this has a row for all that is wanted."""
        return {name: await provisioner.remembered() for name, provisioner in self._provisioners.items()}

    async def _strays(
        self,
        remembered: Mapping[Provisioner, frozenset[RouteId]],
    ) -> list[tuple[Provisioner, RouteId]]:
        """Return what nobody wants of the remembered; also a deployment that cannot be read wants its replicas."""
        wanted = await self.table.read(read_unended_routes) if any(remembered.values()) else frozenset()
        return [(name, route) for name, routes in remembered.items() for route in routes - wanted]

    def _end_strays(self, group: asyncio.TaskGroup, strays: Collection[tuple[Provisioner, RouteId]]) -> None:
        """End replicas whose rows have ended, which a keeper that died in between could not."""
        self.table.check_lease()
        for name, route in strays:
            log.warning("stray_replica", provisioner=name.value, route=route)
            end = partial(self._provisioners[name].end_stray, route)
            group.create_task(survive("strays", end, self._metrics, self._times, route=route))

    async def _watch_drains(self) -> None:
        """Decide on draining sets and leaving members as routers report, for as long as there are any."""
        while True:
            if not self._draining_sets() and not self._sets_with_leavers():
                await self._draining.wait()
                self._draining.clear()
                continue
            # Only now: without a drain nobody would take the acknowledgements out.
            async with self._listener.subscribe(ACKS_CHANNEL) as heard:
                await self._decide_drains(heard)

    async def _decide_drains(self, heard: ChannelSubscription) -> None:
        """Decide until nothing drains any more."""
        while (sets := self._draining_sets()) or self._sets_with_leavers():
            if sets:
                reports = await self._read_reports([one.managed.route_set for one in sets])
                for one in sets:
                    _decide(one, reports)
            left = self._sets_with_leavers()
            if left:
                departures = await self._read_departures([one.managed.route_set for one in left])
                for one in left:
                    one.decide_departures(_decide_departures(one.managed, departures))
            await heard.get(_DRAIN_POLL_SECONDS)

    def _draining_sets(self) -> list[SetKeeper]:
        return [one for one in self._sets.values() if one.awaits_drain]

    def _sets_with_leavers(self) -> list[SetKeeper]:
        return [one for one in self._sets.values() if one.managed.leaving]

    async def _read_reports(self, route_sets: Collection[RouteSetId]) -> DrainReports:
        return await self.table.read(lambda tx: read_drain_reports(tx, route_sets))

    async def _read_departures(self, route_sets: Collection[RouteSetId]) -> DepartureReports:
        return await self.table.read(lambda tx: read_departure_reports(tx, route_sets))


def _decide(keeper: SetKeeper, reports: DrainReports) -> None:
    managed = keeper.managed
    if managed.drain_deadline is None:
        return
    keeper.decide(
        may_stop(
            reports.routers[managed.route_set],
            was_live=managed.was_live,
            past_deadline=reports.at >= managed.drain_deadline,
            past_router_patience=reports.at >= managed.drain_deadline + managed.router_ack_timeout,
        ),
    )


def _decide_departures(managed: ManagedSet, reports: DepartureReports) -> dict[tuple[RouteId, Epoch], DrainDecision]:
    """Decide on the members that leave a set; of one that was told to leave since the reports were read, later."""
    decisions: dict[tuple[RouteId, Epoch], DrainDecision] = {}
    for one in managed.leaving:
        if one.leaving_epoch is None or one.leaving_deadline is None:
            continue
        key = one.route, one.leaving_epoch
        routers = reports.routers.get(key)
        if routers is not None:
            decisions[key] = may_stop(
                routers,
                was_live=managed.was_live,
                past_deadline=reports.at >= one.leaving_deadline,
                past_router_patience=reports.at >= one.leaving_deadline + managed.router_ack_timeout,
            )
    return decisions


def _first_of(errors: BaseExceptionGroup[LeaseLostError]) -> str:
    """Return what one of the errors says; when a lease is lost, many notice."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return str(first)
