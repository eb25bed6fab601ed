"""The keeper as the worker runs it."""

import os
import socket
from collections.abc import Collection

import structlog
from temporalio.client import Client

from celadon.domain.language.revision import Provisioner
from celadon.domain.language.states import WorkerRisk
from celadon.keeper.keeper import Keeper
from celadon.keeper.metrics import KeeperMetrics
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.settings import LocalSettings
from celadon.provisioners.static import StaticProvisioner
from celadon.reach_settings import ReachSettings
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from worker.temporal_signals import TemporalSignals

log = structlog.get_logger()


def keeper_of(table: Table, listener: Listener, client: Client, risks: Collection[WorkerRisk]) -> Keeper:
    """Return a keeper with every provisioner that this version carries out; ``risks`` are those of its worker.

    Raises:
        ValidationError: ``CELADON_STATE_DIR`` is not set, or another variable is wrong.
        ReplicaUserError: this process cannot run replicas as the user that they shall have.
        OSError: the state directory cannot be made private.

    """
    door = TemporalSignals(client)
    local = LocalSettings()
    if local.replica_user is not None:
        local.replica_user.check_that_it_can_be_become()
    elif os.geteuid() == 0:
        log.warning(
            "replicas_run_as_root",
            why="a replica can read all keys, tokens and files of this machine",
            next_step="run the worker as an ordinary user, or name a user for replicas in CELADON_REPLICA_USER",
        )
    reach = ReachSettings().reach
    return Keeper(
        table=table,
        listener=listener,
        provisioners={
            Provisioner.LOCAL: LocalProvisioner(local),
            Provisioner.STATIC: StaticProvisioner(reach),
        },
        signaller=door,
        workflows=door,
        starter=door,
        metrics=KeeperMetrics(),
        holder=f"{socket.gethostname()}/{os.getpid()}",
        reach=reach,
        risks=risks,
    )
