"""How many unfinished rollouts do not get on, for Prometheus: looked for in the background, a few at a time.

The API counts them, and not the worker: without any worker somebody must still say so.
"""

import asyncio
from collections import Counter
from itertools import cycle, islice
from typing import Final

from celadon.api.metrics import ApiMetrics
from celadon.client.rollouts import RolloutClient
from celadon.domain.decisions.workflow_condition import WorkflowState
from celadon.table.core.engine import Table
from celadon.table.core.unfinished_rollouts import read_unfinished_rollouts

LOOK_SECONDS: Final = 30.0

MOST_ASKED: Final = 50
"""Rollouts that are asked after in one look: each costs Temporal some milliseconds. The others' turn comes next."""

_AT_ONCE: Final = 4


class WorkflowWatch:
    """Asks Temporal after the workflows of unfinished rollouts, in turn."""

    def __init__(
        self,
        table: Table,
        rollouts: RolloutClient,
        metrics: ApiMetrics,
        most: int = MOST_ASKED,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Ask after ``most`` rollouts in a look; look each ``look_seconds``."""
        self._look_seconds = look_seconds
        self._table = table
        self._rollouts = rollouts
        self._metrics = metrics
        self._most = most
        self._known: dict[str, WorkflowState] = {}
        self._last = ""
        self._trouble = metrics.trouble("workflows", "workflows_not_counted")

    async def watch_until_cancelled(self) -> None:
        """Look now and then; after an outage or a fault no number is told until a look succeeds."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - it is told; a bug here ends no request
                self._trouble.tell(error)
                self._metrics.forget_workflows()
            else:
                self._trouble.is_over()
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> None:
        """Ask after those whose turn it is, and tell how many there are in each state."""
        async with self._table.transaction() as tx:
            unfinished = sorted({one.workflow_id for one in await read_unfinished_rollouts(tx)})
        places = asyncio.Semaphore(_AT_ONCE)

        async def ask(workflow_id: str) -> None:
            async with places:
                condition = await self._rollouts.condition(workflow_id)
            # One whose workflow is gone is the keeper's to end, and doctor's to tell.
            self._known[workflow_id] = WorkflowState.UNKNOWN if condition is None else condition.state

        await asyncio.gather(*(ask(workflow_id) for workflow_id in self._turn(unfinished)))
        self._known = {one: self._known.get(one, WorkflowState.UNKNOWN) for one in unfinished}
        self._metrics.count_workflows(Counter(self._known.values()))

    def _turn(self, unfinished: list[str]) -> list[str]:
        """Return those that come after the last one that was asked after."""
        count = min(self._most, len(unfinished))
        first = next((number for number, one in enumerate(unfinished) if one > self._last), 0)
        chosen = list(islice(cycle(unfinished), first, first + count)) if unfinished else []
        self._last = chosen[-1] if chosen else ""
        return chosen
