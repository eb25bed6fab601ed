"""What a worker does with a step that a workflow asks for: one transaction of the real table, without the waiting."""

from typing import Final

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.steps import (
    BeginStep,
    CloseStep,
    DrainEnd,
    FinishStep,
    JudgeStep,
    PhaseStep,
    Step,
    SwitchAnswer,
    SwitchStep,
)
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.engine import Table
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.finish import finish
from celadon.table.rollouts.route_sets import ask_for_edge, close_set, enter_phase, judge, open_green, read_drain
from celadon.table.rollouts.switch import switch, switch_back

TRUSTING: Final = Authority(unsigned=Unsigned.ALL)

StepAnswer = BaseModel | ApplicationError | None


class StillInFlight(Exception):  # noqa: N818 - no error: the step waits
    """The set of a drain still has replicas."""


async def attempt(table: Table, name: str, step: BeginStep | Step) -> StepAnswer:
    """Carry out one attempt of a step.

    Raises:
        StillInFlight: it is a drain that lasts.

    """
    try:
        return await _attempt(table, name, step)
    except RefusedError as error:
        refusal = error.refusal
        return ApplicationError(str(refusal), refusal, type=refusal.code.value, non_retryable=True)


async def _attempt(table: Table, name: str, step: BeginStep | Step) -> BaseModel | None:
    match name, step:
        case "begin", BeginStep():
            async with table.transaction() as tx:
                return await begin(tx, step, TRUSTING)
        case "provision_green", Step():
            async with table.transaction() as tx:
                return await open_green(tx, step)
        case "enter_phase", PhaseStep():
            async with table.transaction() as tx:
                await enter_phase(tx, step)
            return None
        case "judge", JudgeStep():
            async with table.transaction() as tx:
                return await judge(tx, step, TRUSTING)
        case "ask_for_edge", Step():
            async with table.transaction() as tx:
                await ask_for_edge(tx, step)
            return None
        case "switch" | "switch_back", SwitchStep():
            return await _switch(table, name, step)
        case "drain", CloseStep():
            return await _drain(table, step)
        case "finish", FinishStep():
            async with table.transaction() as tx:
                return await finish(tx, step)
        case _:
            raise NotImplementedError(f"no attempt of the step {name!r} is known here: add it")


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
