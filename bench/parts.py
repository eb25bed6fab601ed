"""A promotion made of its parts alone: what Temporal, Postgres, the gateway and the routers take without Celadon.

An update reaches a bare workflow, whose activity sends the statements of the switch over a plain connection, waits for
the routers as the gateway writes down what they acknowledge, and returns; the workflow answers. The statements are the
ones that Celadon's own switch sends for the rollout that waits, noted in a transaction that is not committed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from sqlalchemy import select, text
from temporalio import activity
from temporalio.worker import Worker

from bench.bare_promotion import SWITCH, PromotedByParts
from bench.line import PATIENCE_SECONDS, Line
from bench.statements import Statement, noted_statements
from bench.swap import Connection, raw_connection
from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.contracts import PROMOTE
from celadon.domain.language.names import RolloutId, RouteSetId
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import Message, SwitchStep
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.listen import ACKS_CHANNEL, Listener
from celadon.table.core.models import Rollout
from celadon.table.rollouts.switch import switch
from worker.process import STICKY_TIMEOUT
from worker.registration import workflow_runner

_QUEUE: Final = "bench-parts"
_POLL_SECONDS: Final = 1.0
_TRUSTING: Final = Authority(unsigned=Unsigned.ALL)

_UNDO: Final = (
    text("update deployments set live_set = :blue where name = :name"),
    text(
        "update rollouts set switch_epoch = null, switched_at = null, phase = 'awaiting_promotion' where id = :rollout"
    ),
)


class _NotCommittedError(Exception):
    """Rolls a transaction back of which only the statements are wanted."""


class Parts:
    """The parts of promotions of one deployment."""

    def __init__(self, line: Line, deployment: str, raw: Connection, listener: Listener) -> None:
        """Promote ``deployment``; ``raw`` is for the activity alone."""
        self._line = line
        self._deployment = deployment
        self._raw = raw
        self._switch: list[Statement] = []
        self._acknowledged: list[Statement] = []
        self._listener = listener

    async def promote(self) -> float:
        """Promote the green that waits, undo it, and return the milliseconds from the update to its answer."""
        handle = self._line.temporal.get_workflow_handle_for(PromotedByParts.run, _id(self._deployment))
        async with self._line.table.transaction() as tx:
            rollout = (
                await tx.scalars(
                    select(Rollout).where(Rollout.deployment == self._deployment, Rollout.outcome.is_(None)),
                )
            ).one()
        step = _step(rollout)
        await self._note(step)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await handle.execute_update(PROMOTE)
        taken = (loop.time() - began) * 1000
        await self._undo(step)
        return taken

    async def _note(self, step: SwitchStep) -> None:
        """Note the statements of the switch, and of one look at the acknowledgements."""
        with suppress(_NotCommittedError):
            async with self._line.table.transaction() as tx:
                with noted_statements() as self._switch:
                    answer = await switch(tx, step, _TRUSTING)
                    await tx.flush()
                if answer.epoch is None:
                    raise RuntimeError(f"the switch was refused: {answer.refusal}")
                with noted_statements() as self._acknowledged:
                    await read_acknowledgement(tx, self._deployment, answer.epoch)
                raise _NotCommittedError

    async def _undo(self, step: SwitchStep) -> None:
        """Point the deployment at blue again, and wait until the routers serve it."""
        values = {"blue": step.blue_set, "name": self._deployment, "rollout": step.rollout}
        async with self._line.table.transaction() as tx:
            for statement in _UNDO:
                await tx.execute(statement, values)
            epoch = await raise_epoch(tx, self._deployment)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                async with self._line.table.transaction() as tx:
                    if (await read_acknowledgement(tx, self._deployment, epoch)).complete:
                        return
                await asyncio.sleep(0.02)

    @activity.defn(name=SWITCH)
    async def switch(self) -> None:
        """Send the statements of the switch, and wait until every router that is live has acknowledged."""
        async with self._raw.transaction():
            for statement in self._switch:
                await statement.send(self._raw)
            epoch = await self._raw.fetchval("select epoch from deployments where name = $1", self._deployment)
        [look] = self._acknowledged
        async with self._listener.subscribe(ACKS_CHANNEL) as heard:
            while any(served is None or served < epoch for _, served in await look.send(self._raw)):
                await heard.get(_POLL_SECONDS)


def _id(deployment: str) -> str:
    return f"parts-of-{deployment}"


def _step(rollout: Rollout) -> SwitchStep:
    if rollout.green_set is None:
        raise RuntimeError(f"rollout {rollout.id} has no green yet")
    return SwitchStep(
        deployment=rollout.deployment,
        rollout=RolloutId(rollout.id),
        blue_set=None if rollout.blue_set is None else RouteSetId(rollout.blue_set),
        green_set=RouteSetId(rollout.green_set),
        by="bench",
        door=Channel.UPDATE,
        reason="",
        decision="parts",
        message=Message(verb=PROMOTE, came_by=Channel.UPDATE, command=PromoteCommand(by="bench")),
        ack_timeout_seconds=1.0,
    )


@asynccontextmanager
async def parts_alone(line: Line, deployment: str) -> AsyncIterator[Parts]:
    """Run what promotes a deployment by parts."""
    url = line.addresses.database_url
    async with raw_connection(url) as raw, Listener(url, "celadon-bench-listener") as listener:
        await listener.connected.wait()
        parts = Parts(line, deployment, raw, listener)
        async with Worker(
            line.temporal,
            task_queue=_QUEUE,
            workflows=[PromotedByParts],
            activities=[parts.switch],
            workflow_runner=workflow_runner(),
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        ):
            handle = await line.temporal.start_workflow(PromotedByParts.run, id=_id(deployment), task_queue=_QUEUE)
            yield parts
            await handle.signal(PromotedByParts.done)
            await handle.result()
