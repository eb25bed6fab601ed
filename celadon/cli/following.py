"""Following a rollout until it has ended: the table once a second, its workflow when there is news."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import structlog

from celadon.cli.faults import OutageError
from celadon.cli.session import Session
from celadon.domain.language.names import RolloutId
from celadon.service.overview import view_rollout
from celadon.service.rollout_view import RolloutView, WorkflowAnswer
from celadon.table.read.history import read_rollout
from celadon.table.records.rollouts import RolloutRecord

POLL_EVERY: Final = timedelta(seconds=1)
ASK_WORKFLOW_EVERY: Final = timedelta(seconds=15)
"""Timers run down by themselves; each question is a workflow task, and billed where Temporal is rented."""

log = structlog.get_logger()


class Follower:
    """Follows one rollout; ``following`` opens it."""

    def __init__(self, session: Session, deployment: str, rollout: RolloutId) -> None:
        """Begin with nothing heard from the workflow."""
        self._session = session
        self._deployment = deployment
        self._rollout = rollout
        self._answer = WorkflowAnswer()
        self._question: asyncio.Task[WorkflowAnswer] | None = None
        self._asked_at = 0.0
        self._news: object = None

    async def views(self) -> AsyncGenerator[RolloutView, None]:
        """Yield how the deployment stands about once a second, until the rollout has ended.

        A database that goes away is asked until it is back.
        """
        lost = False
        while True:
            try:
                view, record = await self._look()
            except OutageError as error:
                if not lost:
                    log.warning("table_lost", error=str(error))
                lost = True
            else:
                lost = False
                if record is None or record.outcome is not None:
                    yield view.model_copy(update={"workflow": WorkflowAnswer()})
                    return
                yield view
                self._ask_when_there_is_news(view)
            await asyncio.sleep(POLL_EVERY.total_seconds())

    async def _record(self) -> RolloutRecord | None:
        return await self._session.read(lambda tx: read_rollout(tx, self._deployment, self._rollout))

    async def close(self) -> None:
        """Drop a question that has not been answered."""
        if self._question is not None:
            self._question.cancel()
            await asyncio.wait({self._question})

    async def _look(self) -> tuple[RolloutView, RolloutRecord | None]:
        if self._question is not None and self._question.done():
            self._answer, self._question = self._question.result(), None
        view = await self._session.read(lambda tx: view_rollout(tx, self._deployment, self._answer))
        if view is None:
            raise await self._session.no_such_deployment(self._deployment)
        latest = None if view.deployment is None else view.deployment.rollout
        record = latest if latest is not None and latest.rollout == self._rollout else await self._record()
        return view, record

    def _ask_when_there_is_news(self, view: RolloutView) -> None:
        """Ask the workflow anew when the table has changed or some time has passed, one question at a time."""
        deployment = view.deployment
        phase = None if deployment is None or deployment.rollout is None else deployment.rollout.phase
        news = (phase, tuple((one.route_set, one.condition) for one in deployment.sets) if deployment else ())
        now = asyncio.get_running_loop().time()
        overtaken = self._answer.status is not None and view.status is None
        due = overtaken or self._asked_at == 0.0 or now - self._asked_at > ASK_WORKFLOW_EVERY.total_seconds()
        if self._question is None and (due or news != self._news):
            self._asked_at, self._news = now, news
            self._question = asyncio.create_task(self._session.ask_workflow(self._deployment))


@asynccontextmanager
async def following(session: Session, deployment: str, rollout: RolloutId) -> AsyncIterator[Follower]:
    """Follow a rollout; nothing is left running at the end."""
    follower = Follower(session, deployment, rollout)
    try:
        yield follower
    finally:
        await follower.close()
