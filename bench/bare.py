"""A bare workflow for comparison: as many steps, messages and attributes as a rollout has, and nothing behind them.

python -m bench.bare
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey

from celadon.domain.contracts import SEARCH_PHASE

QUEUE: Final = "bench-bare"
WORKFLOW: Final = "Bare"
NEWS: Final = "news"

_phase = SearchAttributeKey.for_keyword(SEARCH_PHASE)


@dataclass(frozen=True)
class Shape:
    """How much of everything."""

    activities: int
    signals: int
    upserts: int
    timers: int


@activity.defn(name="nothing")
async def nothing() -> None:
    """Do nothing."""


@workflow.defn(name=WORKFLOW)
class Bare:
    """Waits for its signals under its timers, then takes its steps."""

    def __init__(self) -> None:
        self._heard = 0

    @workflow.run
    async def run(self, shape: Shape) -> None:
        """Do as much of everything as ``shape`` says."""
        for number in range(max(shape.signals, shape.timers)):
            if number < shape.timers:
                wanted = min(number + 1, shape.signals)
                await workflow.wait_condition(lambda: self._heard >= wanted, timeout=timedelta(hours=1))  # noqa: B023
            else:
                await workflow.wait_condition(lambda: self._heard > number)  # noqa: B023
        for number in range(shape.activities):
            if number < shape.upserts:
                workflow.upsert_search_attributes([_phase.value_set(str(number))])
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))

    @workflow.signal(name=NEWS)
    def news(self) -> None:
        """Count a signal."""
        self._heard += 1
