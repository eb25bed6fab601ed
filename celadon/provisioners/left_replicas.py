"""Every replica of which this machine has a process or files, for whoever compares them with the table."""

import uuid
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import RouteId
from celadon.provisioners.claims import ProcessClaim
from celadon.provisioners.replica_files import ReplicaFiles
from celadon.provisioners.replica_processes import pids_by_route


class LeftReplica(Record):
    """What this machine has of one replica."""

    route: RouteId
    pids: tuple[int, ...]
    """Its processes that run: the one that it claimed, and all that carry its route id."""
    has_files: bool
    """Whether the state directory has its files, so that it was started from there."""


def find_replicas(directory: Path) -> Mapping[RouteId, LeftReplica]:
    """Look into the state directory and at all processes; nothing is changed.

    Raises:
        OSError: the directory cannot be read.

    """
    processes = defaultdict(set, {route: set(pids) for route, pids in pids_by_route().items() if _is_route(route)})
    remembered: set[RouteId] = set()
    if directory.is_dir():
        files = ReplicaFiles(directory)
        remembered = {route for route in files.remembered() if _is_route(route)}
        for route in remembered:
            claim = files.claim(route) or ProcessClaim(None)
            if claim.pid is not None and claim.is_running(route):
                processes[route].add(claim.pid)
    return {
        route: LeftReplica(route=route, pids=tuple(sorted(processes[route])), has_files=route in remembered)
        for route in sorted(remembered | processes.keys())
    }


def _is_route(name: str) -> bool:
    """Whether a file's or variable's name is a route's id, and not something else that lies there."""
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False
