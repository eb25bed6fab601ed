"""What earlier versions decided before the switch, for the replay of a history that they wrote."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from celadon.domain.decisions import gate
from celadon.domain.decisions.gate import GateDecision, Guard, Wait
from celadon.domain.language.progress import Progress


def green_not_open(progress: Progress, now: datetime) -> GateDecision | None:
    """Wait for room alone: a pause of a rollout that waits for room did not end by itself."""
    decision = gate.green_not_open(progress, now)
    return Wait(timers=()) if isinstance(decision, Wait) else decision


def held(progress: Progress, now: datetime) -> GateDecision | None:
    """Wait for the end of the hold alone: every hold stopped the promotion deadline."""
    hold = progress.hold
    return None if hold is None or not gate.is_held(hold, now) else Wait(timers=gate.hold_timers(hold))


_FORMER: Final[Mapping[Guard, Guard]] = MappingProxyType(
    {
        gate.green_not_open: green_not_open,
        gate.held: held,
    },
)

FORMER_GUARDS: Final[tuple[Guard, ...]] = tuple(
    _FORMER.get(guard, guard) for guard in gate.GUARDS if guard is not gate.approvals_lapse
)
"""Those that were asked before a deadline that aborts ran on under every hold but a pause and a freeze."""
