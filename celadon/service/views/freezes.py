"""Freezes as people see them, and those of all deployments; those of one stand in its own view."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from celadon.domain.decisions.freezing import freeze_told, planned_freeze_told
from celadon.domain.language.freeze import Freeze
from celadon.service.command import Tone
from celadon.service.pages import Page, named
from celadon.service.principal import Principal
from celadon.service.views.phrases import Phrase

if TYPE_CHECKING:
    from celadon.service.service import Service


class FreezeList(Page[Freeze, int]):
    """Freezes of all deployments that hold or are to come, newest first; those of one stand in its own view."""

    model_config = named("freezes", "next_before")

    at: datetime
    """The moment, by the database's clock."""


def freeze_phrases(freezes: Iterable[Freeze], deployment: str, now: datetime) -> tuple[Phrase, ...]:
    """Return freezes in words.

    Args:
        freezes: those that hold or are to come.
        deployment: whose page or tree shows them; empty for one of no deployment.
        now: the moment, by the database's clock.

    """
    return tuple(
        Phrase(text=freeze_told(one, deployment), tone=Tone.WARN)
        if one.holds_at(now)
        else Phrase(text=planned_freeze_told(one))
        for one in freezes
    )


async def read_freezes_of_all(
    service: "Service", who: Principal, *, before: int | None = None, limit: int
) -> FreezeList:
    """Return a page of the freezes of all deployments that hold or are to come, which every caller may see.

    They come newest first: those below the number ``before``.

    Raises:
        RefusedError: the caller may not read.

    """
    from celadon.table.read import freezes

    read = await service.read(who, lambda tx, _: freezes.read_freezes_of_all(tx, before=before))
    return FreezeList.of(read.freezes, limit, lambda one: one.id, at=read.at)
