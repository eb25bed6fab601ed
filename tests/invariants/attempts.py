"""What a worker does with a step that a workflow asks for: one transaction of the real table, without the waiting."""

from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.exceptions import ApplicationError

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.commands import PauseCommand
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.freeze import FreezesRead
from celadon.domain.language.next_rollout import NextRollout
from celadon.domain.language.pause import Pause
from celadon.domain.language.steps import (
    BeginStep,
    CloseStep,
    DrainEnd,
    FinishStep,
    FreezesStep,
    JudgeStep,
    Message,
    PhaseStep,
    Step,
    SwitchAnswer,
    SwitchStep,
    WindowStep,
)
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.engine import Table
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.finish import finish
from celadon.table.rollouts.next_rollouts import hold_refused, read_successor
from celadon.table.rollouts.route_sets import (
    ask_for_edge,
    close_set,
    enter_phase,
    judge,
    open_green,
    read_drain,
    read_own_freezes,
)
from celadon.table.rollouts.switch import switch, switch_back
from celadon.table.rollouts.windows import look_up_windows

SIGNED: Final = "signed"
TRUSTING: Final = Authority(unsigned=Unsigned.ALL, verifies=lambda _, signature: signature == SIGNED)
"""Lets unsigned messages do everything, and believes whatever says that it is signed."""

StepAnswer = BaseModel | ApplicationError | None


class StillInFlight(Exception):  # noqa: N818 - no error: the step waits
    """The set of a drain still has replicas."""


async def attempt(
    table: Table, name: str, step: BeginStep | Step, ahead: timedelta, attempted_at: datetime
) -> StepAnswer:
    """Carry out one attempt of a step.

    Args:
        table: the real one.
        name: of the activity.
        step: what it is told.
        ahead: how far the clock of the workflows is ahead of the database's.
        attempted_at: when the attempt began, by the database's clock: long ago when it was paused.

    Raises:
        StillInFlight: it is a drain that lasts.

    """
    try:
        return await _attempt(table, name, step, ahead, attempted_at)
    except RefusedError as error:
        refusal = error.refusal
        if isinstance(step, BeginStep) and isinstance(step.request, NextRollout):
            async with table.transaction() as tx:
                await hold_refused(tx, step.request, error)
        return ApplicationError(str(refusal), refusal, type=refusal.code.value, non_retryable=True)


async def _attempt(
    table: Table, name: str, step: BeginStep | Step, ahead: timedelta, attempted_at: datetime
) -> BaseModel | None:
    step = _lapsing(step, ahead)
    if isinstance(step, SwitchStep):
        return await _switch(table, name, step)
    if isinstance(step, CloseStep):
        return await _drain(table, step)
    async with table.transaction() as tx:
        if isinstance(step, BeginStep):
            return await begin(tx, step, TRUSTING, attempted_at=attempted_at)
        return await _transact(tx, name, step, ahead)


def _lapsing(step: BeginStep | Step, ahead: timedelta) -> BeginStep | Step:
    """Return a step whose signed messages lapse by the database's clock."""
    if isinstance(step, SwitchStep) and step.message is not None:
        return step.model_copy(update={"message": _lapsing_message(step.message, ahead)})
    if isinstance(step, JudgeStep):
        return step.model_copy(update={"messages": tuple(_lapsing_message(one, ahead) for one in step.messages)})
    return step


def _lapsing_message(message: Message, ahead: timedelta) -> Message:
    command = message.command
    until = command.valid_until
    lapses = command.model_copy(update={"valid_until": until and until - ahead})
    if isinstance(lapses, PauseCommand):
        lapses = lapses.model_copy(update={"until": lapses.until and lapses.until - ahead})
    return message.model_copy(update={"command": lapses})


async def _transact(tx: AsyncSession, name: str, step: Step, ahead: timedelta) -> BaseModel | None:
    """Carry out a step that is one transaction."""
    match name, step:
        case "read_successor", Step():
            return await read_successor(tx, step, TRUSTING)
        case "provision_green", Step():
            return await open_green(tx, step)
        case "enter_phase", PhaseStep():
            since = step.freezes_since and step.freezes_since - ahead
            read = await enter_phase(tx, step.model_copy(update={"freezes_since": since}))
            return None if read is None else _seen_ahead(read, ahead)
        case "read_freezes", FreezesStep():
            since = step.since and step.since - ahead
            return _seen_ahead(await read_own_freezes(tx, step.model_copy(update={"since": since})), ahead)
        case "judge", JudgeStep():
            return await judge(tx, step, TRUSTING)
        case "ask_for_edge", Step():
            asked = await ask_for_edge(tx, step)
            return asked.model_copy(update={"paused": _pause_ahead(asked.paused, ahead)})
        case "look_up_windows", WindowStep():
            return await look_up_windows(tx, step)
        case "finish", FinishStep():
            return await finish(tx, step)
        case _:
            raise NotImplementedError(f"no attempt of the step {name!r} is known here: add it")


def _pause_ahead(pause: Pause | None, ahead: timedelta) -> Pause | None:
    if pause is None:
        return None
    return pause.model_copy(update={"since": pause.since + ahead, "until": pause.until and pause.until + ahead})


def _seen_ahead(read: FreezesRead, ahead: timedelta) -> FreezesRead:
    """Return what was read with its moments by a clock that is so far ahead of the database's."""
    return FreezesRead(
        at=read.at + ahead,
        freezes=tuple(
            one.model_copy(update={"begins_at": one.begins_at + ahead, "ends_at": one.ends_at and one.ends_at + ahead})
            for one in read.freezes
        ),
    )


async def _switch(table: Table, name: str, step: SwitchStep) -> SwitchAnswer:
    change = switch if name == "switch" else switch_back
    async with table.transaction() as tx:
        answer = await change(tx, step, TRUSTING)
    if answer.refusal is not None or answer.epoch is None:
        return answer
    async with table.transaction() as tx:
        serving = await read_acknowledgement(tx, step.deployment, answer.epoch)
    return answer.model_copy(update={"acknowledged_by": serving.acknowledged_by, "silent": serving.silent})


async def _drain(table: Table, step: CloseStep) -> DrainEnd:
    async with table.transaction() as tx:
        refused = await close_set(tx, step)
    if refused is not None:
        return refused
    async with table.transaction() as tx:
        end = await read_drain(tx, step)
    if end is None:
        raise StillInFlight
    return end
