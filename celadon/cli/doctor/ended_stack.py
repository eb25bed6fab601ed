"""A local stack that does not run: what it left behind when it was killed."""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

from celadon.cli.doctor.findings import Diagnosis, Mended, mendable, wrong
from celadon.cli.target import DATA_DIR_VARIABLE, local_data_dir
from celadon.provisioners.left_replicas import LeftReplica, find_replicas
from celadon.stack.layout import DataDirectory
from celadon.stack.left_behind import RunningChild, end_left_behind, left_children
from celadon.stack.replicas import end_replica


def ended_stack(data_dir: Path | None) -> DataDirectory | None:
    """Return the local stack that is meant, when it has run once and does not run now."""
    named = data_dir is not None or DATA_DIR_VARIABLE in os.environ
    if data_dir is None and (os.environ.get("DATABASE_URL") or (not named and os.environ.get("TEMPORAL_ADDRESS"))):
        return None
    directory = DataDirectory.find(local_data_dir(data_dir))
    if directory is None or directory.is_in_use() or not directory.settings_file.exists():
        return None
    return directory


async def check_ended_stack(directory: DataDirectory) -> AsyncIterator[Diagnosis]:
    """Find processes that the stack left behind; the mend ends them while no stack can start in the directory."""
    yield wrong(
        "stack",
        f"none runs in {directory.path}",
        why="deployments are not served, and rollouts make no progress",
        next_step=f"start it with 'celadon up --data-dir {shlex.quote(str(directory.path))}'; it resumes what it had",
    )
    for child in left_children(directory.children_file):
        yield _judge_child(directory, child)
    for replica in (await asyncio.to_thread(find_replicas, directory.replicas)).values():
        if replica.has_files and replica.pids:
            yield _judge_replica(directory, replica)


def _judge_child(directory: DataDirectory, child: RunningChild) -> Diagnosis:
    async def mend() -> Mended:
        with directory.locked():
            await end_left_behind(directory.children_file, child.pid)
        return Mended(done=f"ended process {child.pid}")

    return mendable(
        f"process {child.pid}",
        f"{child.name} of the stack runs on without it",
        why="it holds the stack's ports and data",
        next_step="the next start of the stack ends it",
        remedy="end it, as the next start of the stack does",
        mend=mend,
    )


def _judge_replica(directory: DataDirectory, replica: LeftReplica) -> Diagnosis:
    pids = ", ".join(map(str, replica.pids))

    async def mend() -> Mended:
        with directory.locked():
            await end_replica(directory.replicas, replica.route)
        return Mended(done=f"ended process {pids}")

    return mendable(
        f"replica {replica.route}",
        f"process {pids} runs on without its stack",
        why="nobody reaches it, and it takes memory and a port",
        next_step="the next start of the stack adopts it",
        remedy="end it, with SIGTERM first; the next start of the stack starts another in its place",
        mend=mend,
    )
