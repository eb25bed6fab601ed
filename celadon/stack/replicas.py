"""Replicas that run on when the stack has ended."""

from pathlib import Path

from celadon.domain.names import RouteId
from celadon.provisioners.replica_files import ReplicaFiles


def running_replicas(directory: Path) -> frozenset[RouteId]:
    """Return the replicas that the provisioner ``local`` started with this state directory and that still run."""
    files = ReplicaFiles(directory)
    return frozenset(
        route for route in files.remembered() if (claim := files.claim(route)) is not None and claim.is_running(route)
    )
