"""Room for green, and its growth: what a rollout does when ``max_total_replicas`` or ``preview_replicas`` say so.

A green that was opened as a preview grows once its switch is decided. The table keeps the decision; the rollout
verifies green again and then asks for the switch that was decided.
"""

from collections.abc import Sequence
from datetime import datetime

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from celadon.domain.decisions import narration
    from celadon.domain.decisions.approvals import counted
    from celadon.domain.decisions.freezing import told_of_freezes
    from celadon.domain.decisions.gate import hold_after
    from celadon.domain.decisions.preview import growing_since
    from celadon.domain.decisions.promotion import refuse_promotion
    from celadon.domain.language import contracts
    from celadon.domain.language.commands import PromoteAnswer, PromoteState
    from celadon.domain.language.freeze import FreezesRead
    from celadon.domain.language.growth import Growth
    from celadon.domain.language.names import RouteSetId
    from celadon.domain.language.progress import Hold, HoldKind, Progress, PromotionRequest
    from celadon.domain.language.rollout_state import Stage
    from celadon.domain.language.states import Channel, RolloutPhase
    from celadon.domain.language.steps import PhaseStep, Step, SwitchAnswer
    from workflows import calls
    from workflows.replies import PendingRequest
    from workflows.steps import RolloutSteps

_phase_attribute = SearchAttributeKey.for_keyword(contracts.SEARCH_PHASE)


class GrowingRollout(RolloutSteps):
    """Opens green when there is room for it, and lets it grow before the switch."""

    async def _provision_green(self) -> None:
        """Open green, or wait until there is room for it."""
        cures = self._state.progress.cures
        opened = await self._do(
            calls.PROVISION_GREEN,
            self._step(Step),
            f"open green: {self._named_revision()}",
        )
        self._state.stage = Stage.GATE
        if opened.route_set is None:
            await self._hold_for_room(opened.no_room, cures)
        else:
            self._green_is_open(opened.route_set)

    def _green_is_open(self, green_set: RouteSetId) -> None:
        now = workflow.now()
        green = self._state.progress.green
        # A reset workflow hears again of the green that its first run had.
        of_this_green = green if green is not None and green.route_set == green_set else None
        self._update(green_set=green_set, green=of_this_green, since=now, unverified_since=now, hold=None)

    async def _hold_for_room(self, why: str, cures: int) -> None:
        """Wait for room; the signal that tells of it may have come before the answer."""
        progress = self._state.progress
        is_cured = progress.cures != cures
        known = progress.hold
        since = known.since if known is not None and known.kind is HoldKind.NO_ROOM else workflow.now()
        hold = Hold(kind=HoldKind.NO_ROOM, since=since, why=why, ended_by=contracts.ROOM_CHANGED)
        self._update(hold=None if is_cured else hold)
        if not is_cured:
            reason = narration.holding_reason(self._state.progress, workflow.now())
            self._note("held", by="policy", door=Channel.POLICY, reason=reason)
        await self._stay_in_phase(why)

    async def _stay_in_phase(self, why: str) -> None:
        """Write down that the rollout holds in its phase, and hear of freezes."""
        progress = self._state.progress
        step = self._step(PhaseStep, phase=progress.phase, at=progress.since, freezes_since=self._freezes_since())
        self._learn_of_freezes(await self._do(calls.ENTER_PHASE, step, f"hold: {why}"))

    async def _begin_to_grow(
        self,
        before: Progress,
        growth: Growth,
        pending: Sequence[PendingRequest[PromotionRequest, PromoteAnswer]],
    ) -> None:
        """The decision counts: green grows, or waits for room to grow, and is verified again."""
        grows = growing_since(self._state.progress, growth, workflow.now())
        is_new = before.growth is None
        since = workflow.now() if is_new else before.since
        self._update_to(grows.with_changes(phase=RolloutPhase.VERIFYING, since=since, hold=None))
        answer = self._promote_answer(PromoteState.GROWING, before).model_copy(update={"grows_to": growth.wanted})
        for one in pending:
            one.reply.give(answer)
        self._refuse_promotions_that_came_too_late()
        if is_new:
            workflow.upsert_search_attributes([_phase_attribute.value_set(RolloutPhase.VERIFYING.value)])
        if growth.no_room:
            await self._hold_for_room(growth.no_room, before.cures)
        else:
            await self._stay_in_phase(f"green grows to {growth.wanted}")

    async def _return_from_growth(self, before: Progress, answer: SwitchAnswer) -> bool:
        """Wait for a promotion again when the switch was refused through no fault of green's; return whether it was.

        The decision is spent, and what was approved is not; the timers go on from where they were.
        """
        hold = hold_after(before.hold, answer, workflow.now())
        if hold is None or answer.refusal is None:
            self._update(growth=None)
            return False
        is_cured = bool(hold.ended_by) and self._state.progress.cures != before.cures
        self._state.decision = f"{self._state.decision}, refused: {answer.refusal.message}"
        phase, now = RolloutPhase.AWAITING_PROMOTION, workflow.now()
        self._update(
            phase=phase,
            since=now,
            growth=None,
            hold=None if is_cured else hold,
            # A forced promotion, and a run that was reset, came to the growth without waiting.
            verified_since=self._state.progress.verified_since or now,
            waited_since=self._state.progress.waited_since or now,
        )
        workflow.upsert_search_attributes([_phase_attribute.value_set(phase.value)])
        self._note(phase.value, reason=answer.refusal.message, evidence=self._what_it_waits_for())
        await self._stay_in_phase(hold.why)
        return True

    def _take_up_growth(self, growth: Growth) -> None:
        """Go on with a decision that a run which was reset has forgotten."""
        grows = growing_since(self._state.progress, growth, workflow.now())
        self._state.decision = f"promotion by {growth.by} ({growth.door.value})"
        self._update_to(grows.with_changes(phase=RolloutPhase.VERIFYING, since=workflow.now(), hold=None))
        self._refuse_promotions_that_came_too_late()

    def _freezes_since(self) -> datetime | None:
        return self._state.progress.freezes_read_at or self._state.progress.waited_since

    def _learn_of_freezes(self, read: FreezesRead | None) -> None:
        if read is not None:
            self._update_to(told_of_freezes(self._state.progress, read, workflow.now()))

    def _promote_answer(self, state: PromoteState, before: Progress) -> PromoteAnswer:
        """Return what a promotion is answered, with the approvals that count where the policy asks for any."""
        rule = before.policy.approvals
        if rule is None:
            return PromoteAnswer(state=state)
        approvals = counted(self._state.progress.approvals, before.phase)
        return PromoteAnswer(
            state=state,
            approvals=len(approvals),
            needed=rule.count,
            approved_by=tuple(one.by for one in approvals),
        )

    def _refuse_promotions_that_came_too_late(self) -> None:
        """Tell who promoted while another approval was being recorded, and whose promotion the outcome has overtaken.

        Only where the policy asks for approvals a promotion is taken in that moment.
        """
        stay: list[PendingRequest[PromotionRequest, PromoteAnswer]] = []
        for one in self._promotions:
            refusal = refuse_promotion(self._state.progress, one.request.command)
            if refusal is None:
                stay.append(one)
                continue
            one.reply.give(refusal)
            self._keep_refusal(contracts.PROMOTE, one.request.door, {"by": one.request.command.by}, refusal)
        if len(stay) < len(self._promotions):
            self._promotions = stay
            self._update(promotion=stay[0].request if stay else None)
