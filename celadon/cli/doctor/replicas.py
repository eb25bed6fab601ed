"""Processes and files of replicas, provisioner ``local``, that nobody wants any more.

What is ended here is provably Celadon's and provably unwanted: a process is known by its claim (process id, start time
and boot) or by the route id in its environment, and its route has ended in the table. A route that the table does not
know is ended only on a local stack, whose table and state directory belong together; elsewhere the two may be of
different Celadons.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from celadon.cli.doctor.findings import Diagnosis, Mended, fine, mendable, wrong
from celadon.cli.faults import CommandError
from celadon.cli.session import Session
from celadon.domain.language.names import RouteId
from celadon.provisioners.left_replicas import LeftReplica, find_replicas
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.settings import LocalSettings
from celadon.table.read.inspection import read_route_states

STATE_DIR_VARIABLE: Final = "CELADON_STATE_DIR"

_CHECK: Final = "replicas"
_STILL_STRAY_AFTER_SECONDS: Final = 2.0
"""Between a replica's end in the table and the removal of its files a keeper needs a moment."""


async def check_replicas(session: Session) -> AsyncIterator[Diagnosis]:
    """Compare the replicas of this machine with the table; the mend ends and forgets those that have ended there."""
    directory = _state_dir(session)
    if directory is None:
        yield fine(_CHECK, f"not looked for on this machine, as {STATE_DIR_VARIABLE} is not set")
        return
    try:
        strays = await _strays(session, directory)
        if strays:
            await asyncio.sleep(_STILL_STRAY_AFTER_SECONDS)
            later = await _strays(session, directory)
            strays = {route: later[route] for route in strays if route in later}
    except OSError as error:
        yield wrong(
            _CHECK,
            f"cannot be looked for in {directory}: {error.strerror}",
            why="a replica that nobody wants takes memory and a port",
            next_step="run doctor as the user of the worker",
        )
        return
    if not strays:
        yield fine(_CHECK, f"none on this machine that nobody wants ({directory})")
    for stray in strays.values():
        yield _judge(session, directory, stray)


def _state_dir(session: Session) -> Path | None:
    if session.target.stack is not None:
        return session.target.stack.replicas
    directory = os.environ.get(STATE_DIR_VARIABLE)
    return Path(directory) if directory else None


class _Stray(LeftReplica):
    """A replica that nobody wants, and whether the table knows it."""

    known: bool


async def _strays(session: Session, directory: Path) -> Mapping[RouteId, _Stray]:
    """Look at the machine first and at the table after it: what is wanted has a row before it has a process."""
    replicas = await asyncio.to_thread(find_replicas, directory)
    ended = await session.read(lambda tx: read_route_states(tx, replicas.keys()))
    return {
        route: _Stray(**replica.model_dump(), known=route in ended)
        for route, replica in replicas.items()
        # Without files here and without a row, it is a replica of another Celadon on this machine.
        if ended.get(route, replica.has_files)
    }


def _judge(session: Session, directory: Path, stray: _Stray) -> Diagnosis:
    check = f"replica {stray.route}"
    ended = "its route has ended in the table" if stray.known else "the table has no such route"
    pids = ", ".join(map(str, stray.pids))
    finding = f"process {pids} runs on this machine, but {ended}" if pids else f"left files in {directory}; {ended}"
    why = "it serves nobody, and takes memory and a port" if pids else "nothing but the place they take"
    if not stray.known and session.target.stack is None:
        return wrong(
            check,
            finding,
            why=f"either it is left over, or {STATE_DIR_VARIABLE} is of another Celadon than DATABASE_URL",
            next_step=f"make sure that the two belong together; then end it with 'kill {pids.replace(',', '')}'"
            if pids
            else f"make sure that the two belong together; then remove {directory / stray.route}.*",
        )

    async def mend() -> Mended:
        return await _end(session, directory, stray)

    return mendable(
        check,
        finding,
        why=why,
        next_step=f"end it with 'kill {pids.replace(',', '')}'" if pids else "the next keeper removes them",
        remedy="end it, with SIGTERM first, and remove its files" if pids else "remove them",
        mend=mend,
    )


async def _end(session: Session, directory: Path, stray: _Stray) -> Mended:
    wanted = (await session.read(lambda tx: read_route_states(tx, [stray.route]))).get(stray.route, True) is False
    if wanted:
        return Mended(done="nothing: it is wanted again")
    try:
        await LocalProvisioner(LocalSettings(state_dir=directory)).end_stray(stray.route)
    except OSError as error:
        raise CommandError(f"replica {stray.route} cannot be ended: {error}") from error
    return Mended(done=f"ended process {', '.join(map(str, stray.pids))}" if stray.pids else "removed its files")
