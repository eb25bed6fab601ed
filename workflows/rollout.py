"""The story of one blue-green rollout: provision green, wait for health, await promotion, switch, drain.

It reads what messages (``conversation``) recorded in what the rollout knows (``standing``). Cancellation never reaches
a step: ``run`` shields the story, and a cancel is an abort that the story reads when its step has ended.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from celadon.domain import contracts, narration
    from celadon.domain.attestation import START_MEMO
    from celadon.domain.errors import Refusal, RefusalCode, RefusedError
    from celadon.domain.gate import Enter, GoAhead, GoBack, Wait, decide
    from celadon.domain.messages import (
        AbortAnswer,
        AbortCommand,
        PromoteAnswer,
        PromoteState,
        RolloutRequest,
        RolloutResult,
        StartMemo,
    )
    from celadon.domain.names import Epoch, RolloutId, RouteSetId
    from celadon.domain.progress import AbortRequest
    from celadon.domain.states import Door, RolloutOutcome, RolloutPhase
    from celadon.domain.steps import (
        BeginStep,
        CloseStep,
        DrainEnd,
        FinishStep,
        JudgeStep,
        Message,
        PhaseStep,
        Step,
        SwitchAnswer,
        SwitchStep,
    )
    from workflows import steps
    from workflows.conversation import Conversation
    from workflows.payload import parse_payload
    from workflows.standing import BAKE_TIMER, KEPT_MESSAGES
    from workflows.steps import ActivityCall
    from workflows.tickets import refused

_JUDGED_ABORTS: Final = "aborts are judged"
"""The patch that lets the table judge who aborts."""

InputT = TypeVar("InputT", bound=BaseModel)
OutputT = TypeVar("OutputT")

_deployment_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_DEPLOYMENT)
_revision_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_REVISION)
_phase_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_PHASE)
_outcome_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_OUTCOME)


@workflow.defn(name=contracts.WORKFLOW_TYPE)
class BlueGreenRollout(Conversation):
    """The workflow of one rollout; its id is ``rollout-<deployment>``, so that Temporal allows one at a time."""

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
        memo = workflow.memo_value(START_MEMO, None, type_hint=StartMemo)
        begun = await self._do(
            steps.BEGIN,
            BeginStep(
                request=request,
                workflow_id=workflow.info().workflow_id,
                run_id=workflow.info().run_id,
                at=workflow.now(),
                memo=memo,
                taken_at=workflow.info().start_time,
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
        told = self._progress.green
        # A reset workflow hears again of the green that its first run had.
        of_this_green = told if told is not None and told.route_set == opened.route_set else None
        self._update(green_set=opened.route_set, green=of_this_green, since=now, unverified_since=now)

    async def _pass_the_gate(self) -> GoBack | SwitchAnswer:
        """Bring green through provisioning, verification and promotion, until it is live or given up."""
        while True:
            seen = self._news
            decision = decide(self._progress, workflow.now())
            match decision:
                case GoBack(message=None):
                    return decision
                case GoBack():
                    judged = await self._judge_abort(decision)
                    if judged is not None:
                        return judged
                case Enter():
                    await self._enter(decision)
                case GoAhead():
                    answer = await self._switch(decision)
                    if answer.refusal is None:
                        return answer
                    if not answer.message_refused:
                        await self._return_to_verifying(answer.refusal, scaled=answer.scaled)
                case Wait():
                    await self._wait_for_news(seen, decision.first)

    async def _judge_abort(self, decision: GoBack) -> GoBack | None:
        """Let the table judge who aborts; return the decision of the first abort that counts, if one does.

        Rollouts that began before aborts were judged go back unasked when their history is replayed.
        """
        if not workflow.patched(_JUDGED_ABORTS):
            return decision
        asked = [one for one in self._aborts if one.request.message is not None][:KEPT_MESSAGES]
        judged = await self._do(
            steps.JUDGE,
            self._step(JudgeStep, messages=tuple(one.request.message for one in asked), at=workflow.now()),
            f"judge the abort by {decision.by}",
        )
        counts: AbortRequest | None = None
        for one, refusal in zip(asked, judged.refusals, strict=True):
            if refusal is None:
                counts = counts or one.request
                continue
            one.ticket.give(refusal)
            self._aborts.remove(one)
            self._keep_refusal(
                contracts.ABORT,
                one.request.door,
                {"by": one.request.command.by},
                refusal,
            )
        self._update(abort=counts or self._next_abort())
        again = None if counts is None else decide(self._progress, workflow.now())
        return again if isinstance(again, GoBack) else None

    def _next_abort(self) -> AbortRequest | None:
        return self._aborts[0].request if self._aborts else None

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
            regressions=self._progress.regressions + (1 if regressed and self._progress.dipped_by_itself else 0),
            dipped=False,
            dipped_by_itself=False,
        )
        self._note(
            "regressed" if regressed else decision.phase.value,
            reason=decision.why,
            evidence=self._what_it_waits_for() if waits else None,
        )
        if waits or regressed:
            workflow.upsert_search_attributes([_phase_attribute.value_set(decision.phase.value)])
        await self._do(
            steps.ENTER_PHASE,
            self._step(PhaseStep, phase=decision.phase, at=now),
            f"{decision.phase.value}: {decision.why}",
        )

    async def _switch(self, decision: GoAhead) -> SwitchAnswer:
        """Ask the table for the switch; what it answers is what happened."""
        before = self._progress
        self._update(phase=RolloutPhase.SWITCHING, since=workflow.now(), promotion=None)
        pending, self._promotions = self._promotions, []
        self._decision = f"promotion by {decision.by} ({decision.door.value})"
        answer = await self._do(
            steps.SWITCH,
            self._switch_step(decision.by, decision.door, decision.reason, decision.message),
            f"switch {self._progress.deployment} to {self._named_revision()}, by {decision.by}",
            start_to_close=self._progress.policy.router_ack_timeout + steps.TRANSACTION + steps.GRACE,
        )
        if answer.refusal is not None:
            # Whoever else asked is not told that somebody's message does not count, but asks in turn.
            told, left = (pending[:1], pending[1:]) if answer.message_refused else (pending, [])
            for one in told:
                one.ticket.give(answer.refusal)
            self._note(
                "promotion_refused",
                by=decision.by,
                door=decision.door,
                reason=str(answer.refusal),
                message=decision.message,
            )
            if answer.message_refused:
                self._promotions = left
                promotion = left[0].request if left else None
                self._update(phase=before.phase, since=before.since, promotion=promotion)
            return answer
        self._epoch, self._silent = answer.epoch, answer.silent
        self._update(phase=RolloutPhase.BAKING, since=workflow.now())
        for one in pending:
            one.ticket.give(
                PromoteAnswer(
                    state=PromoteState.SWITCHED,
                    epoch=answer.epoch,
                    acknowledged_by=answer.acknowledged_by,
                    silent=answer.silent,
                    ms=answer.ms,
                ),
            )
        return answer

    async def _return_to_verifying(self, refusal: Refusal, *, scaled: bool) -> None:
        """The re-check refused: the decision is spent, and green has to prove itself again.

        That green grows because somebody scaled it does not count as its regression. Only what the table contradicted
        is forgotten; an edge that came meanwhile, such as ``failed``, comes once.
        """
        now = workflow.now()
        self._decision = f"{self._decision}, refused: {refusal.message}"
        self._update(
            phase=RolloutPhase.VERIFYING,
            since=now,
            unverified_since=now,
            verified_since=None,
            regressions=self._progress.regressions + (0 if scaled else 1),
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
                if back is not None or (self._cancelled and self._progress.abort is None):
                    return back
                continue
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
            if end.reopened:
                return await self._take_the_way_that_was_gone()
            if end.refusal is None:
                return None
            self._silent = end.silent
            self._update(phase=RolloutPhase.BAKING, since=workflow.now())
            await self._wait_for_routers(epoch)
            if self._progress.abort is not None:
                back = await self._switch_back()
                if back is not None:
                    return back

    async def _take_the_way_that_was_gone(self) -> SwitchAnswer | None:
        """Blue is live again, but this run never went back: it was reset to a moment before that."""
        command = AbortCommand(by="reset", reason="blue is live again: the rollout had gone back before it was reset")
        if self._progress.abort is None:
            self._update(abort=AbortRequest(command=command, door=Door.POLICY, at=workflow.now()))
        return await self._switch_back()

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
        answer = await self._do(
            steps.SWITCH_BACK,
            self._switch_step(request.command.by, request.door, request.command.reason, request.message),
            f"switch {self._progress.deployment} back to blue, by {request.command.by}",
            start_to_close=self._progress.policy.router_ack_timeout + steps.TRANSACTION + steps.GRACE,
        )
        # Also those who asked while the table was being asked: the answer is theirs too, unless it is that somebody
        # else's message does not count.
        told = [one for one in self._aborts if one.request is request or not answer.message_refused]
        self._aborts = [one for one in self._aborts if one not in told]
        self._update(abort=self._next_abort())
        if answer.refusal is not None:
            for one in told:
                one.ticket.give(answer.refusal)
            self._note(
                "rollback_refused",
                by=request.command.by,
                door=request.door,
                reason=str(answer.refusal),
                message=request.message,
            )
            return None
        self._decision = f"rollback by {request.command.by} ({request.door.value})"
        self._back_reason = request.command.reason or self._decision
        self._epoch, self._silent = answer.epoch, answer.silent
        self._update(phase=RolloutPhase.ROLLING_BACK, since=workflow.now())
        for one in told:
            one.ticket.give(
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
        pending, self._aborts = self._aborts, []
        for one in pending:
            one.ticket.give(AbortAnswer(outcome=decision.outcome))
        workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.ROLLING_BACK.value)])
        self._note(
            decision.outcome.value,
            by=decision.by,
            door=decision.door,
            reason=decision.reason,
            message=decision.message,
        )
        end = await self._drain_green(None)
        if end is not None and end.reopened:
            return await self._undo_a_switch_that_was_forgotten(decision)
        return await self._finish(decision.outcome, decision.reason, None)

    async def _undo_a_switch_that_was_forgotten(self, decision: GoBack) -> RolloutResult:
        """Green is live, but this run never switched: it was reset to a moment before that. Go back as after it."""
        now = workflow.now()
        command = AbortCommand(by=decision.by, reason=decision.reason)
        self._update(abort=AbortRequest(command=command, door=decision.door, at=now, message=decision.message))
        back = await self._switch_back()
        if back is None:
            return await self._finish(RolloutOutcome.PROMOTED, f"{decision.reason}; blue could not take over", now)
        return await self._go_back_to_blue(back, now)

    async def _drain_green(self, epoch: Epoch | None) -> DrainEnd | None:
        green = self._progress.green_set
        if green is None:
            return None
        while True:
            self._routers_served = None
            end = await self._drain(green, RolloutPhase.ROLLING_BACK, epoch)
            if end.refusal is None or epoch is None:
                return end
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
        happened = finished.outcome or outcome
        self._update(outcome=happened)
        workflow.upsert_search_attributes(
            [
                _phase_attribute.value_set(RolloutPhase.COMPLETED.value),
                _outcome_attribute.value_set(happened.value),
            ],
        )
        if progress.rollout is None or progress.to_revision is None:
            raise ApplicationError("a rollout that never began cannot finish", non_retryable=True)
        return RolloutResult(
            rollout=progress.rollout,
            outcome=happened,
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
            run=workflow.info().run_id,
            **fields,
        )

    def _switch_step(
        self,
        by: str,
        door: Door,
        reason: str,
        message: Message | None,
    ) -> SwitchStep:
        return self._step(
            SwitchStep,
            blue_set=self._progress.blue_set,
            green_set=self._progress.green_set,
            by=by,
            door=door,
            reason=reason,
            decision=self._next_decision(),
            message=message,
            ack_timeout_seconds=self._progress.policy.router_ack_timeout.total_seconds(),
        )

    def _next_decision(self) -> str:
        """Name a decision, so that the table tells its attempts from those of any other, and of any run."""
        self._decisions += 1
        return f"{workflow.info().run_id}/{self._decisions}"

    def _rollout(self) -> RolloutId:
        if self._progress.rollout is None:
            raise ApplicationError("the rollout has not begun", non_retryable=True)
        return self._progress.rollout
