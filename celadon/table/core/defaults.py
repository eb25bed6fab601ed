"""The defaults of an installation: the weakest layer of every policy, as the table keeps it."""

from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.policy import BlueGreenPolicy
from celadon.table.core.models import DefaultPolicy
from celadon.table.core.policies import read_policy

_DEFAULTS_LOCK: Final = 0x63656C_64656661
"""The number of the advisory lock; any will do that nobody else takes."""
_SHARED: Final = select(func.pg_advisory_xact_lock_shared(bindparam("lock")))
_ALONE: Final = select(func.pg_advisory_xact_lock(bindparam("lock")))
_READ: Final = select(DefaultPolicy.policy)


async def read_defaults(tx: AsyncSession) -> BlueGreenPolicy:
    """Return what the installation gives to deployments that say nothing, with the keys alone that it gives."""
    stored = await tx.scalar(_READ)
    return BlueGreenPolicy() if stored is None else read_policy(stored)


async def hold_defaults(tx: AsyncSession) -> BlueGreenPolicy:
    """Return the defaults, which stay until the transaction ends, for one that stores a policy of a deployment.

    A policy that was judged by other defaults could contradict those that are stored meanwhile, and no rollout of the
    deployment could begin any more.
    """
    await tx.execute(_SHARED, {"lock": _DEFAULTS_LOCK})
    return await read_defaults(tx)


async def bar_stored_policies(tx: AsyncSession) -> None:
    """Let nobody store a policy, or other defaults, before this transaction has ended; no deployment is locked yet."""
    await tx.execute(_ALONE, {"lock": _DEFAULTS_LOCK})
