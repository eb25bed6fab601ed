"""Whatever comes to whichever handler, and as whichever start: a rollout stays decidable, and what it carries small.

The names are those of the workflow's handlers, the keys those of the models that they read. Values are random, and
among them are giants, moments and numbers out of range, and texts that no database keeps; messages come in crowds, too.
"""

import asyncio
import contextlib
import itertools
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.common import RawValue
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from celadon.domain.language import contracts
from celadon.domain.language.attestation import START_MEMO
from celadon.domain.language.base_models import written_name
from celadon.domain.language.commands import PauseCommand, PromoteCommand, RescheduleCommand
from celadon.domain.language.limits import REFUSAL_BYTES, TRANSPORTED_BYTES
from celadon.domain.language.messages import (
    BlueChanged,
    GateChanged,
    GreenChanged,
    KeeperBack,
    RolloutRequest,
    RoomChanged,
    RoutersAcknowledged,
    StartMemo,
)
from celadon.domain.language.next_rollout import SuccessorWaits
from celadon.domain.language.policy import BlueGreenPolicy
from tests.workflows.conftest import DEADLINE_SECONDS, RunningRollout, Script, ScriptedSteps
from workflows.rollout import BlueGreenRollout

pytestmark = pytest.mark.parts

HANDLERS: Final = workflow._Definition.must_from_class(BlueGreenRollout)  # noqa: SLF001 - what Temporal would call
SIGNALS: Final = sorted(name for name in HANDLERS.signals if name is not None)
UPDATES: Final = sorted(name for name in HANDLERS.updates if name is not None)
READ: Final = (
    PromoteCommand,
    PauseCommand,
    RescheduleCommand,
    GreenChanged,
    BlueChanged,
    KeeperBack,
    GateChanged,
    RoomChanged,
    RoutersAcknowledged,
    SuccessorWaits,
)
MESSAGE_KEYS: Final = sorted(
    {written_name(name, field) for model in READ for name, field in model.model_fields.items()}
)
POLICY_KEYS: Final = sorted(BlueGreenPolicy.model_fields)

UNITS: Final = {"letters": "x", "accents": "é", "faces": "\U0001f600", "zeros": "0", "spaces": " "}
GIANT: Final = 1_200_000
HUGE: Final = "a number of 5,000 digits"
"""Stands for it, for Python does not write it."""
GIANTS: Final = {f"a giant of {name}": unit * (GIANT // len(unit.encode())) for name, unit in UNITS.items()}
"""Texts, and what stands for them in what is printed."""
MOST_DISTANT: Final = (
    "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00+12:00",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
)
WORDS = st.one_of(
    st.text(max_size=300),
    st.text(st.characters(codec="utf-8"), max_size=3000),
    st.sampled_from(sorted(GIANTS)),
    st.sampled_from(["\0", "a\0b", "\ud800", "\u202e", "0" * 500 + "%", "50" + " " * 500 + "%", "9" * 500 + "s"]),
)
MOMENTS = st.one_of(
    st.sampled_from(MOST_DISTANT),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-12)), timezone(timedelta(hours=14))])).map(
        datetime.isoformat
    ),
)
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([2**31, 2**63, 10**4000, -1]),
    st.just(HUGE),
    st.floats(allow_nan=True, allow_infinity=True),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, MOMENTS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(st.sampled_from(["promote", "abort"]), min_size=50, max_size=300),
        st.dictionaries(st.text(max_size=30), inner, max_size=4),
    ),
    max_leaves=6,
)
MESSAGE = st.one_of(
    VALUES,
    st.dictionaries(st.one_of(st.sampled_from(MESSAGE_KEYS), st.text(max_size=30)), VALUES, max_size=6),
    # What is right but for one value.
    st.builds(
        lambda key, value: {"by": "ann", "reason": "r" * 2000, key: value},
        st.sampled_from(MESSAGE_KEYS),
        st.one_of(MOMENTS, NUMBERS, WORDS),
    ),
)
SENT = st.tuples(
    st.one_of(
        st.tuples(st.just("signal"), st.one_of(st.sampled_from(SIGNALS), st.text("abc_", min_size=1, max_size=20))),
        st.tuples(st.just("update"), st.sampled_from(UPDATES)),
    ),
    MESSAGE,
    st.sampled_from([1, 1, 1, 2, 120]),
)
SETTINGS = settings(
    max_examples=8,
    deadline=None,
    # A smaller example would take minutes on real parts; the failing one is printed.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
_numbers = itertools.count(1)


def raw(value: object) -> RawValue:
    """Return a value as JSON that Python writes, also where that is none by the standard."""
    text = json.dumps(value).replace(json.dumps(HUGE), "1" * 5000)
    for name, giant in GIANTS.items():
        text = text.replace(name, giant)
    data = text.encode()
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=data))


@pytest.fixture
def rollouts(temporal_env: WorkflowEnvironment, scripted_steps: ScriptedSteps) -> "Rollouts":
    """Return what opens a rollout for each example."""
    return Rollouts(temporal_env, scripted_steps)


class Rollouts:
    """Opens rollouts."""

    def __init__(self, env: WorkflowEnvironment, steps: ScriptedSteps) -> None:
        self._env = env
        self._steps = steps

    def new(self) -> RunningRollout:
        """Return another one that is not started yet."""
        deployment = f"random{next(_numbers)}"
        script = self._steps.scripts[deployment] = Script()
        return RunningRollout(self._env, deployment, script, None)


async def _send(rollout: RunningRollout, kind: str, name: str, payload: object, times: int) -> None:
    async def once() -> None:
        # The server refuses what is too large for it and what comes to a rollout that has ended, and gives up updates
        # of a crowd in whose midst it does so.
        with contextlib.suppress(RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError):
            if kind == "signal":
                await rollout.handle.signal(name, raw(payload))
            else:
                await rollout.handle.start_update(name, raw(payload), wait_for_stage=WorkflowUpdateStage.ACCEPTED)

    many = 1 if any(giant in json.dumps(payload) for giant in GIANTS) else times
    await asyncio.gather(*(once() for _ in range(many)))


async def _ends_when_it_is_told(rollout: RunningRollout) -> None:
    """Abort, as often as it takes; a rollout whose task fails at every attempt would never end."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            described = await rollout.handle.describe()
            if described.status is not WorkflowExecutionStatus.RUNNING:
                return
            with contextlib.suppress(RPCError):  # It may have ended since.
                await rollout.handle.signal(contracts.ABORT, {"by": "ann"})
            await asyncio.sleep(0.1)


@given(sent=st.lists(SENT, min_size=1, max_size=6), bakes=st.booleans())
@example(sent=[(("signal", contracts.PAUSE), {"until": MOST_DISTANT[0]}, 1)], bakes=False)
@example(sent=[(("signal", contracts.PAUSE), {"until": MOST_DISTANT[3]}, 1)], bakes=True)
@SETTINGS
async def test_whatever_is_sent_a_rollout_stays_decidable_and_small(
    rollouts: Rollouts, sent: list[tuple[tuple[str, str], object, int]], *, bakes: bool
) -> None:
    rollout = rollouts.new()
    await (rollout.bake(bake="5h") if bakes else rollout.wait_for_promotion())

    for (kind, name), payload, times in sent:
        await _send(rollout, kind, name, payload, times)

    status = await rollout.status()
    assert len(status.model_dump_json()) < TRANSPORTED_BYTES
    for one in status.refused:
        assert len(one.refusal.message.encode()) + len(one.refusal.next_step.encode()) <= REFUSAL_BYTES
    await _ends_when_it_is_told(rollout)
    for _, step in rollout.script.asked:
        assert len(step.model_dump_json()) < TRANSPORTED_BYTES


POLICY = st.dictionaries(st.sampled_from(POLICY_KEYS), VALUES, max_size=3)
REQUEST = st.one_of(
    VALUES,
    st.builds(
        lambda more: {"revision": 2} | more,
        st.dictionaries(st.sampled_from(sorted(RolloutRequest.model_fields)), VALUES, max_size=3),
    ),
    st.builds(lambda policy: {"revision": 2, "policy": policy}, POLICY),
)
MEMO = st.one_of(
    st.none(),
    VALUES,
    st.dictionaries(st.sampled_from(sorted(StartMemo.model_fields)), VALUES, max_size=3),
    st.builds(lambda text: {"request_id": text}, WORDS),
)


@given(request=REQUEST, memo=MEMO)
@example(request={"revision": 2}, memo={"request_id": "x" * 20_000})
@example(request={"revision": 2, "policy": {"auto_promote": True, "promote_at": MOST_DISTANT[0]}}, memo=None)
@settings(SETTINGS, max_examples=40)
async def test_whatever_a_start_says_it_begins_with_a_small_step_or_fails(
    client: Client, rollouts: Rollouts, request: object, memo: object
) -> None:
    rollout = rollouts.new()
    if isinstance(request, dict) and "deployment" not in request:
        request = request | {"deployment": rollout.deployment}
    try:
        handle = await client.start_workflow(
            contracts.WORKFLOW_TYPE,
            raw(request),
            id=contracts.workflow_id(rollout.deployment),
            task_queue=contracts.TASK_QUEUE,
            memo=None if memo is None else {START_MEMO: raw(memo)},
        )
    except RPCError:
        return  # Too large for the server.

    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            described = await handle.describe()
            if described.status is not WorkflowExecutionStatus.RUNNING or rollout.script.asked:
                break
            await asyncio.sleep(0.02)
    for _, step in rollout.script.asked:
        assert len(step.model_dump_json()) < TRANSPORTED_BYTES
    if described.status is WorkflowExecutionStatus.RUNNING:
        await handle.terminate()


def test_the_handlers_are_those_of_the_contract() -> None:
    named = {value for name, value in vars(contracts).items() if name.isupper() and isinstance(value, str)}

    assert {*SIGNALS, *UPDATES} <= named
