"""What each cell must end like, and why: the outcome without the fault, or what the rules demand instead."""

from dataclasses import dataclass
from typing import Final

from celadon.domain.language.states import RolloutOutcome
from tests.chaos.faults import RESET_TO_FIRST, RESET_TO_LAST, TERMINATED, Fault, Kind
from tests.chaos.moments import Moment

PROMOTED: Final = RolloutOutcome.PROMOTED
FAILED: Final = RolloutOutcome.FAILED

_RUN_ENDED: Final = "the rollout ended before it answered|already decided|already rolling back|is under way|has ended"
_BEGUN_ANEW: Final = f"{_RUN_ENDED}|green does not wait for a promotion|nothing has switched yet"
"""A message whose run was reset goes to the new run, which has its own green to provision first."""
_KEEPER_CHANGED: Final = "no living keeper vouches|the keeper has seen .* since it took over|the rollout is verifying"
_TOO_LATE: Final = "the signed message was valid until"
TOLD_IN_EVERY_CELL: Final = f"{_KEEPER_CHANGED}|{_TOO_LATE}"
"""On a machine that is too busy a keeper loses its lease by itself, and until it has it again nobody vouches for
health; and a message may be judged when nobody waits for its answer any more. Who is told so acts again."""
_GREEN_REGRESSED: Final = "too few healthy replicas|green does not wait for a promotion|green regressed"


@dataclass(frozen=True)
class Expectation:
    """How the rollout that was struck may end, and what comes after it."""

    outcomes: frozenset[RolloutOutcome | None]
    """Nothing stands for a rollout that never got a row."""
    why: str
    next_one: bool = False
    """Whether a person starts another rollout when this one is cleaned up."""
    may_be_told: str = ""
    """What a person may be told before it goes on, as a regular expression; nothing when no refusal is due."""
    begun_anew: bool = False
    """Whether another rollout follows by itself, and ends as promoted."""


def expectation(fault: Fault, moment: Moment) -> Expectation:
    """Return what a cell must end like."""
    if fault is TERMINATED:
        return Expectation(
            _ended_from_outside(moment),
            "the keeper ends it as failed: before the switch green is closed, after it blue. A step that was under way "
            "in a transaction may still commit",
            next_one=True,
            may_be_told=_RUN_ENDED,
        )
    if fault is RESET_TO_FIRST or (fault is RESET_TO_LAST and moment.phase is None):
        return Expectation(
            _ended_from_outside(moment),
            "the new run begins a rollout of its own and closes the older one as failed",
            begun_anew=True,
            may_be_told=_BEGUN_ANEW,
        )
    if fault.kind == Kind.WORKFLOW:
        return Expectation(
            frozenset({moment.outcome}), "the new run carries the same rollout on", may_be_told=_RUN_ENDED
        )
    if fault.kind == Kind.GREEN:
        return Expectation(
            frozenset({moment.outcome}),
            "the keeper replaces greens; until it has, a promotion is refused",
            may_be_told=_GREEN_REGRESSED,
        )
    return Expectation(frozenset({moment.outcome}), "as without the fault")


def _ended_from_outside(moment: Moment) -> frozenset[RolloutOutcome | None]:
    match moment.name:
        case "begin":
            return frozenset({FAILED, None})
        case "finish" | "rolling_back" | "aborted":
            return frozenset({FAILED, moment.outcome})
        case _:
            return frozenset({FAILED})
