"""The story of one blue-green rollout: provision green, wait for health, await promotion, switch, drain.

It reads what messages (``messages.py``) recorded in the rollout's state (``state.py``). Two pure functions decide what
comes next, ``gate.decide`` before the switch and ``after_switch.decide`` after it, and one loop each carries that out.
Cancellation never reaches a step: ``run`` shields the story, and a cancel is an abort that the story reads when its
step has ended.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeVar, assert_never

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from celadon.domain.decisions import after_switch, narration
    from celadon.domain.decisions.abort import cancellation, left_pending, pending_after, recorded
    from celadon.domain.decisions.after_switch import (
        Awaited,
        Circumstances,
        Drain,
        DrainResult,
        Examine,
        Examined,
        Finish,
        SwitchBack,
    )
    from celadon.domain.decisions.approvals import approvals_evidence, counted
    from celadon.domain.decisions.gate import (
        DEADLINE_TIMER,
        PROMOTION_TIMER,
        Enter,
        GoAhead,
        GoBack,
        HoldTimer,
        LookUpWindows,
        OpenGreen,
        Wait,
        decide,
        hold_after,
        hold_over_regression,
        is_greens_fault,
        is_refused_by_windows,
        opening_after,
        promotion_moments,
        window_hold_is_over,
    )
    from celadon.domain.decisions.lost_green import may_be_given_up
    from celadon.domain.decisions.notification_rules import HELD_BY, HELD_SINCE, REGRESSIONS
    from celadon.domain.decisions.pause import (
        is_over,
        paused,
        refuse_past_end,
        refuse_pause,
        refuse_resume,
        resumed,
        runs_on_from,
        taken_up,
    )
    from celadon.domain.decisions.reschedule import rescheduled
    from celadon.domain.language import contracts
    from celadon.domain.language.commands import (
        AbortAnswer,
        AbortCommand,
        BakeCommand,
        JudgedAnswer,
        PauseCommand,
        PromoteAnswer,
        PromoteState,
        RescheduleCommand,
        Withdrawn,
    )
    from celadon.domain.language.errors import Refusal, RefusalCode
    from celadon.domain.language.messages import RolloutResult
    from celadon.domain.language.moments import utc
    from celadon.domain.language.names import Epoch, RouteSetId
    from celadon.domain.language.opening import TimerOpening
    from celadon.domain.language.progress import AbortRequest, PendingAbort, Progress, PromotionRequest, Winner
    from celadon.domain.language.rollout_state import Stage, shown_routers
    from celadon.domain.language.states import Channel, Colour, RolloutOutcome, RolloutPhase
    from celadon.domain.language.steps import (
        BeginStep,
        CloseStep,
        DrainEnd,
        FinishStep,
        FreezesStep,
        Judged,
        JudgeStep,
        PhaseStep,
        Step,
        SwitchAnswer,
        WindowStep,
    )
    from workflows import calls
    from workflows.growth import GrowingRollout
    from workflows.replies import PendingRequest
    from workflows.start import read_start
    from workflows.state import NO_TIMER_EARLIER, PENDING_AND_HOLDS, RESUMES_IN_ORDER

JUDGED_BYTES: Final = 40 * 1024
"""Of the messages that one step judges, as JSON."""

_JUDGED_ABORTS: Final = "aborts are judged"
"""The patch that lets the table judge who aborts."""

_OWN_ABORTS: Final = "an abort is withdrawn by who asked alone"
"""The patch since which everybody who asks is kept, and one person's withdrawal leaves the others' aborts alone."""

_NO_BAKE_WITHOUT_BLUE: Final = "no bake lasts without blue"
"""The patch since which a bake ends once the table refuses the way back because blue is gone."""

AnswerT = TypeVar("AnswerT")

_deployment_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_DEPLOYMENT)
_revision_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_REVISION)
_phase_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_PHASE)
_outcome_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_OUTCOME)


@workflow.defn(name=contracts.WORKFLOW_TYPE)
class BlueGreenRollout(GrowingRollout):
    """The workflow of one rollout; its id is ``rollout-<deployment>``, so that Temporal allows one at a time."""

    # The platform's side: input, cancellation, the end.

    @workflow.init
    def __init__(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401 - as ``run``
        """Begin, or go on where the run before this one stood."""
        del more
        super().__init__(payload)
        self._drain: asyncio.Task[DrainEnd] | None = None
        """A drain of blue that runs."""
        self._drained: DrainResult | None = None
        self._closed_because = ""

    @workflow.run
    async def run(self, payload: Any = None, *more: Any) -> RolloutResult:  # noqa: ANN401 - the one parser reads it
        """Run the rollout, or go on with it; a cancel is an abort, and the story ends by itself.

        Raises:
            ApplicationError: the input or the first step was refused, or the outcome is ``failed``; then the details
                hold the result.

        """
        if self._goes_on:
            self._tell_details()
        begin = None if self._goes_on else read_start(payload, more)
        story = asyncio.create_task(self._story(begin))
        while not story.done():
            try:
                await asyncio.shield(story)
            except asyncio.CancelledError:
                if not story.done():
                    self._record_cancel()
            except FailureError:
                break
        self._dismiss_callers()
        await workflow.wait_condition(workflow.all_handlers_finished)
        result = story.result()
        if self._state.cancelled:
            raise asyncio.CancelledError(result.reason)
        if result.outcome is RolloutOutcome.FAILED:
            raise ApplicationError(result.reason, result, type=result.outcome.value, non_retryable=True)
        return result

    # The story.

    async def _story(self, begin: BeginStep | None) -> RolloutResult:
        """Tell the story from its begin, or from the stage that the run before this one had come to."""
        if begin is not None:
            await self._begin(begin)
            await self._provision_green()
        if self._state.stage is Stage.GATE:
            passed = await self._pass_the_gate()
            if isinstance(passed, SwitchAnswer):
                self._live_with_green(passed)
            elif await self._close_green(passed):
                return await self._finish(passed.outcome, passed.reason)
            else:
                self._learn_that_green_is_live(passed)
        return await self._leave_blue()

    async def _begin(self, step: BeginStep) -> None:
        begun = await self._do(calls.BEGIN, step, f"register rollout of {step.request.deployment}")
        self._update(
            deployment=begun.deployment,
            rollout=begun.rollout,
            policy=begun.policy,
            gated=begun.gated,
            from_revision=begun.from_revision,
            to_revision=begun.to_revision,
            blue_set=begun.blue_set,
        )
        self._state.started_at = begun.started_at
        workflow.upsert_search_attributes(
            [
                _deployment_attribute.value_set(begun.deployment),
                _revision_attribute.value_set(str(begun.to_revision)),
                _phase_attribute.value_set(RolloutPhase.PROVISIONING.value),
            ],
        )

    async def _pass_the_gate(self) -> GoBack | SwitchAnswer:
        """Bring green through provisioning, verification and promotion, until it is live or given up."""
        while True:
            seen = self._news
            await self._before_deciding()
            decision = self._decide_at_the_gate()
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
                    before = self._state.progress
                    answer = await self._switch(decision)
                    if answer.recorded or answer.growth is not None:
                        continue
                    if answer.refusal is None:
                        return answer
                    await self._stay_at_the_gate(before, answer, answer.refusal)
                case Wait() | LookUpWindows() | HoldTimer() | OpenGreen():
                    await self._wait_at_the_gate(decision, seen)

    async def _wait_at_the_gate(self, decision: Wait | LookUpWindows | HoldTimer | OpenGreen, seen: int) -> None:
        match decision:
            case OpenGreen():
                await self._provision_green()
            case LookUpWindows():
                await self._look_up_windows(decision)
            case HoldTimer():
                await self._hold_timer(decision)
            case Wait():
                await self._wait_for_news(seen, decision.first)
                self._tell_details()

    async def _before_deciding(self) -> None:
        """Have messages judged that may change what is decided, hear of missed edges, and end what is over in time."""
        while self._to_judge:
            await self._judge_messages("judge who changes what the timers do")
        await self._ask_for_missed_edges()
        await self._read_freezes()
        await self._read_successor()
        self._end_pause_in_time()
        if window_hold_is_over(self._state.progress, workflow.now()):
            self._update(hold=None)

    async def _read_freezes(self) -> None:
        """Read the freezes anew when the table says that they have changed."""
        if self._freezes_changed:
            self._freezes_changed = False
            step = self._step(FreezesStep, since=self._freezes_since())
            read = await self._do(calls.READ_FREEZES, step, "read the freezes of the deployment")
            self._learn_of_freezes(read)

    async def _ask_for_missed_edges(self) -> None:
        """Ask the keeper for green's condition when a flood left edges unread, or the run was reset."""
        if self._missed_edges and self._state.progress.green_set is not None:
            self._missed_edges, self._asks_table = False, True
            heard = self._state.progress.green
            try:
                answer = await self._do(calls.ASK_FOR_EDGE, self._step(Step), "ask the keeper for green's condition")
            finally:
                self._asks_table = False
            # A run that was reset has forgotten who gave the rollout other timers, but not which.
            if answer is not None and answer.policy != self._state.progress.policy:
                self._update(policy=answer.policy)
            if answer is not None and answer.growth is not None and self._state.stage is Stage.GATE:
                self._take_up_growth(answer.growth)
            if answer is not None:
                # The pause counted in the run before, and a signed message counts once.
                self._update_to(taken_up(self._state.progress, answer.paused, workflow.now()))
                if self._state.progress.green == heard:
                    # No edge came meanwhile that tells more.
                    self._update(green_lost_since=answer.green_lost_since)

    async def _judge_abort(self, decision: GoBack) -> GoBack | None:
        """Let the table judge who aborts; return the decision of the first abort that counts, if one does.

        Rollouts that began before aborts were judged go back unasked when their history is replayed.
        """
        if not workflow.patched(_JUDGED_ABORTS):
            return decision
        asked = _first_within([one for one in self._aborts if one.request.message is not None])
        judged = await self._do(
            calls.JUDGE,
            self._step(JudgeStep, messages=tuple(one.request.message for one in asked), at=workflow.now()),
            f"judge the abort by {decision.by}",
        )
        counts: AbortRequest | None = None
        for one, refusal in zip(asked, judged.refusals, strict=True):
            if refusal is None:
                counts = counts or one.request
                continue
            one.reply.give(refusal)
            self._aborts.remove(one)
            self._keep_refusal(
                contracts.ABORT,
                one.request.door,
                {"by": one.request.command.by},
                refusal,
            )
        self._update(abort=counts or self._next_abort())
        again = None if counts is None else decide(self._state.progress, workflow.now())
        return again if isinstance(again, GoBack) else None

    def _next_abort(self) -> AbortRequest | None:
        return self._aborts[0].request if self._aborts else None

    async def _enter(self, decision: Enter) -> None:
        """Enter another phase before the switch; a person's promotion that came too late is refused."""
        now = workflow.now()
        regressed = self._state.progress.phase is RolloutPhase.AWAITING_PROMOTION
        if regressed:
            self._refuse_promotions(
                Refusal(
                    code=RefusalCode.NO_HEALTHY_GREEN,
                    message="green regressed before the promotion was carried out",
                    next_step="promote again when it waits for a promotion",
                ),
            )
        waits = decision.phase is RolloutPhase.AWAITING_PROMOTION
        asks_for_approvals = self._state.progress.policy.approvals is not None
        spends_approvals = asks_for_approvals and regressed and self._state.progress.regressed_by_itself
        self._update(
            phase=decision.phase,
            since=now,
            unverified_since=now if regressed else self._state.progress.unverified_since,
            verified_since=now if waits else None,
            waited_since=(self._state.progress.waited_since or now) if waits else self._state.progress.waited_since,
            regressions=self._state.progress.regressions
            + (1 if regressed and self._state.progress.regressed_by_itself else 0),
            regressed_at=now
            if regressed and self._state.progress.regressed_by_itself
            else self._state.progress.regressed_at,
            regressed_since_verified=False,
            regressed_by_itself=False,
        )
        look_up = decide(self._state.progress, now)
        if isinstance(look_up, LookUpWindows):
            # Whoever is told that green waits is told when a timer promotes it.
            await self._look_up_windows(look_up)
        if spends_approvals:
            self._update(approvals=())
        if regressed and self._state.progress.hold is not None:
            self._update(hold=hold_over_regression(self._state.progress.hold))
        self._note(
            "regressed" if regressed else decision.phase.value,
            reason=decision.why,
            evidence=self._what_it_waits_for()
            if waits
            else {HELD_BY: REGRESSIONS}
            if regressed and self._state.progress.automation_suspended
            else None,
        )
        if waits or regressed:
            workflow.upsert_search_attributes([_phase_attribute.value_set(decision.phase.value)])
        freezes = await self._do(
            calls.ENTER_PHASE,
            self._step(
                PhaseStep,
                phase=decision.phase,
                at=now,
                freezes_since=self._freezes_since(),
                spends_approvals=spends_approvals,
            ),
            f"{decision.phase.value}: {decision.why}",
        )
        self._learn_of_freezes(freezes)

    async def _look_up_windows(self, decision: LookUpWindows) -> None:
        """Ask when the policy's windows let a timer switch."""
        times = await self._do(
            calls.LOOK_UP_WINDOWS,
            self._step(WindowStep, due=decision.due, at=workflow.now()),
            f"look up the windows from {utc(decision.due)} on",
        )
        self._update(opening=TimerOpening.of(times, decision.due, workflow.now()))

    async def _hold_timer(self, decision: HoldTimer) -> None:
        """Hold a timer that is due until the policy's windows open."""
        hold = decision.hold
        self._update(hold=hold)
        reason = narration.holding_reason(self._state.progress, workflow.now())
        self._note("held", by="policy", door=Channel.TIMER, reason=reason)
        await self._stay_in_phase(hold.why)

    async def _switch(self, decision: GoAhead) -> SwitchAnswer:
        """Ask the table for the switch; what it answers is what happened."""
        before = self._state.progress
        winner = Winner(by=decision.by, door=decision.door, at=workflow.now())
        self._update(phase=RolloutPhase.SWITCHING, since=workflow.now(), promotion=None, winner=winner)
        pending, self._promotions = self._promotions, []
        self._state.decision = f"promotion by {decision.by} ({decision.door.value})"
        try:
            answer = await self._do(
                calls.SWITCH,
                self._switch_step(decision.by, decision.door, decision.reason, decision.message, grown=decision.grown),
                f"switch {self._state.progress.deployment} to {self._named_revision()}, by {decision.by}",
                start_to_close=self._state.progress.policy.router_ack_timeout + calls.TRANSACTION + calls.GRACE,
            )
        except FailureError:
            # The rollout ends, and all who wait are told so.
            self._promotions = [*pending, *self._promotions]
            raise
        if before.policy.approvals is not None:
            self._update(approvals=answer.approvals)
        if answer.recorded:
            self._keep_approval(before, pending)
            return answer
        if answer.growth is not None:
            await self._begin_to_grow(before, answer.growth, pending)
            return answer
        if answer.refusal is not None:
            # Whoever else asked is not told that somebody's message does not count, but asks in turn.
            callers, left = (pending[:1], pending[1:]) if answer.message_refused else (pending, [])
            for one in callers:
                one.reply.give(answer.refusal)
            waits_for_people = answer.refusal.code is RefusalCode.APPROVALS_MISSING
            self._note(
                "approvals_missing" if waits_for_people else "promotion_refused",
                by=decision.by,
                door=decision.door,
                reason=str(answer.refusal),
                evidence=self._counted_evidence(before) if waits_for_people else self._hold_evidence(before, answer),
                message=decision.message,
                of_message=True,
            )
            if answer.message_refused:
                self._wait_as_before(before, left)
            return answer
        self._state.epoch, self._state.silent = answer.epoch, shown_routers(answer.silent)
        self._update(phase=RolloutPhase.BAKING, since=workflow.now(), hold=None, growth=None)
        told_switch = self._promote_answer(PromoteState.SWITCHED, before).model_copy(
            update={
                "decided_by": decision.by,
                "epoch": answer.epoch,
                "acknowledged_by": answer.acknowledged_by,
                "acknowledged_count": answer.acknowledged_count,
                "silent": answer.silent,
                "silent_count": answer.silent_count,
                "ms": answer.ms,
            },
        )
        for one in pending:
            one.reply.give(told_switch)
        self._refuse_promotions_that_came_too_late()
        return answer

    def _hold_evidence(self, before: Progress, answer: SwitchAnswer) -> dict[str, str] | None:
        """Return what the refusal of a switch holds the rollout by; nothing where it holds nothing."""
        hold = None if answer.message_refused else hold_after(before.hold, answer, workflow.now())
        return None if hold is None else {HELD_BY: hold.kind.value, HELD_SINCE: hold.since.isoformat()}

    def _keep_approval(
        self, before: Progress, pending: Sequence[PendingRequest[PromotionRequest, PromoteAnswer]]
    ) -> None:
        """The promotion is one approval of several: whoever else asked meanwhile asks in turn."""
        first, left = pending[:1], list(pending[1:])
        for one in first:
            one.reply.give(self._promote_answer(PromoteState.RECORDED, before))
            self._state.decision = f"approval by {one.request.command.by} ({one.request.door.value})"
        self._wait_as_before(before, left)
        self._refuse_promotions_that_came_too_late()

    def _wait_as_before(self, before: Progress, left: list[PendingRequest[PromotionRequest, PromoteAnswer]]) -> None:
        """Go on in the phase in which the table was asked; promotions that it has not judged yet come next."""
        self._promotions = [*left, *self._promotions]
        promotion = self._promotions[0].request if self._promotions else None
        self._update(phase=before.phase, since=before.since, promotion=promotion)

    def _counted_evidence(self, before: Progress) -> dict[str, str]:
        rule = before.policy.approvals
        approvals = counted(self._state.progress.approvals, before.phase)
        return approvals_evidence(len(approvals), 0 if rule is None else rule.count)

    async def _stay_at_the_gate(self, before: Progress, answer: SwitchAnswer, refusal: Refusal) -> None:
        """Go on as before when a message does not count, hold, or let green prove itself again."""
        if not answer.message_refused and not await self._is_held(before, answer):
            await self._return_to_verifying(refusal, answer)
        self._refuse_promotions_that_came_too_late()

    async def _is_held(self, before: Progress, answer: SwitchAnswer) -> bool:
        """Hold when the switch was refused through no fault of green's; return whether it was.

        The decision is spent and everything else is as ``before``, but that no timer asks until the hold has ended.
        """
        if before.growth is not None:
            return await self._return_from_growth(before, answer)
        if is_refused_by_windows(answer):
            self._state.decision = f"{self._state.decision}, refused: windows closed"
            opening = opening_after(self._state.progress, answer.openings, workflow.now())
            self._update(phase=before.phase, since=before.since, opening=opening)
            await self._stay_in_phase("the windows of the policy are closed")
            return True
        hold = hold_after(before.hold, answer, workflow.now())
        if hold is None or answer.refusal is None or not workflow.patched(PENDING_AND_HOLDS):
            self._update(hold=None)
            return False
        # The signal that ends it may have come before the answer.
        is_cured = bool(hold.ended_by) and self._state.progress.cures != before.cures
        self._state.decision = f"{self._state.decision}, refused: {answer.refusal.message}"
        self._update(phase=before.phase, since=before.since, hold=None if is_cured else hold)
        await self._stay_in_phase(hold.why)
        return True

    async def _return_to_verifying(self, refusal: Refusal, answer: SwitchAnswer) -> None:
        """The re-check refused: the decision is spent, and green has to prove itself again.

        Only green's own doing counts as its regression, and that it grows because somebody scaled it is not. Only what
        the table contradicted is forgotten; an edge that came meanwhile, such as ``failed``, comes once.
        """
        now = workflow.now()
        counts = is_greens_fault(answer) or (not answer.scaled and not workflow.patched(PENDING_AND_HOLDS))
        self._state.decision = f"{self._state.decision}, refused: {refusal.message}"
        self._update(
            phase=RolloutPhase.VERIFYING,
            since=now,
            unverified_since=now,
            verified_since=None,
            regressions=self._state.progress.regressions + (1 if counts else 0),
            regressed_at=now if counts else self._state.progress.regressed_at,
            green=None if self._state.progress.green_is_ready else self._state.progress.green,
        )
        workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.VERIFYING.value)])
        await self._do(
            calls.ENTER_PHASE,
            self._step(PhaseStep, phase=RolloutPhase.VERIFYING, at=now),
            f"verifying: {refusal.message}",
        )
        await self._do(calls.ASK_FOR_EDGE, self._step(Step), "ask the keeper for green's condition")

    def _live_with_green(self, switched: SwitchAnswer) -> None:
        """Green is live, and blue stays warm."""
        self._state.switched_at = workflow.now()
        self._state.stage = Stage.BAKING
        if self._state.progress.blue_set is not None and switched.epoch is not None:
            workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.BAKING.value)])

    async def _leave_blue(self) -> RolloutResult:
        """Bake, then drain blue, or go back to it: carry out what is decided until the rollout has ended."""
        while True:
            await self._hear_of_drain()
            seen = self._news
            await self._read_successor()
            self._end_pause_in_time()
            decision = after_switch.decide(self._state, self._circumstances(), workflow.now())
            match decision:
                case SwitchBack():
                    await self._go_back_to_blue(decision.request)
                case Drain(colour=Colour.BLUE):
                    self._begin_to_drain_blue()
                case Drain():
                    await self._drain_green()
                case Examine(what=Examined.MESSAGES):
                    await self._judge_messages(decision.why)
                case Examine():
                    await self._ask_for_missed_edges()
                case after_switch.Wait():
                    await self._wait_after_switch(decision, seen)
                case Finish():
                    return await self._finish(decision.outcome, decision.reason)

    def _circumstances(self) -> Circumstances:
        return Circumstances(
            messages_wait=bool(self._to_judge),
            edges_missed=self._missed_edges and self._state.progress.green_set is not None,
            cancelled=self._state.cancelled,
            blue_drains=self._drain is not None,
            drained=self._drained,
            closed_because=self._closed_because,
        )

    async def _judge_messages(self, summary: str) -> None:
        """Let the table judge messages that lead to no step of their own; who sent what does not count is told why."""
        asked = _first_within(self._to_judge)
        self._to_judge = self._to_judge[len(asked) :]
        self._being_judged = asked
        try:
            judged = await self._do(
                calls.JUDGE,
                self._step(
                    JudgeStep,
                    messages=tuple(one.request.message for one in asked),
                    at=workflow.now(),
                ),
                summary,
            )
        except FailureError:
            # As for promotions.
            self._to_judge = [*asked, *self._to_judge]
            raise
        finally:
            self._being_judged = []
        if judged.approvals is not None:
            self._update(approvals=judged.approvals)
        for one, refusal in zip(asked, judged.refusals, strict=True):
            verb = "" if one.request.message is None else one.request.message.verb
            answer = refusal or self._carry_out(verb, one.request, judged)
            one.reply.give(answer)
            if isinstance(answer, Refusal):
                self._keep_refusal(verb, one.request.door, {"by": one.request.command.by}, answer)
        if may_be_given_up(self._state.progress):
            self._end_pending(judged, finishes=False)
        if judged.policy is not None and judged.policy != self._state.progress.policy:
            # The message that gave it these timers counted in a run which this one was reset from.
            self._update(policy=judged.policy)

    def _carry_out(self, verb: str, request: AbortRequest, judged: Judged) -> JudgedAnswer | Refusal:
        """Do what a message asks that counts and leads to no step of its own; return what its sender is answered."""
        progress, now = self._state.progress, workflow.now()
        match verb:
            case contracts.PAUSE if isinstance(request.command, PauseCommand):
                # What was judged before it may have ended the last timer.
                too_late = refuse_pause(progress, request.command)
                if too_late is not None:
                    return too_late
                self._pause(request.command, request.door)
            case contracts.RESUME:
                not_paused = refuse_resume(progress, BakeCommand())
                if not_paused is not None and workflow.patched(RESUMES_IN_ORDER):
                    return not_paused
                self._update_to(resumed(progress, now))
            case contracts.WITHDRAW if progress.pending is None and progress.policy.approvals is not None:
                return JudgedAnswer(
                    phase=progress.phase,
                    withdrawn=Withdrawn.APPROVAL,
                    approvals=len(progress.approvals),
                    needed=progress.policy.approvals.count,
                )
            case contracts.RESCHEDULE if isinstance(request.command, RescheduleCommand) and judged.policy is not None:
                self._update_to(rescheduled(progress, judged.policy, request.command, now))
                moments = promotion_moments(self._state.progress)
                return JudgedAnswer(
                    phase=progress.phase,
                    paused_since=progress.paused_since,
                    paused_until=progress.paused_until,
                    promotes_at=moments.get(PROMOTION_TIMER),
                    deadline_at=moments.get(DEADLINE_TIMER),
                )
            case _:
                return self._end_pending(judged, finishes=verb == contracts.FINISH)
        after = self._state.progress
        return JudgedAnswer(phase=after.phase, paused_since=after.paused_since, paused_until=after.paused_until)

    def _pause(self, command: PauseCommand, door: Channel) -> None:
        """Let the timers stand still; an end may have passed while the table judged the message."""
        now = workflow.now()
        after = paused(self._state.progress, command, door, now)
        is_past = refuse_past_end(self._state.progress, command, now) is not None
        if is_past and after.paused is not None and not workflow.patched(NO_TIMER_EARLIER):
            after = after.with_changes(paused=after.paused.model_copy(update={"until": command.until}))
        self._update_to(after)

    def _end_pending(self, judged: Judged, *, finishes: bool) -> JudgedAnswer:
        """Give up what is pending with the bake, or for who withdraws alone."""
        progress, now = self._state.progress, workflow.now()
        pending, abort = progress.pending, progress.abort
        left = None if finishes else left_pending(pending, judged.pending, now)
        if pending is not None and abort == pending.request:
            # It was to be tried again: for whoever is left. Another one that came meanwhile is tried all the same.
            abort = None if left is None else left.request
        wants_cancel = self._state.cancelled and not finishes and left is None and abort is None
        if wants_cancel and workflow.patched(_OWN_ABORTS):
            abort = cancellation(now)
        self._update(pending=left, abort=abort, bake_is_over=progress.bake_is_over or finishes)
        return JudgedAnswer(
            phase=RolloutPhase.DRAINING if finishes else progress.phase,
            withdrawn=None if finishes else Withdrawn.ABORT,
            pending_by="" if left is None else left.request.command.by,
        )

    def _end_pause_in_time(self) -> None:
        """Let the timers run on from the end that a pause was given."""
        pause, ends = self._state.progress.paused, runs_on_from(self._state.progress)
        if pause is None or pause.until is None or ends is None or not is_over(pause, workflow.now()):
            return
        if ends != pause.until and not workflow.patched(NO_TIMER_EARLIER):
            ends = pause.until
        self._update_to(resumed(self._state.progress, ends))
        self._note("resumed", by="policy", door=Channel.TIMER, reason=f"the pause by {pause.by} has ended")

    def _begin_to_drain_blue(self) -> None:
        """Drain blue once every live router has acknowledged; meanwhile a switch back is still possible."""
        self._state.stage = Stage.DRAINING_BLUE
        self._state.routers_served = None
        self._update(phase=RolloutPhase.DRAINING, since=workflow.now(), bake_is_over=True)
        self._drain = asyncio.create_task(
            self._close(self._known_blue(), RolloutPhase.DRAINING, self._known_epoch()),
        )

    async def _hear_of_drain(self) -> None:
        """Wait until the drain of blue has ended, or somebody asks for something meanwhile."""
        drain = self._drain
        if drain is None:
            return
        if not drain.done():
            await workflow.wait_condition(
                lambda: drain.done() or self._state.progress.abort is not None or bool(self._to_judge),
            )
        if drain.done():
            self._drain = None
            self._take_end_of_drain(drain.result())

    def _take_end_of_drain(self, end: DrainEnd) -> None:
        if end.reopened:
            self._drained = DrainResult.REOPENED
            self._ask_for_way_back_after_reset("blue is live again: the rollout had gone back before it was reset")
            return
        if end.refusal is None:
            self._drained = DrainResult.EMPTY
            self._forget_pending_abort()
            return
        self._state.silent = shown_routers(end.silent)
        self._update(phase=RolloutPhase.BAKING, since=workflow.now())
        if end.refusal.code is not RefusalCode.ABORT_REQUESTED:
            self._state.awaits_routers = self._state.progress.pending is None
        elif self._state.progress.pending is None:
            self._ask_for_way_back_after_reset("an abort was pending before the rollout was reset")

    def _ask_for_way_back_after_reset(self, reason: str) -> None:
        """The table tells what this run does not know: it was reset to a moment before that."""
        if self._state.progress.abort is None:
            command = AbortCommand(by="reset", reason=reason)
            self._update(abort=AbortRequest(command=command, door=Channel.POLICY, at=workflow.now()))

    def _forget_pending_abort(self) -> None:
        """Blue is gone: tell in the audit log that there is no way back for the abort that waited."""
        pending = self._state.progress.pending
        if pending is None:
            return
        self._note(
            "rollback_refused",
            by=pending.request.command.by,
            door=pending.request.door,
            reason="blue has drained before it could take the traffic",
            message=pending.request.message,
        )
        self._update(pending=None)

    async def _go_back_to_blue(self, request: AbortRequest) -> None:
        """Switch back if the table lets it; then blue is live again, and green is to be drained."""
        if not await self._switch_back(request):
            return
        if self._drain is not None:
            await self._drain
        self._drain = self._drained = None
        workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.ROLLING_BACK.value)])
        self._state.stage = Stage.DRAINING_GREEN

    async def _switch_back(self, request: AbortRequest) -> bool:
        """Ask the table for the way back to blue; return whether it went through. Whoever asked is told."""
        cures = self._state.progress.cures
        keeps_asking = workflow.patched(PENDING_AND_HOLDS)
        answer = await self._do(
            calls.SWITCH_BACK,
            self._switch_step(
                request.command.by,
                request.door,
                request.command.reason,
                request.message,
                keeps_asking=keeps_asking,
            ),
            f"switch {self._state.progress.deployment} back to blue, by {request.command.by}",
            start_to_close=self._state.progress.policy.router_ack_timeout + calls.TRANSACTION + calls.GRACE,
        )
        # Also those who asked while the table was being asked: the answer is theirs too, unless it is that somebody
        # else's message does not count, or that the table keeps who asked until blue can take the traffic.
        sick = answer.refusal is not None and answer.refusal.code is RefusalCode.NO_HEALTHY_BLUE
        each_is_kept = keeps_asking and sick and workflow.patched(_OWN_ABORTS)
        callers = [
            one for one in self._aborts if one.request is request or not (answer.message_refused or each_is_kept)
        ]
        self._aborts = [one for one in self._aborts if one not in callers]
        pending = pending_after(self._state.progress.pending, request, answer, workflow.now()) if keeps_asking else None
        self._update(abort=self._next_abort(), pending=pending)
        if answer.refusal is not None and pending is not None and not answer.message_refused:
            self._wait_for_blue(pending, answer.refusal, callers, is_cured=self._state.progress.cures != cures)
            return False
        if answer.refusal is not None:
            is_gone = answer.refusal.code is RefusalCode.BLUE_DRAINED and self._state.stage is Stage.BAKING
            if is_gone and workflow.patched(_NO_BAKE_WITHOUT_BLUE):
                # Nothing stays warm, whatever stopped the timer of the bake; a run that was reset learns of it here.
                self._update(bake_is_over=True)
            if request.lost_green:
                # Nothing would be otherwise the next time.
                self._update(green_lost_since=None)
            for one in callers:
                one.reply.give(answer.refusal)
            self._note(
                "rollback_refused",
                by=request.command.by,
                door=request.door,
                reason=str(answer.refusal),
                message=request.message,
                of_message=True,
            )
            return False
        self._state.decision = f"rollback by {request.command.by} ({request.door.value})"
        self._state.back_reason = request.command.reason or self._state.decision
        self._state.epoch, self._state.silent = answer.epoch, shown_routers(answer.silent)
        self._update(phase=RolloutPhase.ROLLING_BACK, since=workflow.now())
        for one in callers:
            one.reply.give(
                AbortAnswer(
                    outcome=RolloutOutcome.ROLLED_BACK,
                    epoch=answer.epoch,
                    acknowledged_by=answer.acknowledged_by,
                    acknowledged_count=answer.acknowledged_count,
                    silent=answer.silent,
                    silent_count=answer.silent_count,
                    ms=answer.ms,
                ),
            )
        return True

    def _wait_for_blue(
        self,
        pending: PendingAbort,
        refusal: Refusal,
        told: Sequence[PendingRequest[AbortRequest, AbortAnswer]],
        *,
        is_cured: bool,
    ) -> None:
        """Blue cannot take the traffic for the moment: keep it, and tell whoever asked that the abort is recorded."""
        phase = self._state.progress.phase
        for one in told:
            one.reply.give(recorded(refusal, phase))
        # A run that was reset learns only now that green is live.
        self._update(phase=RolloutPhase.BAKING if phase is RolloutPhase.ROLLING_BACK else phase)
        if is_cured and self._state.progress.abort is None:
            # What blue waited for came before the answer.
            self._update(abort=pending.request)

    async def _drain_green(self) -> None:
        """Drain green once every live router has acknowledged the way back."""
        self._state.routers_served = None
        end = await self._close(self._known_green(), RolloutPhase.ROLLING_BACK, self._known_epoch())
        if end.refusal is None:
            self._drained = DrainResult.EMPTY
        else:
            self._state.silent, self._state.awaits_routers = shown_routers(end.silent), True

    async def _close_green(self, decision: GoBack) -> bool:
        """Close a green that never became live; return whether that was so."""
        self._state.decision = f"{decision.outcome.value} by {decision.by} ({decision.door.value})"
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
            one.reply.give(AbortAnswer(outcome=decision.outcome))
        workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.ROLLING_BACK.value)])
        self._note(
            decision.outcome.value,
            by=decision.by,
            door=decision.door,
            reason=decision.reason,
            message=decision.message,
        )
        green = self._state.progress.green_set
        if green is None:
            return True
        end = await self._close(green, RolloutPhase.ROLLING_BACK, None)
        return not end.reopened

    def _learn_that_green_is_live(self, decision: GoBack) -> None:
        """Go back as after a switch: this run never switched, for it was reset to a moment before that."""
        now = workflow.now()
        if decision.outcome is not RolloutOutcome.SUPERSEDED:
            # A newer rollout ends a bake, and never goes back.
            command = AbortCommand(by=decision.by, reason=decision.reason)
            self._update(abort=AbortRequest(command=command, door=decision.door, at=now, message=decision.message))
        self._state.switched_at = now
        self._closed_because = decision.reason

    async def _close(self, route_set: RouteSetId, phase: RolloutPhase, epoch: Epoch | None) -> DrainEnd:
        """Close a set and wait until it is empty; with ``epoch``, only once every live router serves that."""
        colour = Colour.GREEN if route_set == self._state.progress.green_set else Colour.BLUE
        policy = self._state.progress.policy
        end = await self._do(
            calls.DRAIN,
            self._step(
                CloseStep,
                route_set=route_set,
                phase=phase,
                at=workflow.now(),
                timeout_seconds=policy.drain_timeout.total_seconds(),
                needs_acknowledgement=epoch,
            ),
            f"drain {colour.value} of {self._state.progress.deployment}",
            start_to_close=policy.drain_timeout + policy.router_ack_timeout + calls.GRACE,
        )
        if end.refusal is None:
            self._state.silent = ()
        return end

    async def _finish(self, outcome: RolloutOutcome, reason: str) -> RolloutResult:
        progress = self._state.progress
        evidence = {"decision": self._state.decision, "regressions": str(progress.regressions)}
        if progress.green is not None and progress.green.last_error:
            evidence["last_error"] = progress.green.last_error
        self._update(
            phase=RolloutPhase.COMPLETED, since=workflow.now(), outcome=outcome, abort=None, pending=None, hold=None
        )
        finished = await self._do(
            calls.FINISH,
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
            started_at=self._state.started_at,
            switched_at=finished.switched_at or self._state.switched_at,
            completed_at=finished.completed_at,
            requests_cut=finished.requests_cut,
            reason=finished.reason or reason,
            evidence=evidence | ({"last_error": finished.last_error} if finished.last_error else {}),
        )

    # Waiting: one timer, nothing in flight.

    async def _wait_after_switch(self, decision: after_switch.Wait, seen: int) -> None:
        match decision.awaits:
            case Awaited.BAKE:
                await self._wait_for_news(seen, decision.timer)
            case Awaited.CURE:
                await self._wait_for_cure()
            case Awaited.ROUTERS:
                await self._wait_for_routers(self._known_epoch())
                self._state.awaits_routers = False
            case Awaited.DRAIN:
                await self._hear_of_drain()
            case _ as unreachable:
                assert_never(unreachable)

    async def _wait_for_routers(self, epoch: Epoch) -> None:
        """Wait until the keeper tells that all live routers serve ``epoch``, or, before blue drains, for an abort.

        When what it told may have been missed, the caller asks the table anew too.
        """
        abortable = self._state.stage is not Stage.DRAINING_GREEN
        await self._rest(
            lambda: (
                (self._state.routers_served is not None and self._state.routers_served >= epoch)
                or self._missed_edges
                or (abortable and (self._state.progress.abort is not None or bool(self._to_judge)))
            ),
            None,
        )
        self._missed_edges = False

    async def _wait_for_cure(self) -> None:
        """Wait until blue has changed, or nobody wants to go back any more."""

        def ends() -> bool:
            progress = self._state.progress
            is_given_up = progress.pending is None or may_be_given_up(progress)
            return progress.abort is not None or is_given_up or bool(self._to_judge)

        if self._state.stage is Stage.GATE:
            # A run that was reset to before a switch which it has forgotten: no stage of the next run goes on from it.
            await workflow.wait_condition(ends)
        else:
            await self._rest(ends, None)


def _first_within(
    asked: Sequence[PendingRequest[AbortRequest, AnswerT]],
) -> list[PendingRequest[AbortRequest, AnswerT]]:
    """Return the first requests, as many as one step takes; the others are judged afterwards."""
    taken: list[PendingRequest[AbortRequest, AnswerT]] = []
    room = JUDGED_BYTES
    for one in asked:
        room -= len(one.request.model_dump_json().encode())
        if room < 0 and taken:
            break
        taken.append(one)
    return taken
