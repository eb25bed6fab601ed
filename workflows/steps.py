"""How a rollout carries out a step, and how it waits: with one timer at most and nothing else in flight."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, cast

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from celadon.domain.decisions import narration
    from celadon.domain.decisions.successors import told_of_successor, waits_told
    from celadon.domain.language.names import Epoch, RolloutId, RouteSetId
    from celadon.domain.language.rollout_state import Stage
    from celadon.domain.language.states import Channel
    from celadon.domain.language.steps import Message, Note, Step, SwitchAnswer, SwitchStep
    from workflows import calls
    from workflows.calls import ActivityCall
    from workflows.messages import MessageHandlers
    from workflows.state import CONTINUED

RUN_SIGNALS: Final = 500
"""A rollout continues as new after so many signals; Temporal takes a thousand in one run, or what its operator sets."""
RUN_EVENTS: Final = 2_000
"""A rollout continues as new from so many events on, or when Temporal suggests it."""
RUN_BYTES: Final = 1_000_000
"""A rollout continues as new from so many bytes of history on."""
RUN_AGE: Final = timedelta(days=14)
"""A rollout continues as new at this age, so that patches for histories of earlier versions can go."""
AGE_TIMER: Final = "new run"
MOVES_ON: Final = "rollouts continue as new"
"""The patch since which they do."""

InputT = TypeVar("InputT", bound=BaseModel)
OutputT = TypeVar("OutputT")


class RolloutSteps(MessageHandlers):
    """Asks activities for steps, waits, and goes on in a new run while it waits."""

    async def _do(
        self,
        call: ActivityCall[InputT, OutputT],
        step: InputT,
        summary: str,
        start_to_close: timedelta | None = None,
    ) -> OutputT:
        """Carry out one step; a refusal that an activity raised fails the rollout with the refusal's own words."""
        sent = frozenset((note.run, note.seq) for note in step.notes) if isinstance(step, Step) else frozenset()
        try:
            answer: OutputT = await workflow.execute_activity(
                call.name,
                step,
                result_type=cast("type[OutputT]", call.returns),
                start_to_close_timeout=start_to_close or call.start_to_close,
                heartbeat_timeout=call.heartbeat,
                retry_policy=calls.RETRY,
                summary=summary,
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError):
                raise ApplicationError(
                    error.cause.message,
                    *error.cause.details,
                    type=error.cause.type,
                    non_retryable=True,
                ) from error
            raise ApplicationError(
                f"{call.name} did not end: {error.cause or error}",
                type=type(error.cause or error).__name__,
                non_retryable=True,
            ) from error
        if isinstance(step, Step) and not (isinstance(answer, SwitchAnswer) and answer.refusal is not None):
            self._state.notes = self._state.notes.without(sent, _number_of)
        return answer

    async def _read_successor(self) -> None:
        """Ask the table what waits behind this rollout when that may have changed; nothing ends a drain sooner."""
        if not self._state.successor_changed or self._state.stage not in {Stage.GATE, Stage.BAKING}:
            return
        self._state.successor_changed = False
        read = await self._do(calls.READ_SUCCESSOR, self._step(Step), "look what waits behind this rollout")
        before = self._state.progress
        self._update_to(told_of_successor(before, read.successor))
        if read.successor is not None and self._state.progress.bake_is_over and not before.bake_is_over:
            self._note("bake_ended", by="policy", door=Channel.POLICY, reason=waits_told(read.successor))

    def _step(self, kind: type[InputT], **fields: Any) -> InputT:  # noqa: ANN401 - the model checks them
        self._note_what_was_left_out()
        return kind(
            deployment=self._state.progress.deployment,
            rollout=self._rollout(),
            notes=self._state.notes.items,
            run=workflow.info().run_id,
            **fields,
        )

    def _switch_step(
        self,
        by: str,
        door: Channel,
        reason: str,
        message: Message | None,
        *,
        keeps_asking: bool = False,
        grown: bool = False,
    ) -> SwitchStep:
        return self._step(
            SwitchStep,
            blue_set=self._state.progress.blue_set,
            green_set=self._state.progress.green_set,
            by=by,
            door=door,
            reason=reason,
            decision=self._next_decision(),
            message=message,
            ack_timeout_seconds=self._state.progress.policy.router_ack_timeout.total_seconds(),
            keeps_asking=keeps_asking,
            grown=grown,
        )

    def _next_decision(self) -> str:
        """Name a decision, so that the table tells its attempts from those of any other, and of any run."""
        self._state.decisions += 1
        return f"{workflow.info().run_id}/{self._state.decisions}"

    def _rollout(self) -> RolloutId:
        if self._state.progress.rollout is None:
            raise ApplicationError("the rollout has not begun", non_retryable=True)
        return self._state.progress.rollout

    def _known_blue(self) -> RouteSetId:
        if self._state.progress.blue_set is None:
            raise ApplicationError("there is no blue", non_retryable=True)
        return self._state.progress.blue_set

    def _known_green(self) -> RouteSetId:
        if self._state.progress.green_set is None:
            raise ApplicationError("there is no green", non_retryable=True)
        return self._state.progress.green_set

    def _known_epoch(self) -> Epoch:
        if self._state.epoch is None:
            raise ApplicationError("nothing has been switched", non_retryable=True)
        return self._state.epoch

    async def _wait_for_news(self, seen: int, timer: tuple[str, datetime] | None) -> None:
        """Wait for a message or for ``timer``; when it is time for that, go on in a new run instead."""
        await self._rest(lambda: self._news != seen, timer)

    async def _rest(self, ends: Callable[[], bool], timer: tuple[str, datetime] | None) -> None:
        """Wait until ``ends`` or until ``timer``: a quiet point, at which the rollout may continue as new.

        Raises:
            ContinueAsNewError: it goes on in a new run.

        """
        moves = workflow.patched(MOVES_ON)
        while not ends():
            if moves and self._is_time_to_move() and self._is_quiet():
                workflow.continue_as_new(
                    args=[{CONTINUED: self._state.model_dump(mode="json")}],
                    task_timeout=workflow.info().task_timeout,
                )
            now = workflow.now()
            wakes = [timer] if timer is not None else []
            grows_old = self._run_began + RUN_AGE
            if moves and now < grows_old:
                wakes.append((AGE_TIMER, grows_old))
            first = min(wakes, key=lambda one: one[1], default=None)
            timeout = None if first is None else max(first[1] - now, timedelta(0))
            summary = None if first is None else narration.timer_summary(first[0], first[1], now)
            try:
                await workflow.wait_condition(
                    lambda: ends() or (moves and self._is_time_to_move() and self._is_quiet()),
                    timeout=timeout,
                    timeout_summary=summary,
                )
            except TimeoutError:
                if first == timer:
                    return

    def _is_time_to_move(self) -> bool:
        info = workflow.info()
        return (
            info.is_continue_as_new_suggested()
            or self._signals >= RUN_SIGNALS
            or info.get_current_history_length() >= RUN_EVENTS
            or info.get_current_history_size() >= RUN_BYTES
            or workflow.now() >= self._run_began + RUN_AGE
        )

    def _is_quiet(self) -> bool:
        """Whether nobody waits for an answer, and no message for a decision."""
        waits = self._promotions or self._aborts or self._to_judge
        return not waits and workflow.all_handlers_finished()


def _number_of(note: Note) -> tuple[str, int]:
    return note.run, note.seq
