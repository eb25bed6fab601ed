"""How routers treat the requests of a deployment, as the table keeps it: a column for each setting."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.sizes import bytes_of, size_of
from celadon.domain.language.traffic import (
    DEFAULT_SETTINGS,
    Balancing,
    ByHash,
    LoadBalancing,
    Maglev,
    TrafficSettings,
)
from celadon.table.core.models import BY_MAGLEV, Deployment

SETTINGS_COLUMNS: Final = (
    Deployment.max_requests,
    Deployment.max_body,
    Deployment.idle_timeout,
    Deployment.retries,
    Deployment.load_balancing,
    Deployment.hash_header,
)
_of_deployment: Final = select(*SETTINGS_COLUMNS).where(Deployment.name == bindparam("deployment"))


def settings_of(row: Deployment | Row[*tuple[Any, ...]]) -> TrafficSettings:
    """Return the settings of a deployment's row, or of a row of a query that has the columns."""
    return TrafficSettings(
        max_requests=row.max_requests,
        max_body=None if row.max_body is None else size_of(row.max_body),
        idle_timeout=row.idle_timeout,
        retries=row.retries,
        load_balancing=_balancing(row.load_balancing, row.hash_header),
    )


def columns_of(settings: TrafficSettings) -> Mapping[str, Any]:
    """Return the values of the columns by their names."""
    header = settings.hash_header
    balancing = None if settings.load_balancing is None else Balancing.LEAST_REQUEST.value
    return {
        "max_requests": settings.max_requests,
        "max_body": None if settings.max_body is None else bytes_of(settings.max_body),
        "idle_timeout": settings.idle_timeout,
        "retries": settings.retries,
        "load_balancing": balancing if header is None else BY_MAGLEV,
        "hash_header": header,
    }


async def read_settings(tx: AsyncSession, deployment: str) -> TrafficSettings:
    """Return a deployment's settings; the defaults when there is no such deployment."""
    row = (await tx.execute(_of_deployment, {"deployment": deployment})).one_or_none()
    return DEFAULT_SETTINGS if row is None else settings_of(row)


def _balancing(stored: str | None, header: str | None) -> LoadBalancing | None:
    if stored is None:
        return None
    return Balancing.LEAST_REQUEST if header is None else ByHash(maglev=Maglev(header=header))
