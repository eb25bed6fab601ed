"""Rollouts in a list."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Mapping
from typing import TYPE_CHECKING

from celadon.service.pages import Page, named
from celadon.service.principal import Principal
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from celadon.service.service import Service


class RolloutList(Page[RolloutRecord, int]):
    """Rollouts, newest first."""

    model_config = named("rollouts", "next_before")


async def read_rollouts(
    service: "Service",
    who: Principal,
    wanted: RolloutFilter,
    *,
    before: int | None = None,
    limit: int,
) -> RolloutList:
    """Return a page of rollouts, newest first: those that are older than the rollout ``before``.

    Raises:
        RefusedError: the caller may not read.

    """
    from celadon.table.read.listing import page_of_rollouts

    async def query(tx: "AsyncSession", scope: Mapping[str, str]) -> RolloutList:
        rollouts = await page_of_rollouts(tx, scope, wanted, before=before, limit=limit + 1)
        return RolloutList.of(rollouts, limit, lambda one: one.rollout)

    return await service.read(who, query)


async def read_rollouts_of(
    service: "Service",
    who: Principal,
    name: str,
    wanted: RolloutFilter,
    *,
    before: int | None = None,
    limit: int,
) -> RolloutList:
    """Return a page of one deployment's rollouts, newest first.

    Raises:
        RefusedError: there is no such deployment, or the caller may not see it.

    """
    await service.see(who, name)
    of_one = wanted.model_copy(update={"deployments": (name,)})
    return await read_rollouts(service, who, of_one, before=before, limit=limit)
