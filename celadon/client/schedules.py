"""Schedules as Temporal has them: made, deleted, and looked at with what came of their last firing."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import JsonValue
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.exceptions import FailureError
from temporalio.service import RPCError, RPCStatusCode

from celadon.client.patience import QUERY_PATIENCE, NoAnswerError
from celadon.domain.decisions.timetable import Timetable
from celadon.domain.language import contracts
from celadon.domain.language.base_models import Record
from celadon.domain.language.limits import REFUSAL_BYTES, clip, echo
from celadon.domain.language.shown_text import all_lines

MOST_LISTED: Final = 200
"""Schedules of all deployments that are looked through for those of one."""


class FiringState(StrEnum):
    """What came of a firing."""

    ASKING = "asking"
    """It has not been answered yet."""
    DONE = "done"
    FAILED = "failed"
    """It was refused, or could not be asked in time."""
    FORGOTTEN = "forgotten"
    """Temporal does not keep what came of it any more."""


class Firing(Record):
    """The last time that a schedule fired."""

    scheduled_at: datetime
    """The moment for which it was scheduled."""
    workflow_id: str
    """The id of the workflow that asked, in Temporal."""
    run_id: str
    """Its run."""
    state: FiringState
    """What came of it."""
    said: str = ""
    """What was answered, or why it failed."""


class KnownSchedule(Record):
    """A schedule as Temporal has it."""

    id: str
    command: str
    """What it asks for; empty when its input does not say."""
    argument: dict[str, JsonValue]
    when: str
    """Its moments, in the words of its maker where Temporal keeps them."""
    paused: bool
    note: str
    """Why it is paused, or what else was noted."""
    next_at: datetime | None
    """When it fires next; ``None`` when it does not."""
    last: Firing | None
    """``None`` when it has never fired."""


class ScheduleClient:
    """The schedules of one Temporal namespace that start the workflow ``Ask``."""

    def __init__(self, client: Client, task_timeout: timedelta = contracts.WORKFLOW_TASK_TIMEOUT) -> None:
        """Speak through ``client``; a worker has ``task_timeout`` for each task of the workflows that are started."""
        self._task_timeout = task_timeout
        self._client = client

    async def create(
        self,
        schedule: str,
        ask: Mapping[str, JsonValue],
        *,
        at: datetime | None,
        timetable: Timetable | None,
        told: str,
        replace: bool,
    ) -> None:
        """Create a schedule that fires late by ten minutes at most, and never beside its own last firing.

        Args:
            schedule: its id.
            ask: the input of the workflow ``Ask``.
            at: its one moment.
            timetable: else its moments.
            told: what people read of it in Temporal's UI.
            replace: whether one of the same id that is there is replaced; else it stays.

        Raises:
            NoAnswerError: Temporal did not answer.

        """
        wanted = Schedule(
            action=ScheduleActionStartWorkflow(
                contracts.ASK_TYPE,
                dict(ask),
                id=f"ask-{schedule.removeprefix(contracts.SCHEDULE_ID_PREFIX)}",
                task_queue=contracts.TASK_QUEUE,
                task_timeout=self._task_timeout,
                static_summary=told,
            ),
            spec=_spec(at, timetable),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=contracts.SCHEDULE_CATCH_UP),
            state=ScheduleState(
                note=told,
                limited_actions=at is not None,
                remaining_actions=1 if at is not None else 0,
            ),
        )
        try:
            await self._client.create_schedule(schedule, wanted, rpc_timeout=QUERY_PATIENCE)
        except ScheduleAlreadyRunningError:
            if replace:
                await self.delete(schedule)
                await self.create(schedule, ask, at=at, timetable=timetable, told=told, replace=False)
        except RPCError as error:
            raise _no_answer(error) from error

    async def delete(self, schedule: str) -> bool:
        """Delete a schedule; false when Temporal has none of this id.

        Raises:
            NoAnswerError: Temporal did not answer.

        """
        try:
            await self._client.get_schedule_handle(schedule).delete(rpc_timeout=QUERY_PATIENCE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise _no_answer(error) from error
        return True

    async def find(self, schedule: str, deployment: str) -> KnownSchedule | None:
        """Return a schedule that asks for commands of a deployment; ``None`` when Temporal has none of this id.

        Raises:
            NoAnswerError: Temporal did not answer.

        """
        try:
            described = await self._client.get_schedule_handle(schedule).describe(rpc_timeout=QUERY_PATIENCE)
            return await self._known(described, deployment)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise _no_answer(error) from error

    async def of_deployment(self, deployment: str, known: Collection[str]) -> tuple[tuple[KnownSchedule, ...], bool]:
        """Return the schedules of a deployment by id, and whether others may have been left out.

        Args:
            deployment: whose.
            known: ids that are looked at in any case.

        Raises:
            NoAnswerError: Temporal did not answer.

        """
        ids, left_out = set(known), False
        try:
            async for one in await self._client.list_schedules(page_size=MOST_LISTED, rpc_timeout=QUERY_PATIENCE):
                if len(ids) >= MOST_LISTED + len(known):
                    left_out = True
                    break
                action = None if one.schedule is None else getattr(one.schedule.action, "workflow", "")
                if action == contracts.ASK_TYPE and _may_be_of(one.id, deployment):
                    ids.add(one.id)
        except RPCError as error:
            raise _no_answer(error) from error
        schedules = [await self.find(identity, deployment) for identity in sorted(ids)]
        return tuple(one for one in schedules if one is not None), left_out

    async def _known(self, described: ScheduleDescription, deployment: str) -> KnownSchedule | None:
        """Return what is known of a schedule; ``None`` when it is about another deployment."""
        action = described.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != contracts.ASK_TYPE:
            return None
        content = await self._input_of(action)
        if content.get("deployment") != deployment:
            return None
        argument = content.get("argument")
        state, info = described.schedule.state, described.info
        ended = state.limited_actions and not state.remaining_actions
        return KnownSchedule(
            id=described.id,
            command=echo(content.get("command")),
            argument=argument if isinstance(argument, dict) else {},
            when=_when(described.schedule.spec),
            paused=state.paused,
            note=clip(all_lines((state.note or "")[:REFUSAL_BYTES]), REFUSAL_BYTES),
            next_at=None if state.paused or ended else next(iter(info.next_action_times), None),
            last=await self._last(described),
        )

    async def _input_of(self, action: ScheduleActionStartWorkflow) -> dict[str, Any]:
        """Return the one JSON object with which a schedule starts its workflow; an empty one for anything else."""
        try:
            (content,) = await self._client.data_converter.decode(list(action.args))
        except Exception:  # noqa: BLE001 - somebody else's input may be anything
            return {}
        return content if isinstance(content, dict) else {}

    async def _last(self, described: ScheduleDescription) -> Firing | None:
        if not described.info.recent_actions:
            return None
        last = described.info.recent_actions[-1]
        action = last.action
        if not isinstance(action, ScheduleActionExecutionStartWorkflow):
            return None
        state, said = await self._came_of(action.workflow_id, action.first_execution_run_id)
        return Firing(
            scheduled_at=last.scheduled_at,
            workflow_id=action.workflow_id,
            run_id=action.first_execution_run_id,
            state=state,
            said=clip(all_lines(said[:REFUSAL_BYTES]), REFUSAL_BYTES),
        )

    async def _came_of(self, workflow_id: str, run_id: str) -> tuple[FiringState, str]:
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            if (await handle.describe(rpc_timeout=QUERY_PATIENCE)).status is WorkflowExecutionStatus.RUNNING:
                return FiringState.ASKING, ""
            answer = await handle.result(rpc_timeout=QUERY_PATIENCE)
        except WorkflowFailureError as error:
            cause = error.cause
            return FiringState.FAILED, cause.message if isinstance(cause, FailureError) else str(cause)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return FiringState.FORGOTTEN, ""
            raise
        return FiringState.DONE, echo(answer.get("said"), REFUSAL_BYTES) if isinstance(answer, dict) else ""


def _may_be_of(identity: str, deployment: str) -> bool:
    """Whether a schedule may ask for commands of a deployment: Celadon's own ids say for which one they do."""
    own = contracts.schedule_id(deployment, "")
    return identity.startswith(own) or not identity.startswith(contracts.SCHEDULE_ID_PREFIX)


def _spec(at: datetime | None, timetable: Timetable | None) -> ScheduleSpec:
    if timetable is not None:
        return ScheduleSpec(
            calendars=[
                ScheduleCalendarSpec(
                    minute=_ranges(timetable.minutes),
                    hour=_ranges(timetable.hours),
                    day_of_month=_ranges(timetable.days_of_month),
                    month=_ranges(timetable.months),
                    day_of_week=_ranges(timetable.days_of_week),
                ),
            ],
            time_zone_name=timetable.zone.key,
        )
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    return ScheduleSpec(
        calendars=[
            ScheduleCalendarSpec(
                second=_ranges([moment.second]),
                minute=_ranges([moment.minute]),
                hour=_ranges([moment.hour]),
                day_of_month=_ranges([moment.day]),
                month=_ranges([moment.month]),
                year=_ranges([moment.year]),
            ),
        ],
        end_at=moment + timedelta(seconds=1),
    )


def _ranges(values: Collection[int]) -> list[ScheduleRange]:
    return [ScheduleRange(value) for value in sorted(values)]


def _when(spec: ScheduleSpec) -> str:
    """Return what a schedule of somebody's own making says of its moments, as far as Temporal keeps the words."""
    zone = f" ({spec.time_zone_name})" if spec.time_zone_name else ""
    said = [
        *spec.cron_expressions,
        *(f"every {one.every}" for one in spec.intervals),
        *(one.comment or "a calendar" for one in spec.calendars),
    ]
    return echo(", ".join(dict.fromkeys(said)) + zone)


def _no_answer(error: RPCError) -> NoAnswerError:
    return NoAnswerError(f"Temporal did not answer about schedules: {error.message}")
