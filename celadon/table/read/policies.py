"""Reading policies for people: the layers that are stored, and the last changes of an installation's defaults."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.own_policy import default_changes
from celadon.domain.language.plan import FieldChange
from celadon.table.core.defaults import read_defaults
from celadon.table.core.models import DefaultChange, Deployment
from celadon.table.core.policies import read_policy
from celadon.table.records.policies import DefaultsChanged, StoredPolicies

LAST_CHANGES: Final = 10


async def stored_policies(tx: AsyncSession, deployment: str | None) -> StoredPolicies:
    """Return what is stored of the policy of a deployment, or of the defaults alone."""
    own = await tx.scalar(select(Deployment.policy).where(Deployment.name == deployment))
    return StoredPolicies(defaults=await read_defaults(tx), own=read_policy(own or {}))


async def last_changes(tx: AsyncSession) -> tuple[DefaultsChanged, ...]:
    """Return the last changes of the defaults, newest first."""
    rows = await tx.scalars(select(DefaultChange).order_by(DefaultChange.id.desc()).limit(LAST_CHANGES))
    return tuple(
        DefaultsChanged(
            at=row.at,
            by=row.actor,
            door=row.door,
            verified=row.verified,
            reason=row.reason,
            changes=_changes(row),
        )
        for row in rows
    )


def _changes(row: DefaultChange) -> tuple[FieldChange, ...]:
    """Return what a change changed; nothing where a key of it means something else by now."""
    try:
        return default_changes(read_policy(row.before), read_policy(row.after))
    except ValueError:
        return ()
