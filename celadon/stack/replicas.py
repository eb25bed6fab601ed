"""Replicas that run on when the stack has ended."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from celadon.domain.language.names import RouteId
from celadon.provisioners.replica_files import ReplicaFiles
from celadon.provisioners.replica_processes import ReplicaProcesses
from celadon.stack.errors import StackError

_GRACE: Final = timedelta(seconds=5)
"""Nobody can reach these replicas, so no request of theirs is worth waiting for."""


def running_replicas(directory: Path) -> frozenset[RouteId]:
    """Return the replicas that the provisioner ``local`` started with this state directory and that still run."""
    files = ReplicaFiles(directory)
    return frozenset(
        route for route in files.remembered() if (claim := files.claim(route)) is not None and claim.is_running(route)
    )


async def end_replica(directory: Path, route: RouteId) -> None:
    """End a replica of a stack that does not run, and leave its files: by them the next keeper finds that it has ended.

    Raises:
        StackError: it cannot be ended.

    """
    try:
        claim = ReplicaFiles(directory).claim_for_stop(route)
        await ReplicaProcesses().end(route, claim, _GRACE)
    except OSError as error:
        raise StackError(f"replica {route} cannot be ended: {error}") from error
