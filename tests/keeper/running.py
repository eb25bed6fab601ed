"""A running keeper, and what it says to rollouts."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.revision import Provisioner
from celadon.keeper.keeper import Keeper
from celadon.keeper.lease import LeaseTimes
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.signalling import SignalsExhaustedError, SignalUncertainError, WorkflowGoneError
from celadon.keeper.times import USUAL_TIMES, KeeperTimes
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.replica_user import ReplicaUser
from celadon.provisioners.settings import LocalSettings
from celadon.provisioners.static import StaticProvisioner
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from tests.keeper.leases import LASTING_TIMES
from worker.temporal_signals import TemporalSignals


@dataclass
class Rollouts:
    """Stands where Temporal is: takes signals down, and knows which workflows run."""

    heard: list[tuple[str, str, Mapping[str, object]]] = field(default_factory=list)
    is_away: bool = False
    gone: set[str] = field(default_factory=set)
    """Workflows that do not run, as far as a keeper asks; one may end just before a signal is sent."""
    index: set[str] = field(default_factory=set)
    """Workflows that are listed as running; about the others a keeper asks."""
    lists: int = 0
    """How often somebody was named."""
    asked: list[str] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)
    """Workflows that are gone when a signal comes."""
    exhausted: set[str] = field(default_factory=set)
    """Workflows whose runs take no more signals."""
    broken: set[str] = field(default_factory=set)
    """Workflows that no signal can be sent to, for a reason that nobody expects."""
    hanging: set[str] = field(default_factory=set)
    """Workflows of which Temporal says nothing."""
    refused: list[str] = field(default_factory=list)
    """Workflows in the order in which they took no signal because they are exhausted."""
    closing: int = 0
    """How often it is still said that a workflow has not closed, before another one can start under its id."""
    started: list[tuple[str, int]] = field(default_factory=list)
    """What has waited and was started, by deployment and number."""

    async def signal(self, workflow_id: str, signal: str, payload: Mapping[str, object]) -> None:
        """Take a signal down."""
        if self.is_away:
            raise SignalUncertainError("away for a test")
        if workflow_id in self.deaf:
            raise WorkflowGoneError(workflow_id)
        if workflow_id in self.exhausted:
            self.refused.append(workflow_id)
            raise SignalsExhaustedError("exceeded for a test")
        if workflow_id in self.broken:
            raise RuntimeError("broken for a test")
        if workflow_id in self.hanging:
            await asyncio.get_running_loop().create_future()
        self.heard.append((workflow_id, signal, payload))

    async def start_next(self, deployment: str, number: int) -> bool:
        """Start what has waited, unless the workflow before it has not closed."""
        if self.is_away:
            return False
        if self.closing:
            self.closing -= 1
            return False
        self.started.append((deployment, number))
        return True

    async def listed(self) -> frozenset[str] | None:
        """Return the workflows that an index names, which may lag."""
        if self.is_away:
            return None
        self.lists += bool(self.index)
        return frozenset(self.index)

    async def is_running(self, workflow_id: str) -> bool | None:
        """Return whether a workflow runs."""
        self.asked.append(workflow_id)
        return None if self.is_away else workflow_id not in self.gone

    def conditions(self, deployment: str) -> list[object]:
        """Return the conditions of green that a rollout has heard."""
        return [
            payload["condition"]
            for workflow, signal, payload in self.heard
            if workflow == f"rollout-{deployment}" and signal == "green_changed"
        ]


@dataclass
class Running:
    """A keeper that runs, and its surroundings."""

    keeper: Keeper
    task: asyncio.Task[None]
    local: LocalProvisioner
    metrics: KeeperMetrics

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value."""
        return self._registry.get_sample_value(name, labels) or 0.0

    _registry: CollectorRegistry = field(default_factory=CollectorRegistry)


@asynccontextmanager
async def running_keeper(
    table: Table,
    state_dir: Path,
    rollouts: Rollouts | TemporalSignals,
    *,
    secrets_dir: Path | None = None,
    replica_user: ReplicaUser | None = None,
    reach: Reach = Reach(),  # noqa: B008 - it is frozen
    holder: str = "keeper",
    local: LocalProvisioner | None = None,
    lease_times: LeaseTimes = LASTING_TIMES,
    times: KeeperTimes = USUAL_TIMES,
) -> AsyncIterator[Running]:
    """Run a keeper until the block ends; its replicas go on. Its lease outlasts every test, unless one says else."""
    registry = CollectorRegistry()
    metrics = KeeperMetrics(registry)
    settings = LocalSettings(state_dir=state_dir, secrets_dir=secrets_dir, replica_user=replica_user)
    local = local or LocalProvisioner(settings)
    async with Listener(table.database_url, f"listener-{os.getpid()}") as listener:
        keeper = Keeper(
            table=table,
            listener=listener,
            provisioners={Provisioner.LOCAL: local, Provisioner.STATIC: StaticProvisioner(reach)},
            signaller=rollouts,
            workflows=rollouts,
            starter=rollouts,
            metrics=metrics,
            holder=holder,
            reach=reach,
            lease_times=lease_times,
            times=times,
        )
        task = asyncio.create_task(keeper.run())
        try:
            yield Running(keeper, task, local, metrics, registry)
        finally:
            keeper.stop()
            await task
