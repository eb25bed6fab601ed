"""One blue-green rollout: provision green, wait for health, await promotion, switch, drain.

Handlers only record; the story reads what they recorded after all messages of a workflow task. Cancellation never
reaches a step: ``run`` shields the story, and a cancel is an abort that the story reads when its step has ended.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from celadon.domain import contracts, narration
    from celadon.domain.abort import refuse_abort
    from celadon.domain.errors import Refusal, RefusalCode, RefusedError
    from celadon.domain.gate import Enter, GoAhead, GoBack, Wait, decide
    from celadon.domain.lateness import refuse_late
    from celadon.domain.messages import (
        AbortAnswer,
        AbortCommand,
        GreenChanged,
        PromoteAnswer,
        PromoteCommand,
        PromoteState,
        RefusedMessage,
        RolloutRequest,
        RolloutResult,
        RolloutStatus,
        RoutersAcknowledged,
        Timer,
    )
    from celadon.domain.names import Epoch, RolloutId, RouteSetId
    from celadon.domain.payload import parse_payload
    from celadon.domain.progress import AbortRequest, Progress, PromotionRequest
    from celadon.domain.promotion import refuse_promotion
    from celadon.domain.states import Door, RolloutOutcome, RolloutPhase
    from celadon.domain.steps import (
        BeginStep,
        CloseStep,
        DrainEnd,
        FinishStep,
        Note,
        PhaseStep,
        Step,
        SwitchAnswer,
        SwitchStep,
    )
    from workflows import steps
    from workflows.steps import ActivityCall
    from workflows.tickets import Ticket, refused

InputT = TypeVar("InputT", bound=BaseModel)
OutputT = TypeVar("OutputT")

BAKE_TIMER: Final = "bake"
_KEPT_REFUSALS: Final = 100
_SHOWN_REFUSALS: Final = 10

_deployment_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_DEPLOYMENT)
_revision_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_REVISION)
_phase_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_PHASE)
_outcome_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_OUTCOME)


@workflow.defn(name=contracts.WORKFLOW_TYPE)
class BlueGreenRollout:
    """The workflow of one rollout; its id is ``rollout-<deployment>``, so that Temporal allows one at a time."""

    def __init__(self) -> None:
        """Begin with nothing heard; messages may arrive before ``run``."""
        self._progress = Progress(
            deployment=workflow.info().workflow_id.removeprefix(contracts.WORKFLOW_ID_PREFIX),
            phase=RolloutPhase.PROVISIONING,
            since=workflow.now(),
        )
        self._news = 0
        self._cancelled = False
        self._promotions: list[Ticket[PromoteAnswer]] = []
        self._aborts: list[Ticket[AbortAnswer]] = []
        self._routers_served: Epoch | None = None
        self._silent: tuple[str, ...] = ()
        self._epoch: Epoch | None = None
        self._decision = ""
        self._back_reason = ""
        self._started_at = workflow.now()
        self._refused: deque[RefusedMessage] = deque(maxlen=_KEPT_REFUSALS)
        self._refused_total = 0
        self._notes: list[Note] = []
        self._notes_written = 0

    # The platform's side: input, cancellation, the end.

    @workflow.run
    async def run(self, payload: Any = None) -> RolloutResult:  # noqa: ANN401 - the one parser reads it
        """Run the rollout; a cancel is an abort, and the story ends by itself.

        Raises:
            ApplicationError: the input or the first step was refused, or the outcome is ``failed``; then the details
                hold the result.

        """
        request = self._read_request(payload)
        story = asyncio.create_task(self._story(request))
        while not story.done():
            try:
                await asyncio.shield(story)
            except asyncio.CancelledError:
                if not story.done():
                    self._record_cancel()
            except ApplicationError:
                break
        self._dismiss_callers()
        await workflow.wait_condition(workflow.all_handlers_finished)
        result = story.result()
        if self._cancelled:
            raise asyncio.CancelledError(result.reason)
        if result.outcome is RolloutOutcome.FAILED:
            raise ApplicationError(result.reason, result, type=result.outcome.value, non_retryable=True)
        return result

    def _read_request(self, payload: object) -> RolloutRequest:
        try:
            request = parse_payload(RolloutRequest, payload)
        except RefusedError as error:
            raise refused(error.refusal) from error
        wanted = contracts.workflow_id(request.deployment)
        if workflow.info().workflow_id != wanted:
            raise refused(
                Refusal(
                    code=RefusalCode.WRONG_WORKFLOW_ID,
                    message=f"the workflow id is {workflow.info().workflow_id}, "
                    f"but a rollout of {request.deployment} runs as {wanted}",
                    next_step=f"start it again with workflow id {wanted}",
                ),
            )
        return request

    # The story.

    async def _story(self, request: RolloutRequest) -> RolloutResult:
        await self._begin(request)
        await self._provision_green()
        passed = await self._pass_the_gate()
        if isinstance(passed, GoBack):
            return await self._close_green(passed)
        return await self._live_with_green(passed)

    async def _begin(self, request: RolloutRequest) -> None:
        begun = await self._do(
            steps.BEGIN,
            BeginStep(
                request=request,
                workflow_id=workflow.info().workflow_id,
                run_id=workflow.info().run_id,
                at=workflow.now(),
            ),
            f"register rollout of {request.deployment}",
        )
        self._update(
            deployment=begun.deployment,
            rollout=begun.rollout,
            policy=begun.policy,
            gated=begun.gated,
            from_revision=begun.from_revision,
            to_revision=begun.to_revision,
            blue_set=begun.blue_set,
        )
        self._started_at = begun.started_at
        workflow.upsert_search_attributes(
            [
                _deployment_attribute.value_set(begun.deployment),
                _revision_attribute.value_set(str(begun.to_revision)),
                _phase_attribute.value_set(RolloutPhase.PROVISIONING.value),
            ],
        )

    async def _provision_green(self) -> None:
        opened = await self._do(
            steps.PROVISION_GREEN,
            self._step(Step),
            f"open green: {self._named_revision()}",
        )
        now = workflow.now()
        self._update(green_set=opened.route_set, since=now, unverified_since=now)

    async def _pass_the_gate(self) -> GoBack | SwitchAnswer:
        """Bring green through provisioning, verification and promotion, until it is live or given up."""
        while True:
            seen = self._news
            decision = decide(self._progress, workflow.now())
            match decision:
                case GoBack():
                    return decision
                case Enter():
                    await self._enter(decision)
                case GoAhead():
                    answer = await self._switch(decision)
                    if answer.refusal is None:
                        return answer
                    await self._return_to_verifying(answer.refusal)
                case Wait():
                    await self._wait_for_news(seen, decision.first)

    async def _enter(self, decision: Enter) -> None:
        """Enter another phase before the switch; a person's promotion that came too late is refused."""
        now = workflow.now()
        regressed = self._progress.phase is RolloutPhase.AWAITING_PROMOTION
        if regressed:
            self._refuse_promotions(
                Refusal(
                    code=RefusalCode.NO_HEALTHY_GREEN,
                    message="green regressed before the promotion was carried out",
                    next_step="promote again when it waits for a promotion",
                ),
            )
        waits = decision.phase is RolloutPhase.AWAITING_PROMOTION
        self._update(
            phase=decision.phase,
            since=now,
            unverified_since=now if regressed else self._progress.unverified_since,
            verified_since=now if waits else None,
            waited_since=(self._progress.waited_since or now) if waits else self._progress.waited_since,
            regressions=self._progress.regressions + (1 if regressed else 0),
        )
        self._note("regressed" if regressed else decision.phase.value, reason=decision.why)
        if waits or regressed:
            workflow.upsert_search_attributes([_phase_attribute.value_set(decision.phase.value)])
        await self._do(
            steps.ENTER_PHASE,
            self._step(PhaseStep, phase=decision.phase, at=now),
            f"{decision.phase.value}: {decision.why}",
        )

    async def _switch(self, decision: GoAhead) -> SwitchAnswer:
        """Ask the table for the switch; what it answers is what happened."""
        self._update(phase=RolloutPhase.SWITCHING, since=workflow.now(), promotion=None)
        callers, self._promotions = self._promotions, []
        self._decision = f"promotion by {decision.by} ({decision.door.value})"
        answer = await self._do(
            steps.SWITCH,
            self._switch_step(decision.by, decision.door, decision.reason, force=decision.force),
            f"switch {self._progress.deployment} to {self._named_revision()}, by {decision.by}",
            start_to_close=self._progress.policy.router_ack_timeout + steps.TRANSACTION + steps.GRACE,
        )
        if answer.refusal is not None:
            for caller in callers:
                caller.give(answer.refusal)
            self._note("promotion_refused", by=decision.by, door=decision.door, reason=str(answer.refusal))
            return answer
        self._epoch, self._silent = answer.epoch, answer.silent
        self._update(phase=RolloutPhase.BAKING, since=workflow.now())
        for caller in callers:
            caller.give(
                PromoteAnswer(
                    state=PromoteState.SWITCHED,
                    epoch=answer.epoch,
                    acknowledged_by=answer.acknowledged_by,
                    silent=answer.silent,
                    ms=answer.ms,
                ),
            )
        return answer

    async def _return_to_verifying(self, refusal: Refusal) -> None:
        """The re-check refused: the decision is spent, and green has to prove itself again.

        Only what the table contradicted is forgotten; an edge that came meanwhile, such as ``failed``, comes once.
        """
        now = workflow.now()
        self._decision = f"{self._decision}, refused: {refusal.message}"
        self._update(
            phase=RolloutPhase.VERIFYING,
            since=now,
            unverified_since=now,
            verified_since=None,
            regressions=self._progress.regressions + 1,
            green=None if self._progress.green_is_ready else self._progress.green,
        )
        workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.VERIFYING.value)])
        await self._do(
            steps.ENTER_PHASE,
            self._step(PhaseStep, phase=RolloutPhase.VERIFYING, at=now),
            f"verifying: {refusal.message}",
        )
        await self._do(steps.ASK_FOR_EDGE, self._step(Step), "ask the keeper for green's condition")

    async def _live_with_green(self, switched: SwitchAnswer) -> RolloutResult:
        """After the switch: bake with blue warm, then drain it; or switch back."""
        switched_at = workflow.now()
        if self._progress.blue_set is None or switched.epoch is None:
            return await self._finish(RolloutOutcome.PROMOTED, self._decision, switched_at)
        workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.BAKING.value)])
        back = await self._bake() or await self._drain_blue(self._progress.blue_set, switched.epoch)
        if back is None:
            return await self._finish(RolloutOutcome.PROMOTED, self._decision, switched_at)
        return await self._go_back_to_blue(back, switched_at)

    async def _bake(self) -> SwitchAnswer | None:
        """Keep blue warm; return the answer of a switch back, or nothing when the bake is over."""
        while True:
            if self._progress.abort is not None:
                back = await self._switch_back()
                if back is not None or self._cancelled:
                    return back
            seen = self._news
            timer = (BAKE_TIMER, self._progress.since + self._progress.policy.bake)
            if timer[1] <= workflow.now():
                return None
            await self._wait_for_news(seen, timer)

    async def _drain_blue(self, blue: RouteSetId, epoch: Epoch) -> SwitchAnswer | None:
        """Drain blue once every live router has acknowledged; return the answer of a switch back, if one came."""
        while True:
            self._routers_served = None
            self._update(phase=RolloutPhase.DRAINING, since=workflow.now())
            drain = asyncio.create_task(self._drain(blue, RolloutPhase.DRAINING, epoch))
            back = await self._watch_for_way_back(drain)
            end = await drain
            if back is not None:
                return back
            if end.refusal is None:
                return None
            self._silent = end.silent
            self._update(phase=RolloutPhase.BAKING, since=workflow.now())
            await self._wait_for_routers(epoch)
            if self._progress.abort is not None:
                back = await self._switch_back()
                if back is not None:
                    return back

    async def _watch_for_way_back(self, drain: asyncio.Task[DrainEnd]) -> SwitchAnswer | None:
        while not drain.done():
            await workflow.wait_condition(lambda: drain.done() or self._progress.abort is not None)
            if drain.done():
                return None
            back = await self._switch_back()
            if back is not None:
                return back
        return None

    async def _switch_back(self) -> SwitchAnswer | None:
        """Ask the table for the way back to blue; nothing when it refused, and whoever asked is told."""
        request = self._progress.abort
        if request is None:
            return None
        callers, self._aborts = self._aborts, []
        answer = await self._do(
            steps.SWITCH_BACK,
            self._switch_step(request.command.by, request.door, request.command.reason),
            f"switch {self._progress.deployment} back to blue, by {request.command.by}",
            start_to_close=self._progress.policy.router_ack_timeout + steps.TRANSACTION + steps.GRACE,
        )
        self._update(abort=None)
        if answer.refusal is not None:
            for caller in callers:
                caller.give(answer.refusal)
            self._note(
                "rollback_refused",
                by=request.command.by,
                door=request.door,
                reason=str(answer.refusal),
            )
            return None
        self._decision = f"rollback by {request.command.by} ({request.door.value})"
        self._back_reason = request.command.reason or self._decision
        self._epoch, self._silent = answer.epoch, answer.silent
        self._update(phase=RolloutPhase.ROLLING_BACK, since=workflow.now())
        for caller in callers:
            caller.give(
                AbortAnswer(
                    outcome=RolloutOutcome.ROLLED_BACK,
                    epoch=answer.epoch,
                    acknowledged_by=answer.acknowledged_by,
                    silent=answer.silent,
                    ms=answer.ms,
                ),
            )
        return answer

    async def _go_back_to_blue(self, back: SwitchAnswer, switched_at: datetime) -> RolloutResult:
        """Blue is live again: drain green."""
        workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.ROLLING_BACK.value)])
        await self._drain_green(back.epoch)
        return await self._finish(RolloutOutcome.ROLLED_BACK, self._back_reason, switched_at)

    async def _close_green(self, decision: GoBack) -> RolloutResult:
        """Green never became live: close it."""
        self._decision = f"{decision.outcome.value} by {decision.by} ({decision.door.value})"
        self._refuse_promotions(
            Refusal(
                code=RefusalCode.ABORT_REQUESTED,
                message=f"the rollout goes back: {decision.reason}",
                next_step="start a new rollout when this one has ended",
            ),
        )
        self._update(phase=RolloutPhase.ROLLING_BACK, since=workflow.now(), abort=None)
        callers, self._aborts = self._aborts, []
        for caller in callers:
            caller.give(AbortAnswer(outcome=decision.outcome))
        workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.ROLLING_BACK.value)])
        self._note(decision.outcome.value, by=decision.by, door=decision.door, reason=decision.reason)
        await self._drain_green(None)
        return await self._finish(decision.outcome, decision.reason, None)

    async def _drain_green(self, epoch: Epoch | None) -> None:
        green = self._progress.green_set
        if green is None:
            return
        while True:
            self._routers_served = None
            end = await self._drain(green, RolloutPhase.ROLLING_BACK, epoch)
            if end.refusal is None or epoch is None:
                return
            self._silent = end.silent
            await self._wait_for_routers(epoch, abortable=False)

    async def _drain(self, route_set: RouteSetId, phase: RolloutPhase, epoch: Epoch | None) -> DrainEnd:
        colour = "green" if route_set == self._progress.green_set else "blue"
        policy = self._progress.policy
        end = await self._do(
            steps.DRAIN,
            self._step(
                CloseStep,
                route_set=route_set,
                phase=phase,
                at=workflow.now(),
                timeout_seconds=policy.drain_timeout.total_seconds(),
                needs_acknowledgement=epoch,
            ),
            f"drain {colour} of {self._progress.deployment}",
            start_to_close=policy.drain_timeout + policy.router_ack_timeout + steps.GRACE,
        )
        if end.refusal is None:
            self._silent = ()
        return end

    async def _finish(self, outcome: RolloutOutcome, reason: str, switched_at: datetime | None) -> RolloutResult:
        progress = self._progress
        evidence = {"decision": self._decision, "regressions": str(progress.regressions)}
        if progress.green is not None and progress.green.last_error:
            evidence["last_error"] = progress.green.last_error
        self._update(phase=RolloutPhase.COMPLETED, since=workflow.now(), outcome=outcome, abort=None)
        finished = await self._do(
            steps.FINISH,
            self._step(FinishStep, outcome=outcome, reason=reason, evidence=evidence, at=workflow.now()),
            f"finish: {outcome.value}",
        )
        workflow.upsert_search_attributes(
            [
                _phase_attribute.value_set(RolloutPhase.COMPLETED.value),
                _outcome_attribute.value_set(outcome.value),
            ],
        )
        if progress.rollout is None or progress.to_revision is None:
            raise ApplicationError("a rollout that never began cannot finish", non_retryable=True)
        return RolloutResult(
            rollout=progress.rollout,
            outcome=outcome,
            from_revision=progress.from_revision,
            to_revision=progress.to_revision,
            epoch=finished.epoch,
            started_at=self._started_at,
            switched_at=finished.switched_at or switched_at,
            completed_at=finished.completed_at,
            requests_cut=finished.requests_cut,
            reason=reason,
            evidence=evidence,
        )

    # Waiting: one timer, nothing in flight.

    async def _wait_for_news(self, seen: int, timer: tuple[str, datetime] | None) -> None:
        now = workflow.now()
        timeout = None if timer is None else max(timer[1] - now, timedelta(0))
        summary = None if timer is None else narration.timer_summary(timer[0], timer[1], now)
        try:
            await workflow.wait_condition(lambda: self._news != seen, timeout=timeout, timeout_summary=summary)
        except TimeoutError:
            return

    async def _wait_for_routers(self, epoch: Epoch, *, abortable: bool = True) -> None:
        """Wait until the keeper tells that all live routers serve ``epoch``, or for an abort; without a timer."""
        await workflow.wait_condition(
            lambda: (
                (self._routers_served is not None and self._routers_served >= epoch)
                or (abortable and self._progress.abort is not None)
            ),
        )

    # Steps.

    async def _do(
        self,
        call: ActivityCall[InputT, OutputT],
        step: InputT,
        summary: str,
        start_to_close: timedelta | None = None,
    ) -> OutputT:
        """Carry out one step; a refusal that an activity raised fails the rollout with the refusal's own words."""
        sent = len(self._notes)
        try:
            answer: OutputT = await workflow.execute_activity(
                call.name,
                step,
                result_type=call.returns,
                start_to_close_timeout=start_to_close or call.start_to_close,
                heartbeat_timeout=call.heartbeat,
                retry_policy=steps.RETRY,
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
            raise
        if isinstance(step, Step) and not (isinstance(answer, SwitchAnswer) and answer.refusal is not None):
            del self._notes[:sent]
        return answer

    def _step(self, kind: type[InputT], **fields: Any) -> InputT:  # noqa: ANN401 - the model checks them
        return kind(
            deployment=self._progress.deployment,
            rollout=self._rollout(),
            notes=tuple(self._notes),
            **fields,
        )

    def _switch_step(self, by: str, door: Door, reason: str, *, force: bool = False) -> SwitchStep:
        return self._step(
            SwitchStep,
            blue_set=self._progress.blue_set,
            green_set=self._progress.green_set,
            by=by,
            door=door,
            reason=reason,
            force=force,
            ack_timeout_seconds=self._progress.policy.router_ack_timeout.total_seconds(),
        )

    def _rollout(self) -> RolloutId:
        if self._progress.rollout is None:
            raise ApplicationError("the rollout has not begun", non_retryable=True)
        return self._progress.rollout

    # Messages: handlers only record.

    @workflow.update(
        name=contracts.PROMOTE,
        description="Switch traffic to green now; answers when the routers serve it. All fields are optional: "
        '{"revision": 2, "rollout": 7, "by": "ann", "reason": "...", "force": false}',
    )
    async def promote(self, payload: Any = None) -> PromoteAnswer:  # noqa: ANN401 - the one parser reads it
        """Promote green and wait for the switch."""
        return await _taken(lambda: self._record_promotion(payload, Door.UPDATE)).wait()

    @promote.validator
    def _may_promote(self, payload: Any = None) -> None:  # noqa: ANN401
        self._check(self._read_promotion, payload)

    @workflow.signal(
        name=contracts.PROMOTE,
        description="Switch traffic to green now, without waiting for the answer. Input as for the update.",
    )
    def promote_by_signal(self, payload: Any = None) -> None:  # noqa: ANN401
        """Promote green; a refusal shows in the status and in the audit log."""
        try:
            self._record_promotion(payload, Door.SIGNAL)
        except RefusedError as error:
            self._keep_refusal(contracts.PROMOTE, Door.SIGNAL, payload, error.refusal)

    @workflow.update(
        name=contracts.ABORT,
        description="Go back: before the switch green is closed, after it traffic returns to blue. All fields are "
        'optional: {"rollout": 7, "by": "ann", "reason": "..."}',
    )
    async def abort(self, payload: Any = None) -> AbortAnswer:  # noqa: ANN401
        """Abort and wait until it is decided, or until blue serves again."""
        return await _taken(lambda: self._record_abort(payload, Door.UPDATE, rollback=False)).wait()

    @abort.validator
    def _may_abort(self, payload: Any = None) -> None:  # noqa: ANN401
        self._check(self._read_abort, payload)

    @workflow.signal(name=contracts.ABORT, description="As the update, without waiting for the answer.")
    def abort_by_signal(self, payload: Any = None) -> None:  # noqa: ANN401
        """Abort; a refusal shows in the status and in the audit log."""
        try:
            self._record_abort(payload, Door.SIGNAL, rollback=False)
        except RefusedError as error:
            self._keep_refusal(contracts.ABORT, Door.SIGNAL, payload, error.refusal)

    @workflow.update(
        name=contracts.ROLLBACK,
        description="After the switch: return traffic to blue. Input as for abort.",
    )
    async def rollback(self, payload: Any = None) -> AbortAnswer:  # noqa: ANN401
        """Switch back and wait until blue serves again."""
        return await _taken(lambda: self._record_abort(payload, Door.UPDATE, rollback=True)).wait()

    @rollback.validator
    def _may_roll_back(self, payload: Any = None) -> None:  # noqa: ANN401
        self._check(self._read_rollback, payload)

    @workflow.signal(name=contracts.ROLLBACK, description="As the update, without waiting for the answer.")
    def roll_back_by_signal(self, payload: Any = None) -> None:  # noqa: ANN401
        """Switch back; a refusal shows in the status and in the audit log."""
        try:
            self._record_abort(payload, Door.SIGNAL, rollback=True)
        except RefusedError as error:
            self._keep_refusal(contracts.ROLLBACK, Door.SIGNAL, payload, error.refusal)

    @workflow.signal(name=contracts.GREEN_CHANGED, description="Internal: the keeper tells an edge of green's health.")
    def green_changed(self, payload: Any = None) -> None:  # noqa: ANN401
        """Record an edge; an older one changes nothing."""
        try:
            edge = parse_payload(GreenChanged, payload)
        except RefusedError as error:
            self._keep_refusal(contracts.GREEN_CHANGED, Door.SIGNAL, payload, error.refusal)
            return
        known = self._progress.green
        expected = self._progress.green_set
        if (expected is not None and edge.route_set != expected) or (known is not None and edge.seq <= known.seq):
            return
        self._news += 1
        self._update(green=edge)

    @workflow.signal(
        name=contracts.ROUTERS_ACKNOWLEDGED,
        description="Internal: the keeper tells that every live router serves an epoch.",
    )
    def routers_acknowledged(self, payload: Any = None) -> None:  # noqa: ANN401
        """Record that routers have caught up."""
        try:
            told = parse_payload(RoutersAcknowledged, payload)
        except RefusedError as error:
            self._keep_refusal(contracts.ROUTERS_ACKNOWLEDGED, Door.SIGNAL, payload, error.refusal)
            return
        self._routers_served = told.epoch
        self._news += 1

    @workflow.signal(dynamic=True)
    def unknown_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse a signal that this version does not know, by its name."""
        self._keep_refusal(name, Door.SIGNAL, f"{len(args)} arguments", _unknown(name))

    @workflow.update(dynamic=True)
    async def unknown_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse an update that this version does not know, by its name."""
        raise refused(_unknown(f"{name} with {len(args)} arguments"))

    @unknown_update.validator
    def _refuse_unknown(self, name: str, args: Sequence[RawValue]) -> None:
        del args
        raise refused(_unknown(name))

    def _check(self, read: Callable[[object], object], payload: object) -> None:
        """Refuse in a validator what the handler would refuse, so that it writes no history."""
        _taken(lambda: read(payload))

    def _read_promotion(self, payload: object) -> PromoteCommand:
        command = parse_payload(PromoteCommand, payload)
        refusal = refuse_late(command, workflow.now()) or refuse_promotion(self._progress, command)
        if refusal is not None:
            raise RefusedError(refusal)
        return command

    def _read_abort(self, payload: object, *, rollback: bool = False) -> AbortCommand:
        command = parse_payload(AbortCommand, payload)
        refusal = refuse_late(command, workflow.now()) or refuse_abort(self._progress, command, rollback=rollback)
        if refusal is not None:
            raise RefusedError(refusal)
        return command

    def _read_rollback(self, payload: object) -> AbortCommand:
        return self._read_abort(payload, rollback=True)

    def _record_promotion(self, payload: object, door: Door) -> Ticket[PromoteAnswer]:
        """Record a promotion for the story to read; the first of a task counts, the others share its answer.

        Raises:
            RefusedError: it may not go ahead.

        """
        command = self._read_promotion(payload)
        ticket: Ticket[PromoteAnswer] = Ticket()
        self._promotions.append(ticket)
        if self._progress.promotion is None:
            self._update(promotion=PromotionRequest(command=command, door=door, at=workflow.now()))
        self._note("promotion_requested", by=command.by, door=door, reason=command.reason)
        self._news += 1
        return ticket

    def _record_abort(self, payload: object, door: Door, *, rollback: bool) -> Ticket[AbortAnswer]:
        """Record an abort for the story to read.

        Raises:
            RefusedError: it may not go ahead.

        """
        command = self._read_abort(payload, rollback=rollback)
        ticket: Ticket[AbortAnswer] = Ticket()
        self._aborts.append(ticket)
        if self._progress.abort is None:
            self._update(abort=AbortRequest(command=command, door=door, at=workflow.now()))
        kind = "rollback_requested" if rollback else "abort_requested"
        self._note(kind, by=command.by, door=door, reason=command.reason)
        self._news += 1
        return ticket

    def _record_cancel(self) -> None:
        self._cancelled = True
        self._news += 1
        command = AbortCommand(by="cancellation", reason="the workflow was cancelled")
        refusal = refuse_abort(self._progress, command, rollback=False)
        if refusal is not None:
            self._keep_refusal("cancel", Door.CANCEL, None, refusal)
            return
        if self._progress.abort is None:
            self._update(abort=AbortRequest(command=command, door=Door.CANCEL, at=workflow.now()))
        self._note("abort_requested", by=command.by, door=Door.CANCEL, reason=command.reason)

    def _keep_refusal(self, message: str, door: Door, payload: object, refusal: Refusal) -> None:
        by = payload.get("by", "") if isinstance(payload, dict) else ""
        self._refused_total += 1
        self._refused.append(
            RefusedMessage(at=workflow.now(), message=message, door=door, by=str(by), refusal=refusal),
        )
        if len(self._notes) < _KEPT_REFUSALS:
            self._note(
                "message_refused",
                by=str(by),
                door=door,
                reason=str(refusal),
                evidence={"message": message, "code": refusal.code.value},
            )

    def _refuse_promotions(self, refusal: Refusal) -> None:
        callers, self._promotions = self._promotions, []
        self._update(promotion=None)
        for caller in callers:
            caller.give(refusal)

    def _dismiss_callers(self) -> None:
        """Tell whoever still waits that the rollout has ended."""
        ended = Refusal(
            code=RefusalCode.ROLLOUT_ENDED,
            message="the rollout ended before the message was carried out",
            next_step=f"see 'celadon rollout history {self._progress.deployment}'",
        )
        self._refuse_promotions(ended)
        callers, self._aborts = self._aborts, []
        for caller in callers:
            caller.give(ended)

    # What it tells of itself.

    @workflow.query(name=contracts.STATUS, description="Phase, timers, decision, last green edge, last refusals.")
    def status(self) -> RolloutStatus:
        """Return what the rollout knows without reading the table."""
        now = workflow.now()
        progress = self._progress
        abort = progress.abort
        return RolloutStatus(
            deployment=progress.deployment,
            rollout=progress.rollout,
            phase=progress.phase,
            since=progress.since,
            from_revision=progress.from_revision,
            to_revision=progress.to_revision,
            policy=progress.policy if progress.rollout is not None else None,
            timers=tuple(
                Timer(name=name, fires_at=at, remaining=max(at - now, timedelta(0))) for name, at in self._timers(now)
            ),
            decision=self._decision,
            holding=narration.holding_reason(progress),
            approvals=1 if self._epoch is not None or progress.promotion is not None else 0,
            approvals_needed=1,
            abort_requested="" if abort is None else f"{abort.command.by}: {abort.command.reason}",
            green=progress.green,
            epoch=self._epoch,
            silent_routers=self._silent,
            refused=tuple(self._refused)[-_SHOWN_REFUSALS:],
            refused_total=self._refused_total,
            outcome=progress.outcome,
            next_step=narration.next_step(progress),
        )

    def _timers(self, now: datetime) -> tuple[tuple[str, datetime], ...]:
        progress = self._progress
        match progress.phase:
            case RolloutPhase.PROVISIONING | RolloutPhase.VERIFYING | RolloutPhase.AWAITING_PROMOTION:
                decision = decide(progress, now)
                return decision.timers if isinstance(decision, Wait) else ()
            case RolloutPhase.BAKING if not self._silent or now < progress.since + progress.policy.bake:
                return ((BAKE_TIMER, progress.since + progress.policy.bake),)
            case _:
                return ()

    def _named_revision(self) -> str:
        return f"r{self._progress.to_revision}"

    def _note(
        self,
        kind: str,
        *,
        by: str = "",
        door: Door | None = None,
        reason: str = "",
        evidence: dict[str, str] | None = None,
    ) -> None:
        self._notes_written += 1
        self._notes.append(
            Note(
                seq=self._notes_written,
                at=workflow.now(),
                kind=kind,
                by=by,
                door=door,
                reason=reason,
                evidence=evidence or {},
            ),
        )

    def _update(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Progress
        self._progress = self._progress.model_copy(update=changes)
        workflow.set_current_details(
            narration.details(self._progress, self._timers(workflow.now()), self._silent),
        )


def _taken(record: Callable[[], OutputT]) -> OutputT:
    """Return what ``record`` does; only an ApplicationError may leave an update, else its task would fail for ever."""
    try:
        return record()
    except RefusedError as error:
        raise refused(error.refusal) from error


def _unknown(name: str) -> Refusal:
    return Refusal(
        code=RefusalCode.UNKNOWN_MESSAGE,
        message=f"this version does not carry out {name!r}",
        next_step=f"send one of: {contracts.PROMOTE}, {contracts.ABORT}, {contracts.ROLLBACK}",
    )
