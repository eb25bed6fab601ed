"""The revisions of a deployment."""

# ruff: noqa: PLC0415 - looking needs no database

from typing import TYPE_CHECKING

from celadon.service.pages import Page, named
from celadon.service.principal import Principal
from celadon.table.records.revisions import RevisionRecord

if TYPE_CHECKING:
    from celadon.service.service import Service


class RevisionList(Page[RevisionRecord, int]):
    """Revisions of a deployment, newest first."""

    model_config = named("revisions", "next_before")


async def read_revisions(
    service: "Service", who: Principal, name: str, *, before: int | None = None, limit: int
) -> RevisionList:
    """Return a page of the revisions of a deployment, newest first: those below the number ``before``.

    Raises:
        RefusedError: there is no such deployment, or the caller may not see it.

    """
    from celadon.table.read.of_deployments import revisions_of

    async with service.reading(who, name) as tx:
        revisions = await revisions_of(tx, [name], before=before, limit=limit + 1)
    return RevisionList.of(revisions[name], limit, lambda one: one.number)
