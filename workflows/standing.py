"""What a rollout knows, and what it tells of itself: status, current details, notes for the audit log."""

from collections import deque
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from celadon.domain import contracts, narration
    from celadon.domain.errors import Refusal, RefusalCode
    from celadon.domain.gate import DEADLINE_TIMER, PROMOTION_TIMER, Wait, decide
    from celadon.domain.messages import AbortAnswer, PromoteAnswer, RefusedMessage, RolloutStatus, Timer
    from celadon.domain.names import Epoch
    from celadon.domain.progress import AbortRequest, Progress, PromotionRequest
    from celadon.domain.states import Door, RolloutPhase
    from celadon.domain.steps import Message, Note
    from celadon.domain.telling import gate_evidence
    from workflows.tickets import Pending

BAKE_TIMER: Final = "bake"
KEPT_MESSAGES: Final = 100
"""How many refusals are kept, and how many messages one step judges."""
_SHOWN_REFUSALS: Final = 10


class Standing:
    """The state of one rollout, which messages and the story change and everybody reads."""

    def __init__(self) -> None:
        """Begin with nothing heard; messages may arrive before ``run``."""
        self._progress = Progress(
            deployment=workflow.info().workflow_id.removeprefix(contracts.WORKFLOW_ID_PREFIX),
            phase=RolloutPhase.PROVISIONING,
            since=workflow.now(),
        )
        self._news = 0
        self._cancelled = False
        self._promotions: list[Pending[PromotionRequest, PromoteAnswer]] = []
        self._aborts: list[Pending[AbortRequest, AbortAnswer]] = []
        self._routers_served: Epoch | None = None
        self._silent: tuple[str, ...] = ()
        self._epoch: Epoch | None = None
        self._decision = ""
        self._decisions = 0
        self._back_reason = ""
        self._started_at = workflow.now()
        self._refused: deque[RefusedMessage] = deque(maxlen=KEPT_MESSAGES)
        self._refused_total = 0
        self._notes: list[Note] = []
        self._notes_written = 0

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

    def _what_it_waits_for(self) -> dict[str, str]:
        """Return what the audit log, and through it notifications, tell of the promotion; nothing when it is due."""
        decision = decide(self._progress, workflow.now())
        if not isinstance(decision, Wait):
            return {}
        return gate_evidence(dict(decision.timers), PROMOTION_TIMER, DEADLINE_TIMER)

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
        message: Message | None = None,
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
                message=message,
            ),
        )

    def _update(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Progress
        self._progress = self._progress.model_copy(update=changes)
        workflow.set_current_details(
            narration.details(self._progress, self._timers(workflow.now()), self._silent),
        )

    def _keep_refusal(self, message: str, door: Door, payload: object, refusal: Refusal) -> None:
        by = payload.get("by", "") if isinstance(payload, dict) else ""
        self._refused_total += 1
        self._refused.append(
            RefusedMessage(at=workflow.now(), message=message, door=door, by=str(by), refusal=refusal),
        )
        if len(self._notes) < KEPT_MESSAGES:
            self._note(
                "message_refused",
                by=str(by),
                door=door,
                reason=str(refusal),
                evidence={"message": message, "code": refusal.code.value},
            )

    def _refuse_promotions(self, refusal: Refusal) -> None:
        pending, self._promotions = self._promotions, []
        self._update(promotion=None)
        for one in pending:
            one.ticket.give(refusal)

    def _dismiss_callers(self) -> None:
        """Tell whoever still waits that the rollout has ended."""
        ended = Refusal(
            code=RefusalCode.ROLLOUT_ENDED,
            message="the rollout ended before the message was carried out",
            next_step=f"see 'celadon rollout history {self._progress.deployment}'",
        )
        self._refuse_promotions(ended)
        pending, self._aborts = self._aborts, []
        for one in pending:
            one.ticket.give(ended)
