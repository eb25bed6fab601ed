"""The machine: random commands, failures, retries, late attempts, lost leases, routers and clocks, one step a rule."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.exceptions import ApplicationError

from celadon.domain.decisions.after_switch import bake_timer
from celadon.domain.decisions.gate import PROVISIONING_TIMER, promotion_moments
from celadon.domain.decisions.reschedule import TIMER_KEYS
from celadon.domain.language import contracts
from celadon.domain.language.commands import AbortAnswer, PromoteAnswer, PromoteCommand, PromoteState
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.freeze import FreezesRead
from celadon.domain.language.messages import RolloutRequest, RolloutResult
from celadon.domain.language.names import DeploymentName
from celadon.domain.language.next_rollout import NextRollout
from celadon.domain.language.opening import OpeningTimes
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy, OnNewRevision
from celadon.domain.language.progress import Progress
from celadon.domain.language.states import (
    Channel,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
)
from celadon.domain.language.steps import BeginStep, CloseStep, GreenOpened, Step, SwitchAnswer, SwitchStep
from celadon.domain.language.window import Weekday
from celadon.table.core.author import Author
from celadon.table.core.clock import database_now
from celadon.table.core.engine import Table
from celadon.table.core.locks import lock_deployment
from celadon.table.core.models import Base, RefusedDecision
from celadon.table.core.policies import read_policy
from celadon.table.retention.deployments import Tally
from celadon.table.rollouts.default_policy import set_defaults
from celadon.table.rollouts.deletion import DeleteOrder, delete
from celadon.table.rollouts.freezes import FreezeOrder, UnfreezeOrder, freeze, unfreeze
from celadon.table.rollouts.next_rollouts import drop
from celadon.table.rollouts.placing import meet
from celadon.table.rollouts.retrying import retry
from celadon.table.rollouts.scaling import ScaleOrder, scale
from tests.invariants import rules
from tests.invariants.attempts import SIGNED, StepAnswer, StillInFlight, attempt
from tests.invariants.keeping import ModelKeeper
from tests.invariants.pruning import ModelPruning
from tests.invariants.routing import ModelRouters
from tests.invariants.snapshot import Snapshot, take_snapshot
from tests.invariants.temporal import Answer, Asked, Cancel, Execution, Job, Message, WorkflowLoop
from tests.revisions import serving
from tests.table.rows import NOW

T = TypeVar("T")

DEPLOYMENT: Final = "chat"
_ROUTERS: Final = 2
_ROUNDS: Final = 40
"""Good days after which a rollout that nobody disturbs has ended, whatever happened before."""

_PATIENCE: Final = 6
"""Good days after which a rollout that still waits for a person is aborted."""

_PEOPLE: Final = ("ann", "ben", "carl", "dee")

_VALID: Final = timedelta(minutes=30)
"""How long signed messages count: shorter than anything is kept at least."""

_SEVERAL: Final = 12
"""Steps that a worker carries out in one rule at most."""


@dataclass
class World:
    """What all stories of one test share: the real table, two loops, and the census of what was reached."""

    table: Table
    loop: asyncio.AbstractEventLoop
    workflow_loop: WorkflowLoop
    census: Counter[str] = field(default_factory=Counter)

    def run(self, work: Awaitable[T]) -> T:
        """Run one piece of work on the table to its end."""

        async def working() -> T:
            return await work

        return self.loop.run_until_complete(working())

    def told(self) -> str:
        """Return what was reached and how often, one a line."""
        return "\n".join(f"{count:7} {what}" for what, count in sorted(self.census.items()))

    async def empty(self) -> None:
        """Empty all tables, whose identities go on rising."""
        async with self.table.transaction() as tx:
            await tx.execute(text("set local session_replication_role = replica"))
            for one in Base.metadata.tables.values():
                await tx.execute(one.delete())


_WEEK: Final = [day.value for day in Weekday]
_HALF_A_WEEK_AWAY: Final = _WEEK[(datetime.now(UTC).weekday() + 3) % 7]
OPEN: Final = {"days": _WEEK, "from": "00:00", "to": "24:00", "zone": "UTC"}
CLOSED: Final = OPEN | {"days": [_HALF_A_WEEK_AWAY]}
"""By the real clock, which no story outruns; the clock of its workflows goes faster."""

_policies = st.fixed_dictionaries(
    {},
    optional={
        "min_healthy": st.sampled_from([1, "50%", "100%"]),
        "bake": st.sampled_from(["0s", "5m"]),
        "max_replacements": st.integers(0, 2),
        "max_regressions": st.integers(0, 2),
        "provisioning_deadline": st.sampled_from(["10m", "1h"]),
        "approvals": st.sampled_from([None, None, {"count": 1}, {"count": 2}]),
        "preview_replicas": st.sampled_from([None, 1, 1, 2]),
    },
)
_keeps = st.sampled_from(
    [
        {},
        {"event_retention": "1h"},
        {"event_retention": "1h", "revision_history_limit": 1, "rollback_window": {"revisions": 0}},
        {"event_retention": "1h", "revision_history_limit": 1, "rollback_window": {"revisions": 0}},
        {"event_retention": "1h", "revision_history_limit": 2, "rollback_window": {"revisions": 1}},
    ],
)
"""What the first request gives its deployment; no later one changes it."""
_rooms = st.sampled_from(
    [
        {},
        {},
        {"max_total_replicas": 6},
        {"max_total_replicas": 4, "on_no_room": "wait"},
        {"max_total_replicas": 6, "on_no_room": "wait"},
    ],
)
_ways = st.sampled_from(
    [
        {},
        {},
        {"auto_promote": True},
        {"auto_promote": True, "promote_after": "5m"},
        {"auto_promote": True, "promote_at": (NOW + timedelta(minutes=20)).isoformat()},
        {"auto_promote": True, "promote_after": "5m", "promote_at": (NOW - timedelta(days=1)).isoformat()},
        {"promotion_deadline": "10m"},
        {"promotion_deadline": "10m", "on_deadline": "promote"},
        {"promotion_deadline": "10m", "on_deadline": "hold"},
    ],
)
_ways |= st.builds(
    lambda hours, applies_to: {"auto_promote": True, "windows": [hours | {"applies_to": applies_to}]},
    st.sampled_from([OPEN, CLOSED]),
    st.sampled_from(["timer", "timer", "everyone"]),
)
_anew = st.builds(
    lambda revision, replicas, policy, room, way: (
        {
            "deployment": DEPLOYMENT,
            "revision": serving(str(revision)),
            "policy": policy | room | way,
            "requested_by": "ann",
        }
        | ({} if replicas is None else {"replicas": replicas})
    ),
    st.integers(0, 2),
    st.sampled_from([None, 0, 1, 1, 2, 2, 3]),
    _policies,
    _rooms,
    _ways,
)
_back = st.builds(
    lambda revision: {"deployment": DEPLOYMENT, "revision": revision, "rollback": True, "requested_by": "ann"},
    st.integers(1, 3),
)
"""Refused unless such a revision is there and another one is live."""
_requests = st.one_of(_anew, _anew, _anew, _back)
_targets = st.sampled_from([{}, {}, {}, {"rollout": 1}, {"revision": 1}])
_timers = st.sampled_from(
    [
        {"auto_promote": True, "promote_after": "1m"},
        {"auto_promote": True, "promote_after": "3h"},
        {"auto_promote": False},
        {"promote_after": "30s"},
        {"promotion_deadline": "2m"},
        {"without": ["promotion_deadline"]},
        {"promote_at": timedelta(minutes=9)},
        {"without": ["promote_at"]},
        {},
    ],
)
_messages = st.one_of(
    st.builds(
        lambda target, force, update: Message(
            contracts.PROMOTE,
            {"by": "ann", "reason": "reviewed", "force": force} | target,
            update=update,
        ),
        _targets,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        lambda name, update: Message(name, {"by": "bob", "reason": "wrong"}, update=update),
        st.sampled_from([contracts.ABORT, contracts.ABORT, contracts.ROLLBACK, contracts.FINISH, contracts.WITHDRAW]),
        st.booleans(),
    ),
    st.builds(
        lambda timers, update: Message(contracts.RESCHEDULE, {"by": "cem", "reason": "later"} | timers, update=update),
        _timers,
        st.booleans(),
    ),
)
_messages |= st.builds(
    lambda name, by, until, update: Message(
        name,
        {"by": by, "reason": "ben looks"} | ({"until": until} if until is not None and name == contracts.PAUSE else {}),
        update=update,
    ),
    st.sampled_from([contracts.PAUSE, contracts.PAUSE, contracts.RESUME]),
    st.sampled_from(["ann", "ben"]),
    st.sampled_from([None, None, timedelta(minutes=3), timedelta(hours=1), timedelta(minutes=-9)]),
    st.booleans(),
)
"""Moments of messages count from the moment at which they are sent."""
_reached = st.sampled_from(
    [
        None,
        RolloutPhase.PROVISIONING,
        RolloutPhase.AWAITING_PROMOTION,
        RolloutPhase.AWAITING_PROMOTION,
        RolloutPhase.BAKING,
        RolloutPhase.BAKING,
        RolloutPhase.DRAINING,
        RolloutPhase.DRAINING,
        RolloutPhase.COMPLETED,
    ],
)
_healths = st.sampled_from([RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED, RouteHealthStatus.HEALTHY])
_numbers = st.integers(0, 30)


@dataclass(frozen=True)
class Happening:
    """One thing that can happen in a story: what it needs to be told, when it can, and how often it does."""

    given: dict[str, st.SearchStrategy[Any]]
    when: Callable[["RolloutMachine"], bool]
    weight: int


_happenings: Final[dict[str, Happening]] = {}

MethodT = TypeVar("MethodT", bound=Callable[..., None])


def happens(
    when: Callable[["RolloutMachine"], bool] = lambda _: True,
    weight: int = 1,
    **given: st.SearchStrategy[Any],
) -> Callable[[MethodT], MethodT]:
    """Let a method be one of the things that can happen.

    They are chosen by weight, because a machine's own rules are switched off by halves in each story, and a rollout
    that is to go far needs many of them.
    """

    def mark(method: MethodT) -> MethodT:
        _happenings[method.__name__] = Happening(given, when, weight)
        return method

    return mark


class RolloutMachine(RuleBasedStateMachine):
    """Stories of one deployment: its rollouts one after the other, and all that can happen to them."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.now = NOW
        self.runs: list[Execution] = []
        self.keeper = ModelKeeper(world.table, DEPLOYMENT)
        self.routers = ModelRouters(world.table, DEPLOYMENT, _ROUTERS)
        self.pruning = ModelPruning(world.table)
        self.counted: dict[tuple[str, str], int] = {}
        """The rollout in which each signed message has counted, also one whose spent id was pruned."""
        self.signed = 0
        self.seen: Snapshot

    @initialize(first=_anew, second=_anew, reaches=_reached, keeps=_keeps)
    def begin_anew(
        self,
        first: dict[str, Any],
        second: dict[str, Any],
        reaches: RolloutPhase | None,
        keeps: dict[str, Any] | None = None,
    ) -> None:
        """Begin with a first deployment, or with a second rollout on good days up to some phase."""
        self.world.run(self.world.empty())
        self.world.run(self.keeper.take())
        self.seen = self._look()
        self._start(first | {"policy": first["policy"] | (keeps or {})})
        if reaches is None:
            return
        self._go_on_until(lambda: self.run is None)
        if reaches is RolloutPhase.BAKING:
            second = second | {"policy": second["policy"] | {"bake": "5m"}}
        self._start(second)
        self._go_on_until(lambda: self.run is None or self.run.status().phase is reaches)

    def _go_on_until(self, is_reached: Callable[[], bool]) -> None:
        """Let good days pass, on which a person promotes what waits."""
        for _ in range(_ROUNDS):
            if is_reached():
                return
            if self.run is not None and self.run.pending:
                self._carry_out(self.run, self.run.pending[0])
            elif self.run is not None and self.run.status().phase is RolloutPhase.AWAITING_PROMOTION:
                self._task(self.run, self._signed(contracts.PROMOTE, _PEOPLE[self.run.tasks % len(_PEOPLE)]))
            elif self.run is not None and self.run.status().phase is RolloutPhase.BAKING:
                self.time_passes(timedelta(minutes=6))
            self._good_day()

    def somebody_promotes_and_green_grows(self) -> None:
        """Let a person promote a preview, and the rollout hear that it grows."""
        assert self.run is not None
        self._task(self.run, self._signed(contracts.PROMOTE, _PEOPLE[0]))
        for _ in range(_ROUNDS):
            if self.run.status().growth is not None and not self.run.pending:
                return
            self._carry_out(self.run, self.run.pending[0])
        raise AssertionError("green does not grow")

    # What the story is.

    @property
    def run(self) -> Execution | None:
        """The workflow that runs now."""
        return self.runs[-1] if self.runs and self.runs[-1].is_running else None

    def _look(self) -> Snapshot:
        return self.world.run(take_snapshot(self.world.table, DEPLOYMENT))

    def _note(self, what: str) -> None:
        self.world.census[what] += 1
        if currently_in_test_context():
            event(what)

    def _start(self, request: dict[str, Any]) -> None:
        try:
            parsed = parse_payload(RolloutRequest, request)
        except RefusedError:
            self._note("a request that contradicts itself")
            return
        for key in ("preview_replicas", "max_total_replicas"):
            if request.get("policy", {}).get(key) is not None:
                self._note(f"a start with {key}")
        self._execute_run(parsed)

    def _execute_run(self, parsed: RolloutRequest | NextRollout) -> None:
        self.now += timedelta(milliseconds=1)
        run_id = f"run-{len(self.runs) + 1}"
        workflow_id = contracts.workflow_id(DEPLOYMENT)
        self.runs.append(Execution(self.world.workflow_loop, workflow_id, run_id, parsed, self.now))

    def _task(self, run: Execution, *jobs: Job) -> None:
        """Run a workflow task, and look at how the workflow ended if it did."""
        self.now += timedelta(milliseconds=1)
        before = run.progress
        run.task(self.now, *jobs)
        _check_no_timer_is_earlier(before, run.progress)
        if not run.is_running:
            self._ended(run)

    def _ended(self, run: Execution) -> None:
        """The end that callers and Temporal are told is the one that the table tells."""
        result = run.result()
        self._note(f"workflow ends: {_named(result)}")
        assert all(call.task.done() for call in run.calls), "a caller was never answered"
        table = self._look()
        row = next((one for one in table.tables.rollouts if one.run_id == run.run_id), None)
        if isinstance(result, RolloutResult):
            told = table.rollout(result.rollout)
            assert told is not None
            assert told.outcome is result.outcome
        for call in run.calls:
            match call.answer:
                case PromoteAnswer(state=PromoteState.RECORDED, approvals=given, needed=needed):
                    assert given < needed
                case PromoteAnswer(state=PromoteState.GROWING, epoch=epoch):
                    assert epoch is None
                case PromoteAnswer(epoch=epoch) if row is not None:
                    assert epoch == row.switch_epoch
                case AbortAnswer(outcome=RolloutOutcome.ROLLED_BACK, epoch=epoch) if row is not None:
                    assert epoch == row.switch_back_epoch
                    assert row.outcome in {RolloutOutcome.ROLLED_BACK, RolloutOutcome.FAILED}
                case _:
                    pass

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """Draw one of the things that can happen now."""
        possible = [name for name, one in _happenings.items() if one.when(self) for _ in range(one.weight)]
        name = data.draw(st.sampled_from(possible), label="what")
        given = {key: data.draw(strategy, label=key) for key, strategy in _happenings[name].given.items()}
        getattr(self, name)(**given)

    # Rollouts and those who command them.

    @happens(request=_requests, when=lambda self: self.run is None, weight=4)
    def a_rollout_starts(self, request: dict[str, Any]) -> None:
        self._start(request)

    @happens(
        request=_anew,
        mode=st.sampled_from(list(OnNewRevision)),
        restart=st.booleans(),
        excludes=st.booleans(),
        when=lambda self: self.run is not None and self.seen.deployment is not None,
        weight=2,
    )
    def somebody_deploys_while_one_runs(
        self,
        request: dict[str, Any],
        mode: OnNewRevision,
        restart: bool,  # noqa: FBT001 - drawn
        excludes: bool = False,  # noqa: FBT001, FBT002 - drawn
    ) -> None:
        """Only who deploys as a verified person can be excluded from the approvals."""
        own: dict[str, Any] = {"on_new_revision": mode.value}
        own |= {"approvals": {"count": 1, "exclude_requester": True}} if excludes else {}
        given = request | {"policy": request["policy"] | own, "restart": restart, "requested_by": "dee"}
        try:
            parsed = parse_payload(RolloutRequest, given)
        except RefusedError:
            return
        author = Author(by="dee", door=Channel.API, verified=True, issuer="idp")

        async def change(tx: AsyncSession) -> object:
            met = await meet(tx, parsed, author, frozenset(Verb), require=lambda *_: None, request_id="")
            self._note(f"deploy while one runs, {mode.value}: {'begins' if met is None else met.state.value}")
            return met

        self.world.run(self._order(change, f"deploy while one runs, {mode.value}"))

    @happens(when=lambda self: bool(self.seen.tables.waiting), weight=2)
    def what_waits_is_dropped_or_retried(self) -> None:
        author = Author(by="dee", door=Channel.API, verified=True, issuer="idp")

        async def change(tx: AsyncSession) -> object:
            if self.seen.tables.waiting[0].held:
                return await retry(tx, DEPLOYMENT, author, lambda *_: None)
            return await drop(tx, await lock_deployment(tx, DEPLOYMENT), author)

        self.world.run(self._order(change, "retry or drop what waits"))

    @happens(when=lambda self: self.run is None and self.seen.deployment is not None)
    def somebody_retries(self) -> None:
        author = Author(by="dee", door=Channel.API, verified=True, issuer="idp")
        requests: list[RolloutRequest] = []

        async def change(tx: AsyncSession) -> object:
            retried = await retry(tx, DEPLOYMENT, author, lambda *_: None)
            requests.extend(one for one in (retried.request,) if one is not None)
            return retried

        self.world.run(self._order(change, "retry"))
        for request in requests:
            self._start(request.model_dump(mode="json", exclude_unset=True))

    @happens(when=lambda self: self.run is None and bool(self.seen.tables.waiting), weight=3)
    def what_has_waited_is_started(self) -> None:
        """By the keeper, whose turn it is; whoever starts it otherwise is refused."""
        [waiting] = self._look().tables.waiting
        self._execute_run(NextRollout(deployment=DeploymentName(DEPLOYMENT), next=waiting.id))

    @happens(
        messages=st.lists(_messages, min_size=1, max_size=3),
        cancels=st.sampled_from([False] * 5 + [True]),
        when=lambda self: self.run is not None,
        weight=2,
    )
    def people_command(self, messages: list[Message], cancels: bool) -> None:  # noqa: FBT001 - drawn
        run = self.run
        assert run is not None
        phase = run.status().phase
        for message in messages:
            self._note(f"{message.name} while {phase.value}")
        self._task(run, *[self._dated(one) for one in messages], *([Cancel()] if cancels else []))

    def _dated(self, message: Message) -> Message:
        """Return a message with the moments that it means."""
        said = {
            key: (self.now + value).isoformat() if isinstance(value, timedelta) else value
            for key, value in message.payload.items()
        }
        return replace(message, payload=said)

    @happens(
        verb=st.sampled_from([contracts.PAUSE, contracts.PAUSE, contracts.RESUME]),
        by=st.sampled_from(_PEOPLE),
        until=st.sampled_from([None, None, timedelta(minutes=3), timedelta(minutes=-9)]),
        when=lambda self: self.run is not None,
    )
    def a_verified_person_pauses_or_resumes(self, verb: str, by: str, until: timedelta | None) -> None:
        """A signed message counts once, also when the workflow is reset to before it."""
        run = self.run
        assert run is not None
        self._note(f"{verb} by a verified person while {run.status().phase.value}")
        end = {"until": until} if until is not None and verb == contracts.PAUSE else {}
        self._task(run, self._dated(self._signed(verb, by, **end)))

    @happens(
        update=st.booleans(),
        when=lambda self: self.run is not None and self.run.status().phase is RolloutPhase.AWAITING_PROMOTION,
        weight=2,
    )
    def a_person_promotes_what_waits(self, update: bool) -> None:  # noqa: FBT001 - drawn
        run = self.run
        assert run is not None
        self._task(run, Message(contracts.PROMOTE, {"by": "ann", "reason": "reviewed"}, update=update))

    @happens(
        people=st.lists(st.sampled_from(_PEOPLE), min_size=1, max_size=3),
        name=st.sampled_from([contracts.PROMOTE, contracts.PROMOTE, contracts.PROMOTE, contracts.WITHDRAW]),
        force=st.sampled_from([False, False, True]),
        when=lambda self: (
            self.run is not None
            and self.run.status().phase in {RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION}
        ),
        weight=2,
    )
    def verified_people_decide(self, people: list[str], name: str, force: bool) -> None:  # noqa: FBT001 - drawn
        """Each gives or takes back an approval, where the policy asks for any."""
        run = self.run
        assert run is not None
        said = {"reason": "now", "force": True} if force and name == contracts.PROMOTE else {}
        self._task(run, *[self._signed(name, by, **said) for by in people])

    def _signed(self, name: str, by: str, **said: object) -> Message:
        """Return an update of a verified person, with an id that no other has."""
        self.signed += 1
        payload = {
            "by": by,
            "issuer": "idp",
            "door": "api",
            "rights": ["promote", "force", "abort", "pause"],
            "valid_until": (self.now + _VALID).isoformat(),
            "signature": SIGNED,
            **said,
        }
        return Message(name, payload, update=True, request_id=f"signed-{self.signed}")

    @happens(
        that=st.sampled_from(["is well", "sickens", "sickens and recovers", "recovers, and an attempt was paused"]),
        when=lambda self: self.run is not None and self.keeper.is_alive,
        weight=3,
    )
    def somebody_switches_to_a_colour(self, that: str) -> None:
        """The workflow has not heard yet how that colour is; the table knows better."""
        run = self.run
        assert run is not None
        status = run.status()
        goes_ahead = status.phase is RolloutPhase.AWAITING_PROMOTION
        if not goes_ahead and status.phase not in {RolloutPhase.BAKING, RolloutPhase.DRAINING}:
            return
        self.the_worker_works(1)
        self.world.run(self.keeper.read())
        colours = sorted(self.keeper.readings)
        kept = self.keeper.readings[colours[-1 if goes_ahead else 0]]
        running = [one.route for one in kept.routes if that != "is well" and one.status is RouteStatus.RUNNING]
        for route in running:
            self.world.run(self.keeper.see(kept, route, RouteHealthStatus.UNHEALTHY))
        back = Message(contracts.ROLLBACK, {"by": "ann"}, update=True)
        self._task(run, self._signed(contracts.PROMOTE, "ann") if goes_ahead else back)
        self.the_worker_works(1)
        if "recovers" in that:
            for route in running:
                self.world.run(self.keeper.see(kept, route, RouteHealthStatus.HEALTHY))
        switches = [one for one in run.asked if one.name in {"switch", "switch_back"} and not one.is_history]
        if "paused" in that and switches:
            self._come_late(run, switches[-1])

    @happens(replicas=st.integers(0, 3))
    def a_person_scales(self, replicas: int) -> None:
        order = ScaleOrder(deployment=DEPLOYMENT, replicas=replicas, by="ann", door=Channel.CLI)
        self.world.run(self._order(lambda tx: scale(tx, order), f"scale to {'some' if replicas else 'none'}"))

    @happens(bake=st.sampled_from(["0s", "5m"]), keeps=st.sampled_from([{}, {"event_retention": "1h"}]))
    def an_admin_sets_the_defaults(self, bake: str, keeps: dict[str, str]) -> None:
        given = BlueGreenPolicy.model_validate({"bake": bake} | keeps, strict=False)
        author = Author(by="ann", door=Channel.CLI)
        change = self._order(lambda tx: set_defaults(tx, given, (), author, lambda *_: None), "set defaults")
        self.world.run(change)

    @happens(when=lambda self: self.run is None and self.seen.deployment is not None)
    def a_person_deletes(self) -> None:
        order = DeleteOrder(deployment=DEPLOYMENT, by="ann", door=Channel.CLI)
        self.world.run(self._order(lambda tx: delete(tx, order), "delete"))

    async def _order(self, change: Callable[[AsyncSession], Awaitable[object]], what: str) -> None:
        try:
            async with self.world.table.transaction() as tx:
                await change(tx)
        except RefusedError as error:
            self._note(f"{what}: {error.refusal.code.value}")
        else:
            self._note(what)

    @happens(when=lambda self: self.run is not None)
    def the_workflow_is_terminated(self) -> None:
        run = self.run
        assert run is not None
        self._note(f"terminated while {run.status().phase.value}")
        run.close()

    @happens(number=_numbers, when=lambda self: self.run is not None and self.run.tasks > 1)
    def the_workflow_is_reset(self, number: int) -> None:
        run = self.run
        assert run is not None
        self._note(f"reset while {run.status().phase.value}")
        run.close()
        again = run.reset(1 + number % run.tasks, f"run-{len(self.runs) + 1}", self.now)
        self.runs.append(again)
        if not again.is_running:
            self._ended(again)

    @happens(days=st.integers(1, 3), weight=3)
    def good_days_come(self, days: int) -> None:
        for _ in range(days):
            self._good_day()
            self.the_worker_works(_SEVERAL)

    def _good_day(self) -> None:
        """Everybody but the worker does what is to be done."""
        if self.run is None and any(one.due_at for one in self._look().tables.waiting):
            self.what_has_waited_is_started()
        if self.keeper.is_alive:
            self.world.run(self.keeper.work())
        self.world.run(self.routers.work())
        self._deliver(twice=False)

    # The worker.

    @happens(
        steps=st.integers(1, _SEVERAL), when=lambda self: self.run is not None and bool(self.run.pending), weight=5
    )
    def the_worker_works(self, steps: int) -> None:
        for _ in range(steps):
            if self.run is None or not self.run.pending:
                return
            self._carry_out(self.run, self.run.pending[0])

    @happens(when=lambda self: self.run is not None and bool(self.run.pending))
    def a_step_is_tried_twice(self) -> None:
        run = self.run
        assert run is not None
        asked = run.asked[run.pending[0]]
        self._note(f"{asked.name} twice")
        first = self._try(asked)
        between = self._look()
        second = self._try(asked)
        after = self._look()
        assert _comparable(first) == _comparable(second), "a second attempt answers otherwise"
        assert between.traffic() == after.traffic(), "a second attempt changed something"
        if not isinstance(second, StillInFlight):
            self._task(run, Answer(run.pending[0], second))

    @happens(when=lambda self: self.run is not None and bool(self.run.pending))
    def an_answer_is_lost(self) -> None:
        run = self.run
        assert run is not None
        self._try(run.asked[run.pending[-1]])

    @happens(
        number=_numbers,
        decides=st.booleans(),
        when=lambda self: any(not one.is_history for run in self.runs for one in run.asked),
        weight=2,
    )
    def a_worker_that_was_paused_goes_on(self, number: int, decides: bool) -> None:  # noqa: FBT001 - drawn
        """An attempt that everybody has forgotten begins its transaction only now."""
        steps = [(run, asked) for run in self.runs for asked in run.asked if not asked.is_history]
        if decides:
            steps = [one for one in steps if one[1].name in {"switch", "switch_back"}] or steps
        self._come_late(*steps[-1 - number % len(steps)])

    def _come_late(self, run: Execution, asked: Asked) -> None:
        before = self._look()
        answer = self._try(asked, was_paused=True)
        after = self._look()
        if (
            isinstance(asked.step, Step)
            and before.deployment is not None
            and before.rollout(asked.step.rollout) is None
        ):
            self._note(f"{asked.name} late, of a rollout that was pruned")
            code = answer.type if isinstance(answer, ApplicationError) else None
            if isinstance(answer, SwitchAnswer) and answer.refusal is not None:
                code = answer.refusal.code.value
            assert code == RefusalCode.NOT_OWNER.value, f"{asked.name} of a rollout that was pruned: {answer!r}"
            assert before.tables == after.tables
        if not self._may_still_act(run, asked, before):
            self._note(f"{asked.name} late")
            assert before.traffic() == after.traffic(), f"a late attempt of {asked.name} changed traffic: {answer!r}"

    def _may_still_act(self, run: Execution, asked: Asked, before: Snapshot) -> bool:
        if isinstance(asked.step, BeginStep):
            return asked.is_pending
        row = before.rollout(asked.step.rollout)
        if row is None or row.outcome is not None:
            return False
        if isinstance(asked.step, CloseStep):
            return True  # What keeps a set from being closed is looked at each time.
        return asked.is_pending or run is not self.runs[-1]

    def _carry_out(self, run: Execution, number: int) -> None:
        self._check_that_no_timer_asks_while_it_is_held(run, run.asked[number])
        answer = self._try(run.asked[number])
        if not isinstance(answer, StillInFlight):
            self._task(run, Answer(number, answer))

    def _check_that_no_timer_asks_while_it_is_held(self, run: Execution, asked: Asked) -> None:
        """A switch that was refused for the moment is asked for again by a person, or after the signal that ends it."""
        step = asked.step
        if not isinstance(step, SwitchStep) or asked.name != "switch" or step.message is not None or run.was_reset:
            return
        rollout = self._look().rollout(step.rollout)
        if rollout is not None and rollout.awaits_signal is not None:
            told = self.world.run(self._was_refused(step))
            assert told, f"a timer asks for a switch while the rollout waits for {rollout.awaits_signal}"

    async def _was_refused(self, step: SwitchStep) -> bool:
        """Whether it is this decision that was refused, whose answer was lost."""
        async with self.world.table.transaction() as tx:
            return await tx.get(RefusedDecision, (step.rollout, step.decision)) is not None

    @property
    def _ahead(self) -> timedelta:
        """How far the clock of the workflows is ahead of the database's."""
        return self.now - datetime.now(UTC)

    def _try(self, asked: Asked, *, was_paused: bool = False) -> StepAnswer | StillInFlight:
        before, ahead = self._look(), self._ahead
        attempted_at = (asked.at if was_paused else self.now) - ahead
        try:
            answer = self.world.run(attempt(self.world.table, asked.name, asked.step, ahead, attempted_at))
        except StillInFlight as in_flight:
            return in_flight
        finally:
            rules.check(before, self._look())
        if isinstance(answer, SwitchAnswer):
            if asked.name == "switch" and answer.refusal is None and not answer.recorded:
                _check_windows(before, asked.step)
            done = "recorded" if answer.recorded else "committed" if answer.growth is None else "growing"
            self._note(f"{asked.name}: {done if answer.refusal is None else answer.refusal.code.value}")
        if isinstance(answer, GreenOpened) and answer.no_room:
            self._note("provision_green: no room")
        return answer

    @happens(opens=st.booleans(), when=lambda self: self.run is not None)
    def windows_open_or_close(self, opens: bool) -> None:  # noqa: FBT001 - drawn
        """Let the windows of the rollout open or close, as they do while time passes."""
        days = _WEEK if opens else [_HALF_A_WEEK_AWAY]
        self.world.run(
            self._execute(
                "update rollouts set policy = jsonb_set(policy, '{windows,0,days}', cast(:days as jsonb)) "
                "where outcome is null and jsonb_array_length(policy -> 'windows') > 0",
                days=json.dumps(days),
            )
        )

    # The keeper and its replicas.

    @happens(rounds=st.integers(1, 4), weight=2)
    def the_keeper_works(self, rounds: int) -> None:
        if not self.keeper.is_alive:
            return
        for _ in range(rounds):
            self.world.run(self.keeper.work())
            self._deliver(twice=False)

    @happens(weight=2)
    def the_keeper_reads(self) -> None:
        self.world.run(self.keeper.read())

    @happens(
        number=_numbers,
        what=st.sampled_from(["fill", "empty", "step"]),
        when=lambda self: bool(self.keeper.readings),
        weight=3,
    )
    def the_keeper_acts_on_what_it_has_read(self, number: int, what: str) -> None:
        kept = _nth(self.keeper.readings.values(), number)
        if what == "step" and kept.routes:
            self.world.run(self.keeper.look_after(kept, _nth(kept.routes, number)))
        elif what == "fill" and kept.state is RouteSetState.OPEN:
            self.world.run(self.keeper.fill(kept))
        elif what == "empty" and kept.state is RouteSetState.DRAINING:
            self.world.run(self.keeper.empty(kept))

    @happens(
        number=_numbers,
        health=_healths,
        newest=st.booleans(),
        when=lambda self: any(kept.routes for kept in self.keeper.readings.values()),
        weight=2,
    )
    def health_flaps(self, number: int, health: RouteHealthStatus, newest: bool) -> None:  # noqa: FBT001 - drawn
        with_routes = [one for one in self.keeper.readings.values() if one.routes]
        kept = with_routes[-1] if newest else _nth(with_routes, number)
        self.world.run(self.keeper.see(kept, _nth(kept.routes, number).route, health))

    @happens(
        number=_numbers,
        failed=st.sampled_from([True, True, False]),
        every=st.booleans(),
        newest=st.booleans(),
        when=lambda self: any(kept.routes for kept in self.keeper.readings.values()),
        weight=2,
    )
    def replicas_crash(self, number: int, failed: bool, every: bool, newest: bool) -> None:  # noqa: FBT001 - drawn
        with_routes = [one for one in self.keeper.readings.values() if one.routes]
        kept = with_routes[-1] if newest else _nth(with_routes, number)
        for route in kept.routes if every else [_nth(kept.routes, number)]:
            self.world.run(self.keeper.end(kept, route.route, failed=failed))

    @happens(twice=st.booleans(), weight=2)
    def signals_are_delivered(self, twice: bool) -> None:  # noqa: FBT001 - drawn
        self._deliver(twice=twice)

    def _deliver(self, *, twice: bool) -> None:
        """Give Temporal what is owed; ``twice`` when the keeper dies before it has written that down."""
        for owed in self.world.run(self.keeper.owed()):
            if self.run is not None:
                self._task(self.run, Message(owed.signal, dict(owed.payload)))
            if not twice:
                self.world.run(self.keeper.taken(owed))

    @happens()
    def the_keeper_falls_silent(self) -> None:
        self.world.run(self.keeper.expire())

    @happens(at_once=st.booleans())
    def another_keeper_takes_over(self, at_once: bool) -> None:  # noqa: FBT001 - drawn
        if at_once:
            self.world.run(self.keeper.expire())
        taken = self.world.run(self.keeper.take())
        assert taken is not self.keeper.is_alive or taken

    @happens(number=_numbers, when=lambda self: len(self.keeper.fences) > 1 and bool(self.keeper.readings))
    def a_keeper_that_lost_its_lease_writes(self, number: int) -> None:
        kept = _nth(self.keeper.readings.values(), number)
        fence = _nth(self.keeper.fences[:-1], number)
        before = self._look()
        assert not self.world.run(self.keeper.write_under_an_old_fence(kept, fence))
        assert self._look().traffic() == before.traffic()

    @happens()
    def the_keeper_compares_with_temporal(self) -> None:
        self.world.run(self.keeper.end_left_rollouts(is_running=self.run is not None))

    # Routers.

    @happens(number=_numbers, takes=st.booleans())
    def a_router_connects(self, number: int, takes: bool) -> None:  # noqa: FBT001 - drawn
        router = _nth(self.routers.all, number)
        self.world.run(self.routers.connect(router))
        if takes:
            self.world.run(self.routers.take(router, acknowledges=True))

    @happens(number=_numbers)
    def a_router_is_cut_off(self, number: int) -> None:
        _nth(self.routers.all, number).is_connected = False

    @happens(
        number=_numbers,
        acknowledges=st.booleans(),
        when=lambda self: any(one.is_connected for one in self.routers.all),
        weight=2,
    )
    def a_router_takes_what_is_new(self, number: int, acknowledges: bool) -> None:  # noqa: FBT001 - drawn
        router = _nth([one for one in self.routers.all if one.is_connected], number)
        self.world.run(self.routers.take(router, acknowledges=acknowledges))

    @happens(number=_numbers, when=lambda self: any(one.is_connected for one in self.routers.all))
    def a_router_refuses(self, number: int) -> None:
        self.world.run(self.routers.refuse(_nth([one for one in self.routers.all if one.is_connected], number)))

    @happens(running=st.integers(0, 2), weight=2)
    def routers_work(self, running: int) -> None:
        self.world.run(self.routers.work(running))

    @happens(number=_numbers)
    def a_router_is_scaled_in(self, number: int) -> None:
        self.world.run(self.routers.scale_in(_nth(self.routers.all, number)))

    # The world.

    @happens(
        everywhere=st.sampled_from([False, False, True]),
        begins=st.sampled_from([None, timedelta(minutes=5)]),
        ends=st.sampled_from([None, timedelta(minutes=7), timedelta(hours=1)]),
        rollbacks=st.booleans(),
    )
    def somebody_freezes(
        self,
        everywhere: bool = False,  # noqa: FBT001, FBT002 - drawn
        begins: timedelta | None = None,
        ends: timedelta | None = None,
        rollbacks: bool = True,  # noqa: FBT001, FBT002 - drawn
    ) -> None:
        if self.seen.deployment is not None:
            self.world.run(self._freeze(None if everywhere else DEPLOYMENT, begins, ends, rollbacks=rollbacks))

    async def _freeze(
        self, deployment: str | None, begins: timedelta | None, ends: timedelta | None, *, rollbacks: bool
    ) -> None:
        async def change(tx: AsyncSession) -> object:
            now = await database_now(tx)
            moments = {"begins_at": begins and now + begins, "ends_at": ends and now + ends}
            order = FreezeOrder(deployment=deployment, by="ann", door=Channel.CLI, rollbacks=rollbacks, **moments)
            return await freeze(tx, order)

        await self._order(change, "freeze all" if deployment is None else "freeze")

    @happens(everywhere=st.booleans(), weight=2)
    def somebody_ends_the_freezes(self, everywhere: bool = False) -> None:  # noqa: FBT001, FBT002 - drawn
        if self.seen.deployment is not None:
            self.world.run(self._thaw(None if everywhere else DEPLOYMENT))

    async def _thaw(self, deployment: str | None) -> None:
        order = UnfreezeOrder(deployment=deployment, by="ann", door=Channel.CLI)
        await self._order(lambda tx: unfreeze(tx, order), "unfreeze all" if deployment is None else "unfreeze")

    @happens(
        span=st.sampled_from([timedelta(seconds=5), timedelta(minutes=6), timedelta(minutes=11), timedelta(hours=2)]),
        weight=2,
    )
    def time_passes(self, span: timedelta) -> None:
        """Move all moments of the table back by as much as the workflow's clock goes forward."""
        self.world.run(self.pruning.move_back(span, self._ahead))
        self.world.run(self.routers.seen())
        target = self.now + span
        while self.run is not None and (due := [at for at in self.run.timers if at <= target]):
            self.now = max(self.now, min(due))
            self._task(self.run)
        self.now = max(self.now, target)

    @happens(
        span=st.sampled_from([timedelta(0), timedelta(hours=2), timedelta(hours=2), timedelta(days=2)]),
        settles=st.booleans(),
        by_hand=st.booleans(),
        weight=3,
    )
    def what_has_had_its_time_is_pruned(self, span: timedelta, settles: bool = False, by_hand: bool = False) -> None:  # noqa: FBT001, FBT002 - drawn
        """Let time pass, and prune as the keeper does once an hour, or an operator whenever he likes.

        Then every attempt of a step comes late whose rollout has gone.
        """
        for pause in (timedelta(minutes=6), timedelta(minutes=6), span) if settles else (span,):
            if settles:
                self.good_days_come(2)
            self.time_passes(pause)
            self.all_rules_hold()
        if not by_hand and not self.keeper.is_alive:
            return
        before = self._look()
        went = self.world.run(self._prune(by_hand=by_hand))
        for name in (one for one, count in went.items() if count):
            self._note(f"pruned: {name}")
        self.seen = self._look()
        rules.check(before, self.seen, prunes=True)
        self._check_routers(before, self.seen)
        again = self.world.run(self._prune(by_hand=by_hand))
        assert not again.total(), f"pruning once more takes more: {again}"
        # A keeper reads far more often than anything can be pruned.
        self.world.run(self.keeper.read())
        gone = {one.run_id for one in before.tables.rollouts if self.seen.rollout(one.id) is None}
        for run in self.runs:
            for asked in [one for one in run.asked if run.run_id in gone and not one.is_history]:
                self._come_late(run, asked)

    async def _prune(self, *, by_hand: bool) -> Tally:
        if by_hand:
            return await self.pruning.by_hand(None)
        return await self.pruning.by_keeper(self.keeper.fence)

    async def _execute(self, statement: str, **values: Any) -> None:
        async with self.world.table.transaction() as tx:
            await tx.execute(text(statement), values)

    # What must hold.

    @invariant()
    def all_rules_hold(self) -> None:
        if not self.runs:
            return
        after = self._look()
        rules.check(self.seen, after)
        self._check_routers(self.seen, after)
        for one in after.tables.spent:
            counted_in = self.counted.setdefault((one.verb, one.request_id), one.rollout)
            assert counted_in == one.rollout, f"{one} has counted in rollout {counted_in} before"
        if self.run is not None:
            self._note(f"phase {self.run.status().phase.value}")
            self._check_timers(self.run, after)
        self.seen = after

    def _check_timers(self, run: Execution, after: Snapshot) -> None:
        """A rollout goes by the policy that the table has: the switch judges by it whether a timer may ask."""
        row = next((one for one in after.tables.rollouts if one.run_id == run.run_id), None)
        judges = any(one.is_pending and one.name == "judge" for one in run.asked)
        known = run.status().policy
        if row is None or known is None or run.was_reset or judges:
            return
        written = read_policy(row.policy)
        assert [getattr(known, key) for key in TIMER_KEYS] == [getattr(written, key) for key in TIMER_KEYS]

    def _check_routers(self, before: Snapshot, after: Snapshot) -> None:
        """No replica is stopped, and no set with one that runs is gone, while a live router may send it requests."""
        ran = {one.id: one.status for one in before.tables.routes}
        running = {(one.host, one.port) for one in before.tables.routes if one.status is RouteStatus.RUNNING}
        for router in self.routers.all:
            router.was_given_up = router.was_given_up or router.node not in after.live_routers
            if router.was_given_up:
                continue
            addresses = {(one.host, one.port) for one in router.uses}
            for endpoint in router.uses:
                is_gone = after.state_of(endpoint.route_set) is RouteSetState.GONE
                assert not (is_gone and (endpoint.host, endpoint.port) in running), (
                    f"{router.node} uses set {endpoint.route_set}, which is gone"
                )
            for route in after.tables.routes:
                if route.status is RouteStatus.TERMINATING and ran.get(route.id) is RouteStatus.RUNNING:
                    assert (route.host, route.port) not in addresses, f"{router.node} uses {route}, which is stopped"

    # The end: whatever happened, good days let every rollout end.

    def teardown(self) -> None:
        try:
            if self.runs:
                self._let_it_end()
        finally:
            for run in self.runs:
                run.close()

    def _let_it_end(self) -> None:
        world = self.world
        if self._look().deployment is not None:
            for deployment in (None, DEPLOYMENT):
                world.run(self._thaw(deployment))
        if not self.keeper.is_alive:
            world.run(self.keeper.expire())
            world.run(self.keeper.take())
        for router in self.routers.all:
            world.run(self.routers.connect(router))
        for day in range(_ROUNDS):
            if self._has_settled():
                return
            self._good_day()
            if self.run is None:
                world.run(self.keeper.end_left_rollouts(is_running=False))
            elif day == _PATIENCE:
                self._task(self.run, Message(contracts.ABORT, {"by": "bob"}))
            self.the_worker_works(_SEVERAL)
            self.time_passes(timedelta(minutes=6))
            self.all_rules_hold()
        raise AssertionError(f"nothing disturbs it any more, yet it does not end: {self._told()}")

    def _has_settled(self) -> bool:
        table = self._look()
        if self.run is not None or any(one.outcome is None for one in table.tables.rollouts):
            return False
        if any(one.due_at for one in table.tables.waiting):
            return False
        live = None if table.deployment is None else table.deployment.live_set
        for one in table.tables.sets:
            if one.state is RouteSetState.DRAINING:
                return False
            if one.id == live and len(table.routes_of(one.id)) != one.wanted:
                return False
        return True

    def _told(self) -> str:
        status = "" if self.run is None else str(self.run.status())
        return f"{status}\n{self._look()}"


def _check_no_timer_is_earlier(before: Progress, after: Progress) -> None:
    """Only other timers, the end of a freeze and another phase make a timer earlier: no pause and no resume does."""
    if (before.phase, before.policy, before.freezes) != (after.phase, after.policy, after.freezes):
        return
    was, fires = _moments(before), _moments(after)
    for name in was.keys() & fires.keys():
        assert fires[name] >= was[name], f"{name} was to fire at {was[name]}, and fires at {fires[name]}"


def _moments(progress: Progress) -> dict[str, datetime]:
    """Return when the timers of a phase fire, as if nothing held them up."""
    if progress.phase is RolloutPhase.BAKING:
        return dict([bake_timer(progress)])
    began = progress.unverified_since or progress.since
    if progress.phase in {RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING}:
        return {PROVISIONING_TIMER: began + progress.policy.provisioning_deadline}
    return dict(promotion_moments(progress)) if progress.phase is RolloutPhase.AWAITING_PROMOTION else {}


def _check_windows(before: Snapshot, step: BaseModel) -> None:
    """No timer switches outside of its windows, and no person outside of those for everyone, but with force."""
    assert isinstance(step, SwitchStep)
    if step.grown:
        # The windows were open when that was decided, which was looked at then.
        return
    row = before.rollout(step.rollout)
    if row is None or row.switch_epoch is not None or not row.gated:
        return
    closed = [one for one in row.policy["windows"] if one["days"] != _WEEK]
    command = None if step.message is None else step.message.command
    if command is None:
        assert not closed, "a timer switched outside of its windows"
    elif not (isinstance(command, PromoteCommand) and command.force):
        assert all(one["applies_to"] == "timer" for one in closed), "a person switched outside of windows for everyone"


def _nth(of: Iterable[T], number: int) -> T:
    """Return the element with a number, which counts round."""
    found = list(of)
    return found[number % len(found)]


def _named(result: object) -> str:
    if isinstance(result, RolloutResult):
        return result.outcome.value
    if isinstance(result, ApplicationError):
        return str(result.type)
    return "cancelled"


def _comparable(answer: StepAnswer | StillInFlight) -> object:
    """Return what two answers of one step must have in common; the first switch also tells what it counted."""
    if isinstance(answer, SwitchAnswer):
        return answer.model_copy(update={"healthy_green": 0, "required": 0})
    if isinstance(answer, StillInFlight):
        return StillInFlight
    if isinstance(answer, GreenOpened):
        # There may be room by now.
        return GreenOpened
    if isinstance(answer, OpeningTimes):
        return (answer.binds_people, answer.timers is None)
    if isinstance(answer, FreezesRead):
        return tuple(one.id for one in answer.freezes)
    if isinstance(answer, ApplicationError):
        return (answer.type, answer.message)
    return answer
