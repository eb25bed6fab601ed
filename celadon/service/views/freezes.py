"""Freezes as people see them, and those of all deployments; those of one stand in its own view."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from celadon.domain.decisions.freezing import freeze_told, planned_freeze_told
from celadon.domain.language.freeze import Freeze, FreezesRead
from celadon.service.command import Tone
from celadon.service.principal import Principal
from celadon.service.views.phrases import Phrase

if TYPE_CHECKING:
    from celadon.service.service import Service


def freeze_phrases(freezes: Iterable[Freeze], deployment: str, now: datetime) -> tuple[Phrase, ...]:
    """Return freezes in words, in the order in which they begin.

    Args:
        freezes: those that hold or are to come.
        deployment: whose page or tree shows them; empty for one of no deployment.
        now: the moment, by the database's clock.

    """
    return tuple(
        Phrase(text=freeze_told(one, deployment), tone=Tone.WARN)
        if one.holds_at(now)
        else Phrase(text=planned_freeze_told(one))
        for one in sorted(freezes, key=lambda freeze: freeze.begins_at)
    )


async def read_freezes_of_all(service: "Service", who: Principal) -> FreezesRead:
    """Return the freezes of all deployments that hold or are to come, which every caller may see.

    Raises:
        RefusedError: the caller may not read.

    """
    from celadon.table.read import freezes

    return await service.read(who, lambda tx, _: freezes.read_freezes_of_all(tx))
