"""As whom the replicas of a local stack run: as root, a replica can read and change everything on the machine."""

import asyncio
from collections.abc import AsyncIterator, Collection

import psutil

from celadon.cli.doctor.findings import Diagnosis, odd
from celadon.cli.session import Session
from celadon.provisioners.left_replicas import find_replicas

_CHECK = "user of replicas"


async def check_replica_user(session: Session) -> AsyncIterator[Diagnosis]:
    """Tell when replicas of the local stack run as root; nothing where there is no stack or they do not."""
    stack = session.target.stack
    if stack is None:
        return
    replicas = await asyncio.to_thread(find_replicas, stack.replicas)
    diagnosis = judge_users([_user_of(pid) for one in replicas.values() if one.has_files for pid in one.pids])
    if diagnosis is not None:
        yield diagnosis


def judge_users(users: Collection[int | None]) -> Diagnosis | None:
    """Return what there is to say of the user ids as which replicas run; ``None`` stands for a process that ended."""
    if 0 not in users:
        return None
    return odd(
        _CHECK,
        f"{sum(user == 0 for user in users)} processes of replicas run as root",
        why="whoever may start a rollout can read and change everything on this machine",
        next_step="run 'celadon up' as an ordinary user, or with CELADON_REPLICA_USER=NAME of one that replicas alone "
        "have and that can read Python and the models",
    )


def _user_of(pid: int) -> int | None:
    try:
        return psutil.Process(pid).uids().real
    except psutil.Error:
        return None
