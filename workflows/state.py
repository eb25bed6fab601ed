"""What a rollout knows, and what it tells of itself: status, current details, notes for the audit log."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Unpack

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from celadon.domain.decisions import narration
    from celadon.domain.decisions.after_switch import bake_timer
    from celadon.domain.decisions.former_gate import FORMER_GUARDS
    from celadon.domain.decisions.gate import DEADLINE_TIMER, PROMOTION_TIMER, GateDecision, Wait, decide
    from celadon.domain.decisions.lost_green import rollback_timer
    from celadon.domain.decisions.notification_rules import gate_evidence
    from celadon.domain.decisions.pause import pause_timers
    from celadon.domain.language import contracts
    from celadon.domain.language.commands import AbortAnswer, JudgedAnswer, PromoteAnswer
    from celadon.domain.language.errors import Refusal, RefusalCode
    from celadon.domain.language.limits import NAME_BYTES, echo
    from celadon.domain.language.messages import RefusedMessage, RolloutStatus, Timer
    from celadon.domain.language.progress import AbortRequest, Progress, ProgressChanges, PromotionRequest
    from celadon.domain.language.rollout_state import RolloutState
    from celadon.domain.language.states import Channel, RolloutPhase
    from celadon.domain.language.steps import Message, Note
    from workflows.replies import PendingRequest

CONTINUED: Final = "continued"
"""The key under which a run hands its state to the next one."""
PENDING_AND_HOLDS: Final = "pending aborts and holds"
"""The patch after which an abort that blue cannot take for the moment is pending, and a switch that was refused through
no fault of green's is a hold."""
NO_TIMER_EARLIER: Final = "no pause makes a timer earlier"
"""The patch after which an end of a pause that has passed is refused, or counts from the present where one is taken."""
RESUMES_IN_ORDER: Final = "a resumption counts after the pause that came before it"
"""The patch after which a rollout is resumed whose pause is on its way yet, in place of being refused."""
DEADLINE_RUNS_ON: Final = "only a pause and a freeze stop the promotion deadline"
"""The patch after which the guards of the gate are those of today, and not :data:`former_gate.FORMER_GUARDS`."""
KEPT_MESSAGES: Final = 100
"""How many messages a task reads, and how many wait at once for a decision."""
_SHOWN_REFUSALS: Final = 10


class StatefulWorkflow:
    """The state of one rollout, which messages and the story change and everybody reads."""

    def __init__(self, payload: object = None) -> None:
        """Begin with nothing heard, or where the run before this one went on; messages may arrive before ``run``."""
        continued = _continued_state(payload)
        self._goes_on = continued is not None
        self._state = continued or RolloutState(
            progress=Progress(
                deployment=workflow.info().workflow_id.removeprefix(contracts.WORKFLOW_ID_PREFIX),
                phase=RolloutPhase.PROVISIONING,
                since=workflow.now(),
            ),
            started_at=workflow.now(),
        )
        self._run_began = workflow.now()
        self._news = 0
        self._missed_edges = False
        self._asks_table = False
        """Whether the table is being asked for what a run that was reset has forgotten, a pause among it."""
        self._freezes_changed = False
        self._task = 0
        self._signals = 0
        self._read_in_task = 0
        self._read_of_keeper = 0
        self._promotions: list[PendingRequest[PromotionRequest, PromoteAnswer]] = []
        self._aborts: list[PendingRequest[AbortRequest, AbortAnswer]] = []
        self._to_judge: list[PendingRequest[AbortRequest, JudgedAnswer]] = []
        """Messages that lead to no step of their own, until the table is asked to judge them."""
        self._being_judged: list[PendingRequest[AbortRequest, JudgedAnswer]] = []
        """Those of them that the table judges now."""

    @workflow.query(name=contracts.STATUS, description="Phase, timers, decision, last green edge, last refusals.")
    def status(self) -> RolloutStatus:
        """Return what the rollout knows without reading the table."""
        now = workflow.now()
        progress = self._state.progress
        abort = progress.abort or (None if progress.pending is None else progress.pending.request)
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
            decision=self._state.decision,
            holding=narration.holding_reason(progress, now),
            approvals=self._counted_approvals(),
            approvals_needed=1 if progress.policy.approvals is None else progress.policy.approvals.count,
            approved=progress.approvals,
            abort_requested="" if abort is None else f"{abort.command.by}: {abort.command.reason}",
            paused_since=progress.paused_since,
            paused_until=progress.paused_until,
            timers_set=progress.timers_set,
            green=progress.green,
            growth=progress.growth,
            epoch=self._state.epoch,
            silent_routers=self._state.silent,
            refused=self._state.refused.items[-_SHOWN_REFUSALS:],
            refused_total=self._state.refused_total,
            outcome=progress.outcome,
            next_step=narration.next_step(progress, now),
        )

    def _counted_approvals(self) -> int:
        progress = self._state.progress
        if progress.policy.approvals is not None:
            return len(progress.approvals)
        return 1 if self._state.epoch is not None or progress.promotion is not None else 0

    def _timers(self, now: datetime) -> tuple[tuple[str, datetime], ...]:
        progress = self._state.progress
        match progress.phase:
            case RolloutPhase.PROVISIONING | RolloutPhase.VERIFYING | RolloutPhase.AWAITING_PROMOTION:
                decision = decide(progress, now)
                return decision.timers if isinstance(decision, Wait) else ()
            case RolloutPhase.BAKING if progress.pending is not None:
                return ()
            case RolloutPhase.BAKING if progress.green_lost_since is not None:
                timer = rollback_timer(progress)
                return () if timer is None else (timer,)
            case RolloutPhase.BAKING if progress.paused is not None:
                return pause_timers(progress.paused)
            case RolloutPhase.BAKING if not self._state.silent or now < progress.since + progress.policy.bake:
                return (bake_timer(progress),)
            case _:
                return ()

    def _decide_at_the_gate(self) -> GateDecision:
        """Return what comes next before the switch, in a replay as the version decided that wrote the history."""
        progress, now = self._state.progress, workflow.now()
        decision, former = decide(progress, now), decide(progress, now, FORMER_GUARDS)
        return decision if decision == former or workflow.patched(DEADLINE_RUNS_ON) else former

    def _what_it_waits_for(self) -> dict[str, str]:
        """Return what the audit log, and through it notifications, tell of the promotion; nothing when it is due."""
        decision = decide(self._state.progress, workflow.now())
        if not isinstance(decision, Wait):
            return {}
        rule = self._state.progress.policy.approvals
        needed = 0 if rule is None else rule.count
        return gate_evidence(dict(decision.timers), PROMOTION_TIMER, DEADLINE_TIMER, approvals=needed)

    def _named_revision(self) -> str:
        return f"r{self._state.progress.to_revision}"

    def _note(  # noqa: PLR0913 - a line of the log has these columns
        self,
        kind: str,
        *,
        by: str = "",
        door: Channel | None = None,
        reason: str = "",
        evidence: dict[str, str] | None = None,
        message: Message | None = None,
        of_message: bool = False,
    ) -> None:
        self._state.notes_written += 1
        note = Note(
            seq=self._state.notes_written,
            run=workflow.info().run_id,
            at=workflow.now(),
            kind=kind,
            by=by,
            door=door,
            reason=reason,
            evidence=evidence or {},
            message=message,
        )
        self._state.keep_note(note, of_message=of_message)

    def _note_what_was_left_out(self) -> None:
        """Tell the audit log how many messages it does not tell of."""
        left_out = self._state.notes_left_out + self._state.unread_total - self._state.unread_told
        if not left_out:
            return
        self._state.notes_left_out, self._state.unread_told = 0, self._state.unread_total
        self._note(
            "messages_left_out",
            reason=f"{left_out} more messages came than are told one by one",
            evidence={"messages": str(left_out), "unread": str(self._state.unread_total)},
        )

    def _update(self, **changes: Unpack[ProgressChanges]) -> None:
        self._update_to(self._state.progress.with_changes(**changes))

    def _update_to(self, progress: Progress) -> None:
        self._state.progress = progress
        self._tell_details()

    def _tell_details(self) -> None:
        progress, now = self._state.progress, workflow.now()
        workflow.set_current_details(
            narration.details(
                progress,
                now,
                self._timers(now),
                self._state.silent,
                with_summary=workflow.info().continued_run_id is not None,
            ),
        )

    def _keep_refusal(self, message: str, door: Channel, payload: object, refusal: Refusal) -> None:
        """Keep that a message changed nothing, and of the message no more than fits."""
        by = echo(payload.get("by"), NAME_BYTES) if isinstance(payload, Mapping) else ""
        name = echo(message)
        self._state.keep_refusal(
            RefusedMessage(at=workflow.now(), message=name, door=door, by=by, refusal=refusal),
        )
        self._note(
            "message_refused",
            by=by,
            door=door,
            reason=str(refusal),
            evidence={"message": name, "code": refusal.code.value},
            of_message=True,
        )

    def _refuse_promotions(self, refusal: Refusal) -> None:
        pending, self._promotions = self._promotions, []
        self._update(promotion=None)
        for one in pending:
            one.reply.give(refusal)

    def _dismiss_callers(self) -> None:
        """Tell whoever still waits that the rollout has ended."""
        ended = Refusal(
            code=RefusalCode.ROLLOUT_ENDED,
            message="the rollout ended before the message was carried out",
            next_step=f"see 'celadon rollout history {self._state.progress.deployment}'",
        )
        self._refuse_promotions(ended)
        pending, self._aborts = self._aborts, []
        for one in pending:
            one.reply.give(ended)
        of_the_bake, self._to_judge = self._to_judge, []
        for asked in of_the_bake:
            asked.reply.give(ended)


def _continued_state(payload: object) -> RolloutState | None:
    """Return the state that the run before this one handed over; nothing for a run that somebody started.

    Temporal also runs a workflow again, with what somebody sent, by a cron expression or a retry policy of the start;
    rollouts have neither.
    """
    info = workflow.info()
    if info.continued_run_id is None or info.cron_schedule or info.retry_policy is not None:
        return None
    if not isinstance(payload, Mapping) or set(payload) != {CONTINUED}:
        return None
    return RolloutState.model_validate_json(json.dumps(payload[CONTINUED]))
