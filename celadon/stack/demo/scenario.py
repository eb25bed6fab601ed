"""The scenario of the demonstration: three switches under load, each met by long streams.

Promotion to revision 2, the way back while blue is still warm, and promotion again, this time to the end.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from celadon.domain.language.commands import AbortCommand
from celadon.domain.language.contracts import ABORT, PROMOTE, ROLLBACK, workflow_id
from celadon.domain.language.messages import RolloutRequest, RolloutResult
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.stack.demo.doors import Doors
from celadon.stack.demo.history import activity_ended_at, billable_actions, decided_switch
from celadon.stack.demo.load_process import LoadProcess
from celadon.stack.demo.screen import Frame, Screen
from celadon.stack.demo.summary import FinishedRollout, Switch, SwitchKind, milliseconds_between
from celadon.table.records.deployments import DeploymentView
from celadon.table.records.rollouts import RolloutRecord

DEPLOYMENT: Final = "chat"

WARM_BAKE: Final = timedelta(minutes=2)
"""The bake of the rollout that is rolled back: long enough for a machine that is busy."""

LAST_BAKE: Final = timedelta(seconds=2)
DRAIN_TIMEOUT: Final = timedelta(minutes=2)
SERVE_BEFORE_GOING_BACK: Final = timedelta(seconds=3)
POLL_INTERVAL: Final = timedelta(milliseconds=250)
STEP_TIMEOUT: Final = timedelta(seconds=60)
PERSON_TIMEOUT: Final = timedelta(minutes=30)
"""How long the demonstration waits for a person's promotion."""

Condition = Callable[[DeploymentView], bool]


class ScenarioError(Exception):
    """The scenario did not go as it should; the text says what happened instead."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs from one telling to the next."""

    first: Revision
    second: Revision
    replicas: int
    promote_after: timedelta | None
    """The delay of the promotion's timer, none when a person promotes."""
    instructions: str
    """How a person can promote."""


@dataclass(slots=True)
class DemoRun:
    """What has happened so far; all of it when the scenario has ended well."""

    results: list[RolloutResult] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    last: FinishedRollout = field(default_factory=FinishedRollout)

    @property
    def requests_cut(self) -> int:
        """Running requests that were cut when replicas stopped, in all rollouts that ended."""
        return sum(result.requests_cut for result in self.results)


class Scenario:
    """Plays the scenario once."""

    def __init__(self, doors: Doors, screen: Screen, plan: Plan) -> None:
        """Prepare to tell it through ``doors``, on ``screen``."""
        self.so_far = DemoRun()
        self._doors = doors
        self._screen = screen
        self._plan = plan
        self._load: LoadProcess | None = None

    async def deploy_first_revision(self) -> None:
        """Deploy revision 1, which goes live without a gate because there is nothing to protect.

        Raises:
            StoryError: it did not go live.

        """
        self._screen.say("step", f"deploying revision 1 with {self._plan.replicas} replicas, live as soon as healthy")
        request = self._request(self._plan.first, BlueGreenPolicy(bake=timedelta(0)), "the first deployment")
        run_id = await self._doors.start(request)
        await self._until("revision 1 loads", _ended(run_id))
        await self._end(run_id, RolloutOutcome.PROMOTED)

    async def switch_three_times(self, load: LoadProcess) -> None:
        """Promote, go back, promote again, while ``load`` runs.

        Raises:
            StoryError: a rollout did not end as it should, or not in time.
            LoadFailedError: the load has died.

        """
        self._load = load
        first = await self._promote("rolling out revision 2", WARM_BAKE)
        await self._wait("revision 2 answers, blue stays warm", SERVE_BEFORE_GOING_BACK)
        self._screen.say("step", "going back to revision 1 within the bake")
        await self._doors.roll_back(AbortCommand(by="celadon demo", reason="shows the way back"))
        await self._until("revision 1 answers again, revision 2 drains", _ended(first))
        events = await self._end(first, RolloutOutcome.ROLLED_BACK)
        self._note(SwitchKind.PROMOTION, events)
        self._note(SwitchKind.SWITCH_BACK, events)

        second = await self._promote("rolling out revision 2 again", LAST_BAKE)
        await load.stop_streams()
        await self._until("revision 2 answers, blue drains", _ended(second))
        events = await self._end(second, RolloutOutcome.PROMOTED)
        promotion = self._note(SwitchKind.PROMOTION, events)
        result = self.so_far.results[-1]
        drained_at = activity_ended_at(events, "drain")
        self.so_far.last = FinishedRollout(
            outcome=result.outcome,
            workflow_id=workflow_id(DEPLOYMENT),
            run_id=second,
            epoch=result.epoch,
            drain_ms=None
            if drained_at is None
            else milliseconds_between(promotion.acknowledged_ns, monotonic_ns(drained_at)),
            history_events=len(events),
            billable_actions=billable_actions(events),
        )

    async def _promote(self, step: str, bake: timedelta) -> str:
        """Start a rollout to revision 2 and wait until it has switched."""
        self._screen.say("step", f"{step} with {self._plan.replicas} replicas")
        delay = self._plan.promote_after
        if delay is None:
            policy = BlueGreenPolicy(bake=bake, drain_timeout=DRAIN_TIMEOUT)
        else:
            policy = BlueGreenPolicy(auto_promote=True, promote_after=delay, bake=bake, drain_timeout=DRAIN_TIMEOUT)
        run_id = await self._doors.start(self._request(self._plan.second, policy, step))
        await self._until(f"{step}: green loads", _awaits_promotion(run_id))
        if delay is None:
            self._screen.say("hold", f"green is healthy and waits for you\n{self._plan.instructions}")
            await self._until(f"{step}: waiting for you to promote", _switched(run_id), PERSON_TIMEOUT)
        else:
            await self._until(f"{step}: green is healthy, its delay runs", _switched(run_id), delay + STEP_TIMEOUT)
        self._screen.say("switched", "revision 2 is live")
        return run_id

    def _request(self, revision: Revision, policy: BlueGreenPolicy, reason: str) -> RolloutRequest:
        return RolloutRequest(
            deployment=DEPLOYMENT,
            replicas=self._plan.replicas,
            revision=revision,
            policy=policy,
            requested_by="celadon demo",
            reason=reason,
        )

    async def _end(self, run_id: str, expected: RolloutOutcome) -> Sequence[HistoryEvent]:
        """Keep the result of a rollout that has ended and return its history."""
        ended = await self._doors.end(run_id)
        if ended.result is None:
            raise ScenarioError(f"the rollout's workflow ended as {ended.status}: {ended.failure}")
        result = ended.result
        self.so_far.results.append(result)
        self._screen.say("ended", f"rollout {result.rollout} ended: {result.outcome}, epoch {result.epoch}")
        if result.outcome is not expected:
            raise ScenarioError(f"the rollout ended as {result.outcome}, not as {expected}: {result.reason}")
        return await self._doors.history(run_id)

    def _note(self, kind: SwitchKind, events: Sequence[HistoryEvent]) -> Switch:
        """Keep a switch as its rollout's history tells it."""
        match kind:
            case SwitchKind.PROMOTION:
                old, new = "r1", "r2"
                switch = decided_switch(events, activity="switch", messages=frozenset({PROMOTE}))
            case SwitchKind.SWITCH_BACK:
                old, new = "r2", "r1"
                switch = decided_switch(events, activity="switch_back", messages=frozenset({ABORT, ROLLBACK}))
        if switch is None:
            raise ScenarioError(f"the rollout's history holds no {kind}")
        if switch.silent:
            raise ScenarioError(f"routers did not acknowledge epoch {switch.epoch} in time: {', '.join(switch.silent)}")
        acknowledged_at = self._doors.acknowledgements.last_at(switch.epoch)
        if acknowledged_at is None:
            raise ScenarioError(f"no router has acknowledged epoch {switch.epoch}")
        noted = Switch(
            kind=kind,
            epoch=switch.epoch,
            old_revision=old,
            new_revision=new,
            decided_ns=monotonic_ns(switch.decided_at),
            committed_ns=monotonic_ns(switch.committed_at),
            acknowledged_ns=monotonic_ns(acknowledged_at),
        )
        self.so_far.switches.append(noted)
        return noted

    async def _wait(self, step: str, duration: timedelta) -> None:
        """Let time pass while the screen goes on."""
        end = time.monotonic() + duration.total_seconds()
        await self._until(step, lambda _view: time.monotonic() >= end)

    async def _until(self, step: str, reached: Condition, timeout: timedelta = STEP_TIMEOUT) -> None:
        """Look at the deployment until ``reached``, and show what is seen."""
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            view = await self._doors.view()
            load = None if self._load is None else self._load.counts
            self._screen.show(Frame(step=step, deployment=view, load=load, timers=self._timers(view)))
            if view is not None and reached(view):
                return
            if time.monotonic() > deadline:
                phase = "nothing is deployed" if view is None or view.rollout is None else view.rollout.phase
                raise ScenarioError(f"{step}: not within {timeout.total_seconds():.0f} s, it stands at: {phase}")
            await asyncio.sleep(POLL_INTERVAL.total_seconds())

    def _timers(self, view: DeploymentView | None) -> dict[str, datetime]:
        """Return what will happen by itself, and when."""
        if view is None or view.rollout is None:
            return {}
        since = view.rollout.phase_since
        match view.rollout.phase:
            case RolloutPhase.AWAITING_PROMOTION if self._plan.promote_after is not None:
                return {"promotion": since + self._plan.promote_after}
            case RolloutPhase.BAKING:
                return {"end of the bake": since + view.rollout.policy.bake}
            case RolloutPhase.DRAINING:
                return {"requests are cut": since + DRAIN_TIMEOUT}
            case _:
                return {}


def _ended(run_id: str) -> Condition:
    """Reached when the rollout has ended, in whatever way."""
    return lambda view: (latest := _row_of(run_id, view)) is not None and latest.outcome is not None


def _awaits_promotion(run_id: str) -> Condition:
    """Reached when green waits for its promotion, or does so no longer."""

    def reached(view: DeploymentView) -> bool:
        latest = _row_of(run_id, view)
        _refuse_early_end(latest)
        return latest is not None and (
            latest.phase is RolloutPhase.AWAITING_PROMOTION or latest.switch_epoch is not None
        )

    return reached


def _switched(run_id: str) -> Condition:
    """Reached when green is live."""

    def reached(view: DeploymentView) -> bool:
        latest = _row_of(run_id, view)
        _refuse_early_end(latest)
        return latest is not None and latest.switch_epoch is not None

    return reached


def _row_of(run_id: str, view: DeploymentView) -> RolloutRecord | None:
    """Return what the table says of a rollout, none while it has not begun."""
    latest = view.rollout
    return latest if latest is not None and latest.run_id == run_id else None


def _refuse_early_end(latest: RolloutRecord | None) -> None:
    if latest is not None and latest.outcome is not None and latest.switch_epoch is None:
        raise ScenarioError(f"the rollout ended before the switch as {latest.outcome}: {latest.outcome_reason}")


def monotonic_ns(moment: datetime) -> int:
    """Return a moment of the machine's clock on its monotonic clock, by how the two stand to each other now."""
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since_epoch // timedelta(microseconds=1) * 1000 - time.time_ns() + time.monotonic_ns()
