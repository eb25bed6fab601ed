"""The activities that a rollout asks for, by name, with their types and timeouts.

By name, because importing their modules would put the database driver and the client into every workflow's sandbox
(measured: about 1 MB a waiting rollout). A test compares this list with what the worker registers.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, TypeVar

from pydantic import BaseModel
from temporalio.common import RetryPolicy

from celadon.domain.language.steps import (
    BeginStep,
    Begun,
    CloseStep,
    DrainEnd,
    Finished,
    FinishStep,
    GreenOpened,
    Judged,
    JudgeStep,
    PhaseStep,
    Step,
    SwitchAnswer,
    SwitchStep,
)

InputT = TypeVar("InputT", bound=BaseModel)
OutputT = TypeVar("OutputT")

TRANSACTION: Final = timedelta(seconds=10)
"""Start-to-close of a table transaction; a statement gives up after half of it."""

GRACE: Final = timedelta(seconds=10)
"""What an activity that waits gets beyond its own deadline."""

HEARTBEAT: Final = timedelta(seconds=1)
"""So long after a worker was killed its transaction, or its wait for routers, goes on with another one."""

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
    returns: type[OutputT]
    start_to_close: timedelta = TRANSACTION
    heartbeat: timedelta = HEARTBEAT


BEGIN: Final = ActivityCall("begin", BeginStep, Begun)
PROVISION_GREEN: Final = ActivityCall("provision_green", Step, GreenOpened)
ENTER_PHASE: Final = ActivityCall("enter_phase", PhaseStep, type(None))
JUDGE: Final = ActivityCall("judge", JudgeStep, Judged)
ASK_FOR_EDGE: Final = ActivityCall("ask_for_edge", Step, type(None))
SWITCH: Final = ActivityCall("switch", SwitchStep, SwitchAnswer)
SWITCH_BACK: Final = ActivityCall("switch_back", SwitchStep, SwitchAnswer)
DRAIN: Final = ActivityCall("drain", CloseStep, DrainEnd, heartbeat=DRAIN_HEARTBEAT)
FINISH: Final = ActivityCall("finish", FinishStep, Finished)

ALL_CALLS: Final = (BEGIN, PROVISION_GREEN, ENTER_PHASE, JUDGE, ASK_FOR_EDGE, SWITCH, SWITCH_BACK, DRAIN, FINISH)
