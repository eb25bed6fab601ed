"""The keeper as the worker runs it."""

import os
import socket

from temporalio.client import Client

from celadon.domain.revision import Provisioner
from celadon.keeper.keeper import Keeper
from celadon.keeper.metrics import KeeperMetrics
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.settings import LocalSettings, ReachSettings
from celadon.provisioners.static import StaticProvisioner
from celadon.table.engine import Table
from celadon.table.notify import Listener
from worker.temporal_door import TemporalDoor


def keeper_of(table: Table, listener: Listener, client: Client) -> Keeper:
    """Return a keeper with every provisioner that this version carries out.

    Raises:
        ValidationError: ``CELADON_STATE_DIR`` is not set, or a network is none.
        OSError: the state directory cannot be made private.

    """
    door = TemporalDoor(client)
    allowed = ReachSettings().allowed_metadata_networks
    return Keeper(
        table=table,
        listener=listener,
        provisioners={
            Provisioner.LOCAL: LocalProvisioner(LocalSettings()),
            Provisioner.STATIC: StaticProvisioner(allowed),
        },
        signaller=door,
        workflows=door,
        metrics=KeeperMetrics(),
        holder=f"{socket.gethostname()}/{os.getpid()}",
        allowed_metadata=allowed,
    )
