"""A bare workflow for comparison: as many steps, messages and attributes as a rollout has.

Behind its steps stands nothing, or the statements that a rollout sends.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio import activity, workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

from celadon.domain.language.contracts import SEARCH_PHASE

QUEUE: Final = "bench-bare"
WORKFLOW: Final = "Bare"
NEWS: Final = "news"
SEND_STATEMENTS: Final = "send_statements"

_phase = SearchAttributeKey.for_keyword(SEARCH_PHASE)


@dataclass(frozen=True)
class Shape:
    """How much of everything."""

    activities: int
    signals: int
    upserts: int
    timers: int
    deployment: str = ""
    """Whose statements the activities send; empty when they do nothing."""


@dataclass(frozen=True)
class Part:
    """What one of a workflow's activities sends of a rollout's statements."""

    deployment: str
    part: int
    parts: int


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
            await self._step(shape, number)

    async def _step(self, shape: Shape, number: int) -> None:
        if not shape.deployment:
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))
            return
        await workflow.execute_activity(
            SEND_STATEMENTS,
            Part(shape.deployment, number, shape.activities),
            start_to_close_timeout=timedelta(minutes=1),
            # A second attempt would send them a second time, which means something else.
            retry_policy=RetryPolicy(maximum_attempts=1),
        )

    @workflow.signal(name=NEWS)
    def news(self) -> None:
        """Count a signal."""
        self._heard += 1
