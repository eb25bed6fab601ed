"""Labels of deployments as the table keeps them."""

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.table.core.models import Deployment


def read_labels(stored: Mapping[str, object]) -> dict[str, str]:
    """Return stored labels."""
    return {name: str(value) for name, value in stored.items()}


def within(scope: Mapping[str, str]) -> ColumnElement[bool]:
    """Return the condition that a deployment bears the labels of ``scope``."""
    return type_coerce(Deployment.labels, JSONB).contains(dict(scope))


async def labels_of(tx: AsyncSession, deployment: str) -> dict[str, str] | None:
    """Return a deployment's labels; nothing when there is no such deployment."""
    labels = await tx.scalar(select(Deployment.labels).where(Deployment.name == deployment))
    return None if labels is None else read_labels(labels)


def named(names: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that a deployment is one of ``names``."""
    return Deployment.name.in_(names)
