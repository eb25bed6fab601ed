"""The freezes of all deployments; those of one stand in its own view."""

# ruff: noqa: PLC0415 - looking needs no database

from typing import TYPE_CHECKING

from celadon.domain.language.freeze import FreezesRead
from celadon.service.principal import Principal

if TYPE_CHECKING:
    from celadon.service.service import Service


async def read_freezes_of_all(service: "Service", who: Principal) -> FreezesRead:
    """Return the freezes of all deployments that hold or are to come, which every caller may see.

    Raises:
        RefusedError: the caller may not read.

    """
    from celadon.table.read import freezes

    return await service.read(who, lambda tx, _: freezes.read_freezes_of_all(tx))
