"""Refusals that pass: the table refused a step for the moment, and one signal says when to ask for it again."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from celadon.domain.language.contracts import BLUE_CHANGED, GATE_CHANGED, KEEPER_BACK, ROOM_CHANGED
from celadon.domain.language.errors import RefusalCode

CURED_BY: Final[Mapping[RefusalCode, str]] = MappingProxyType(
    {
        RefusalCode.FROZEN: GATE_CHANGED,
        RefusalCode.KEEPER_SILENT: KEEPER_BACK,
        RefusalCode.NO_HEALTHY_BLUE: BLUE_CHANGED,
        RefusalCode.NO_ROOM: ROOM_CHANGED,
    },
)
"""The internal signal after which a refused switch, or way back, is worth another attempt.

The transaction that refuses asks for it; whoever ends the cause owes it.
"""
