"""The processes of replicas: waiting for their end, and bringing it about."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import psutil
import structlog

from celadon.domain.language.names import RouteId
from celadon.provisioners.claims import ROUTE_VARIABLE, ProcessClaim, group_exists
from celadon.provisioners.launcher import read_stat

_POLL_SECONDS: Final = 0.1
_STUBBORN_SECONDS: Final = 10.0
"""A process that lives so long after SIGKILL hangs in the kernel; that is told once."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Seen:
    process: psutil.Process
    group: int
    session: int
    parent: int
    uid: int
    route: str | None


class ReplicaProcesses:
    """Finds and ends the processes of replicas.

    A look at all processes of the machine costs some ten milliseconds, so one look serves all who wait for it.
    """

    def __init__(self) -> None:
        """Begin without having looked."""
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._seen: Sequence[_Seen] = ()

    async def end(self, route: RouteId, claim: ProcessClaim, grace: timedelta) -> None:
        """End a replica's process group and what it has started outside of it.

        SIGTERM first, SIGKILL after ``grace`` to all that is left then. Returns when nothing is left.
        """
        left = await self._members(route, claim)
        if not left:
            return
        deadline = time.monotonic() + grace.total_seconds()
        _signal_all(route, claim, left, signal.SIGTERM)
        if claim.pid is not None and claim.is_running(route):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace.total_seconds()):
                    await until_exit(claim, route)
        while left := await self._members(route, claim):
            if time.monotonic() >= deadline:
                await self._kill(route, claim, left)
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def own(self, route: RouteId, claim: ProcessClaim) -> frozenset[int]:
        """Return the processes that are provably a replica's; none when it does not run.

        Its own process and what descends from it, its session, which nobody can join from outside, and whatever carries
        its mark *and* runs as the same user: another user can put the mark into an environment too.
        """
        if claim.pid is None or not claim.is_running(route):
            return frozenset()
        seen = {one.process.pid: one for one in await self._look()}
        leader = seen.get(claim.pid)
        if leader is None or not claim.is_running(route):
            return frozenset()
        own = {
            pid
            for pid, one in seen.items()
            if leader.process.pid in {pid, one.group, one.session} or (one.route == route and one.uid == leader.uid)
        }
        while descendants := {pid for pid, one in seen.items() if one.parent in own} - own:
            own |= descendants
        return frozenset(own)

    async def _kill(self, route: RouteId, claim: ProcessClaim, left: Sequence[psutil.Process]) -> None:
        log.info("replica_killed", route=route, processes=len(left))
        told_at = time.monotonic() + _STUBBORN_SECONDS
        while left:
            _signal_all(route, claim, left, signal.SIGKILL)
            await asyncio.sleep(_POLL_SECONDS)
            if time.monotonic() >= told_at:
                log.warning("replica_survives_sigkill", route=route, pids=[process.pid for process in left])
                told_at = float("inf")
            left = await self._members(route, claim)

    async def _members(self, route: RouteId, claim: ProcessClaim) -> Sequence[psutil.Process]:
        """Return the processes of a replica that have not ended."""
        group = claim.group(route)
        return [
            seen.process
            for seen in await self._look()
            if seen.route == route or (group is not None and seen.group == group)
        ]

    async def _look(self) -> Sequence[_Seen]:
        asked_at = time.monotonic()
        async with self._looking:
            if self._looked_at < asked_at:
                looked_at = time.monotonic()
                self._seen = await asyncio.to_thread(lambda: tuple(_see_all()))
                self._looked_at = looked_at
            return self._seen


def pids_by_route() -> Mapping[RouteId, Collection[int]]:
    """Return the processes of this machine that a replica's route id names, as far as this user may look."""
    pids: defaultdict[RouteId, set[int]] = defaultdict(set)
    for seen in _see_all():
        if seen.route:
            pids[RouteId(seen.route)].add(seen.process.pid)
    return pids


async def until_exit(claim: ProcessClaim, route: RouteId) -> None:
    """Wait until a replica's own process has ended; it need not be a child of ours."""
    descriptor = None if claim.pid is None else _open_process(claim.pid)
    if descriptor is not None:
        try:
            # Only now the id cannot be given to another process unnoticed.
            if claim.is_running(route):
                await _until_readable(descriptor)
        finally:
            os.close(descriptor)
    while claim.is_running(route):  # noqa: ASYNC110 - where processes cannot be waited for
        await asyncio.sleep(_POLL_SECONDS)


def _open_process(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; nothing where there is none."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return None


async def _until_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


def _see_all() -> Iterator[_Seen]:
    """Look at every process that has not ended."""
    for process in psutil.process_iter():
        try:
            group, session = os.getpgid(process.pid), os.getsid(process.pid)
            parent, uid = process.ppid(), process.uids().real
            if _is_zombie(process):
                continue
        except (psutil.Error, OSError):
            continue
        try:
            route = process.environ().get(ROUTE_VARIABLE)
        except (psutil.Error, OSError):
            route = None
        yield _Seen(process, group, session, parent, uid, route)


def _is_zombie(process: psutil.Process) -> bool:
    stat = read_stat(process.pid)
    return process.status() == psutil.STATUS_ZOMBIE if stat is None else stat[0] == "Z"


def _signal_all(
    route: RouteId, claim: ProcessClaim, processes: Sequence[psutil.Process], number: signal.Signals
) -> None:
    """Signal a replica's group at once, and one by one what has left the group."""
    group = claim.group(route)
    if group is not None and group_exists(group):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for process in processes:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if group is None or os.getpgid(process.pid) != group:
                process.send_signal(number)
