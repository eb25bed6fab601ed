"""The activities that a rollout or ``Ask`` asks for, by name, with their types and timeouts.

By name, because importing their modules would put the database driver and the client into every workflow's sandbox
(measured: about 1 MB a waiting rollout). A test compares this list with what the worker registers.
"""

from dataclasses import dataclass
from datetime import timedelta
from types import UnionType
from typing import Final, Generic, TypeVar

from pydantic import BaseModel
from temporalio.common import RetryPolicy

from celadon.domain.language.freeze import FreezesRead
from celadon.domain.language.next_rollout import SuccessorRead
from celadon.domain.language.opening import OpeningTimes
from celadon.domain.language.scheduling import AskAnswer, AskStep
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

InputT = TypeVar("InputT", bound=BaseModel)
OutputT = TypeVar("OutputT")

TRANSACTION: Final = timedelta(seconds=10)
"""Start-to-close of a table transaction; a statement gives up after half of it."""

GRACE: Final = timedelta(seconds=10)
"""What an activity that waits gets beyond its own deadline."""

HEARTBEAT: Final = timedelta(seconds=1)
"""So long after a worker was killed its transaction, or its wait for routers, goes on with another one."""

ASKING: Final = timedelta(seconds=90)
"""How long one attempt may take to give a command that was scheduled: a rollout's answer, and some grace."""

DRAIN_HEARTBEAT: Final = timedelta(seconds=3)
"""A drain may last for long, and each heartbeat costs something."""

RETRY: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=10),
)
"""Without end: whatever dies comes back. A refusal is not retryable by itself."""


@dataclass(frozen=True)
class ActivityCall(Generic[InputT, OutputT]):
    """One activity: its name, what it takes and what it returns."""

    name: str
    takes: type[InputT]
    returns: type[OutputT] | UnionType
    start_to_close: timedelta = TRANSACTION
    heartbeat: timedelta = HEARTBEAT


BEGIN: Final = ActivityCall("begin", BeginStep, Begun)
PROVISION_GREEN: Final = ActivityCall("provision_green", Step, GreenOpened)
ENTER_PHASE: Final[ActivityCall[PhaseStep, FreezesRead | None]] = ActivityCall(
    "enter_phase", PhaseStep, FreezesRead | None
)
READ_FREEZES: Final = ActivityCall("read_freezes", FreezesStep, FreezesRead)
READ_SUCCESSOR: Final = ActivityCall("read_successor", Step, SuccessorRead)
JUDGE: Final = ActivityCall("judge", JudgeStep, Judged)
ASK_FOR_EDGE: Final[ActivityCall[Step, EdgeAnswer]] = ActivityCall("ask_for_edge", Step, EdgeAnswer)
LOOK_UP_WINDOWS: Final = ActivityCall("look_up_windows", WindowStep, OpeningTimes)
SWITCH: Final = ActivityCall("switch", SwitchStep, SwitchAnswer)
SWITCH_BACK: Final = ActivityCall("switch_back", SwitchStep, SwitchAnswer)
DRAIN: Final = ActivityCall("drain", CloseStep, DrainEnd, heartbeat=DRAIN_HEARTBEAT)
FINISH: Final = ActivityCall("finish", FinishStep, Finished)
ASK: Final = ActivityCall("ask", AskStep, AskAnswer, start_to_close=ASKING, heartbeat=DRAIN_HEARTBEAT)

ALL_CALLS: Final = (
    BEGIN,
    PROVISION_GREEN,
    ENTER_PHASE,
    READ_FREEZES,
    READ_SUCCESSOR,
    JUDGE,
    ASK_FOR_EDGE,
    LOOK_UP_WINDOWS,
    SWITCH,
    SWITCH_BACK,
    DRAIN,
    FINISH,
    ASK,
)
