"""A bare workflow that is promoted by an update, in one step.

It stands alone in its module: a workflow's sandbox imports the module anew, which drivers of databases do not bear.
"""

from datetime import timedelta
from typing import Final

from temporalio import workflow

from celadon.domain.language.contracts import PROMOTE

SWITCH: Final = "switch_by_statements"


@workflow.defn(name="PromotedByParts")
class PromotedByParts:
    """Answers promotions until it is done."""

    def __init__(self) -> None:
        self._is_done = False

    @workflow.run
    async def run(self) -> None:
        """Wait for the end."""
        await workflow.wait_condition(lambda: self._is_done and workflow.all_handlers_finished())

    @workflow.update(name=PROMOTE)
    async def promote(self) -> None:
        """Take the one step."""
        await workflow.execute_activity(SWITCH, start_to_close_timeout=timedelta(seconds=30))

    @workflow.signal(name="done")
    def done(self) -> None:
        """Let it end."""
        self._is_done = True
