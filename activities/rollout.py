"""The steps of a rollout.

A second attempt of a step finds what the first one did; an attempt of a rollout that no longer owns its deployment
changes nothing. ``switch`` commits and waits for the routers in one activity: its retry finds the committed epoch and
goes on waiting.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.acknowledgements import AcknowledgementWatch, hear_of
from activities.refusals import refusals_are_final
from activities.worker_keys import believing
from activities.worker_stop import stop_with_worker
from celadon.domain.decisions.authority import Authority
from celadon.domain.decisions.hosts import NO_HOSTS, ClaimableHosts, HostRules
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.freeze import FreezesRead
from celadon.domain.language.names import Epoch
from celadon.domain.language.next_rollout import NextRollout, SuccessorRead
from celadon.domain.language.opening import OpeningTimes
from celadon.domain.language.router_names import first_routers
from celadon.domain.language.steps import (
    BeginStep,
    Begun,
    CloseStep,
    DrainEnd,
    EdgeAnswer,
    Finished,
    FinishStep,
    FreezesStep,
    GreenOpened,
    Judged,
    JudgeStep,
    PhaseStep,
    Step,
    SwitchAnswer,
    SwitchStep,
    WindowStep,
)
from celadon.table.core.engine import Table
from celadon.table.core.listen import ROUTES_CHANNEL, Listener
from celadon.table.rollouts import begin as begin_table
from celadon.table.rollouts import finish as finish_table
from celadon.table.rollouts import next_rollouts, route_sets, switch, windows

KEEPER_PATIENCE: Final = timedelta(seconds=8)
"""How long a switch waits for a keeper that changes hands, before it is refused; a lease expires after 3 s."""

_KEEPER_POLL_SECONDS: Final = 0.2
_DRAIN_POLL_SECONDS: Final = 1.0

StepT = TypeVar("StepT", bound=Step)

log = structlog.get_logger()


class RolloutActivities:
    """The activities of a rollout with what they need: the table and its notifications."""

    def __init__(
        self, table: Table, listener: Listener, authority: Authority, claimable: ClaimableHosts = NO_HOSTS
    ) -> None:
        """Keep the worker's table and listener, whom it believes, and which host names deployments may claim."""
        self._authority = authority
        self._hosts = HostRules(claimable)
        self._table = table
        self._listener = listener
        self._watch = AcknowledgementWatch(table, listener)

    def all(self) -> Sequence[Callable[..., Any]]:
        """Return every activity, for the worker to register."""
        return (
            self.begin,
            self.provision_green,
            self.enter_phase,
            self.read_freezes,
            self.read_successor,
            self.judge,
            self.ask_for_edge,
            self.look_up_windows,
            self.switch,
            self.switch_back,
            self.drain,
            self.finish,
        )

    @activity.defn
    async def begin(self, step: BeginStep) -> Begun:
        """Register the rollout, its revision and its policy."""
        with refusals_are_final():
            try:
                async with self._table.transaction() as tx:
                    authority = await believing(tx, self._authority, step)
                    began_at = activity.info().started_time
                    begun = await begin_table.begin(tx, step, authority, hosts=self._hosts, attempted_at=began_at)
            except RefusedError as error:
                if isinstance(step.request, NextRollout):
                    async with self._table.transaction() as tx:
                        await next_rollouts.hold_refused(tx, step.request, error)
                raise
        log.info("rollout_began", deployment=begun.deployment, rollout=begun.rollout, revision=begun.to_revision)
        return begun

    @activity.defn
    async def provision_green(self, step: Step) -> GreenOpened:
        """Open the green set; the keeper starts its replicas."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                return await route_sets.open_green(tx, await self._attested(tx, step))

    @activity.defn
    async def enter_phase(self, step: PhaseStep) -> FreezesRead | None:
        """Write the phase down, and read freezes before a promotion; nothing where there are none."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                return await route_sets.enter_phase(tx, await self._attested(tx, step))

    @activity.defn
    async def read_freezes(self, step: FreezesStep) -> FreezesRead:
        """Read the freezes of the rollout's deployment."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                return await route_sets.read_own_freezes(tx, await self._attested(tx, step))

    @activity.defn
    async def read_successor(self, step: Step) -> SuccessorRead:
        """Read what waits behind the rollout, and whether the rollout ends for it."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                authority = await believing(tx, self._authority, step)
                return await next_rollouts.read_successor(tx, authority.attested(step), authority)

    @activity.defn
    async def judge(self, step: JudgeStep) -> Judged:
        """Judge aborts that came before the switch: who sent them, and whether they may."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                authority = await believing(tx, self._authority, step)
                judged = await route_sets.judge(tx, authority.attested(step), authority)
        log.info(
            "judged",
            deployment=step.deployment,
            rollout=step.rollout,
            refused=[refusal.code.value for refusal in judged.refusals if refusal is not None],
        )
        return judged

    @activity.defn
    async def ask_for_edge(self, step: Step) -> EdgeAnswer:
        """Let the keeper tell green's condition anew."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                return await route_sets.ask_for_edge(tx, await self._attested(tx, step))

    @activity.defn
    async def look_up_windows(self, step: WindowStep) -> OpeningTimes:
        """Say when the policy's windows are open, by the database's clock."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                return await windows.look_up_windows(tx, await self._attested(tx, step))

    @activity.defn
    async def switch(self, step: SwitchStep) -> SwitchAnswer:
        """Point the deployment at green and wait until every live router serves it, or ``router_ack_timeout``."""
        started = time.monotonic()
        patience = started + KEEPER_PATIENCE.total_seconds()
        answer = await self._commit(partial(switch.switch, patient=True), step)
        while (
            answer.refusal is not None
            and answer.refusal.code is RefusalCode.KEEPER_SILENT
            and time.monotonic() < patience
        ):
            await self._watch.pause(_KEEPER_POLL_SECONDS)
            answer = await self._commit(partial(switch.switch, patient=True), step)
        if answer.refusal is not None:
            answer = await self._commit(switch.switch, step)
        return await self._await_routers(step, answer, started, "switch")

    @activity.defn
    async def switch_back(self, step: SwitchStep) -> SwitchAnswer:
        """Point the deployment at blue again and wait for the routers."""
        started = time.monotonic()
        answer = await self._commit(switch.switch_back, step)
        return await self._await_routers(step, answer, started, "switch_back")

    @activity.defn
    async def drain(self, step: CloseStep) -> DrainEnd:
        """Close a set and wait until its last replica has stopped, or until the set is live again."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                refused = await route_sets.close_set(tx, await self._attested(tx, step))
        if refused is not None:
            return refused
        async with self._listener.subscribe(ROUTES_CHANNEL) as heard:
            while True:
                stop_with_worker()
                async with self._table.reading() as tx:
                    end = await route_sets.read_drain(tx, step)
                if end is not None:
                    log.info(
                        "drained",
                        deployment=step.deployment,
                        rollout=step.rollout,
                        route_set=step.route_set,
                        requests_cut=end.requests_cut,
                        reopened=end.reopened,
                    )
                    return end
                await hear_of(heard, step.deployment, _DRAIN_POLL_SECONDS)

    @activity.defn
    async def finish(self, step: FinishStep) -> Finished:
        """Write the outcome and give the deployment free."""
        with refusals_are_final():
            async with self._table.transaction() as tx:
                finished = await finish_table.finish(tx, await self._attested(tx, step))
        log.info("rollout_ended", deployment=step.deployment, rollout=step.rollout, outcome=step.outcome.value)
        return finished

    async def _attested(self, tx: AsyncSession, step: StepT) -> StepT:
        """Check what doors have signed: the audit log shows nobody as verified who is not."""
        return (await believing(tx, self._authority, step)).attested(step)

    async def _commit(
        self,
        change: Callable[[AsyncSession, SwitchStep, Authority], Awaitable[SwitchAnswer]],
        step: SwitchStep,
    ) -> SwitchAnswer:
        with refusals_are_final():
            async with self._table.transaction() as tx:
                authority = await believing(tx, self._authority, step)
                return await change(tx, authority.attested(step), authority)

    async def _await_routers(self, step: SwitchStep, answer: SwitchAnswer, started: float, what: str) -> SwitchAnswer:
        if answer.recorded:
            log.info("approved", deployment=step.deployment, rollout=step.rollout, by=step.by)
            return answer
        if answer.refusal is not None or answer.epoch is None:
            log.info("refused", what=what, deployment=step.deployment, rollout=step.rollout, why=str(answer.refusal))
            return answer
        committed = time.monotonic()
        timeout = timedelta(seconds=step.ack_timeout_seconds)
        acknowledgement = await self._watch.wait(step.deployment, Epoch(answer.epoch), timeout)
        ended = time.monotonic()
        log.info(
            what,
            deployment=step.deployment,
            rollout=step.rollout,
            epoch=answer.epoch,
            by=step.by,
            commit_ms=round((committed - started) * 1000, 1),
            acknowledged_ms=round((ended - committed) * 1000, 1),
            silent=first_routers(acknowledgement.silent),
            silent_count=len(acknowledgement.silent),
        )
        return answer.model_copy(
            update={
                "acknowledged_by": first_routers(acknowledgement.acknowledged_by),
                "acknowledged_count": len(acknowledgement.acknowledged_by),
                "silent": first_routers(acknowledgement.silent),
                "silent_count": len(acknowledgement.silent),
                "ms": round((ended - started) * 1000, 3),
            },
        )
