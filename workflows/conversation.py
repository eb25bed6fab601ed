"""The messages that a rollout takes. Handlers only record; the story reads what they recorded.

The decision is taken once, after all messages of a workflow task.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from celadon.domain import contracts
    from celadon.domain.abort import refuse_abort
    from celadon.domain.errors import Refusal, RefusalCode, RefusedError
    from celadon.domain.lateness import refuse_late
    from celadon.domain.messages import (
        AbortAnswer,
        AbortCommand,
        GreenChanged,
        PromoteAnswer,
        PromoteCommand,
        RoutersAcknowledged,
    )
    from celadon.domain.progress import AbortRequest, PromotionRequest
    from celadon.domain.promotion import refuse_promotion
    from celadon.domain.states import Door, RolloutPhase, SetCondition
    from celadon.domain.steps import Message
    from workflows.payload import parse_payload
    from workflows.standing import Standing
    from workflows.tickets import Pending, Ticket, refused

TakenT = TypeVar("TakenT")


class Conversation(Standing):
    """Hears promotions, aborts and what the keeper tells."""

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
        # Replicas that a scaling adds have as long to start as those of a new green; a crash loop never gets that.
        unverified_since = workflow.now() if edge.scaled else self._progress.unverified_since
        awaits = self._progress.phase in {RolloutPhase.AWAITING_PROMOTION, RolloutPhase.SWITCHING}
        dips = awaits and edge.condition is not SetCondition.READY
        self._update(
            green=edge,
            unverified_since=unverified_since,
            dipped=self._progress.dipped or dips,
            dipped_by_itself=self._progress.dipped_by_itself or (dips and not edge.scaled),
        )

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
        message = _message(contracts.PROMOTE, command, door)
        door = command.door or door
        ticket: Ticket[PromoteAnswer] = Ticket()
        request = PromotionRequest(command=command, door=door, at=workflow.now(), message=message)
        self._promotions.append(Pending(request, ticket))
        if self._progress.promotion is None:
            self._update(promotion=request)
        self._note("promotion_requested", by=command.by, door=door, reason=command.reason, message=message)
        self._news += 1
        return ticket

    def _record_abort(self, payload: object, door: Door, *, rollback: bool) -> Ticket[AbortAnswer]:
        """Record an abort for the story to read.

        Raises:
            RefusedError: it may not go ahead.

        """
        command = self._read_abort(payload, rollback=rollback)
        message = _message(contracts.ROLLBACK if rollback else contracts.ABORT, command, door)
        door = command.door or door
        ticket: Ticket[AbortAnswer] = Ticket()
        self._add_abort(AbortRequest(command=command, door=door, at=workflow.now(), message=message), ticket)
        kind = "rollback_requested" if rollback else "abort_requested"
        self._note(kind, by=command.by, door=door, reason=command.reason, message=message)
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
        self._add_abort(AbortRequest(command=command, door=Door.CANCEL, at=workflow.now()), Ticket())
        self._note("abort_requested", by=command.by, door=Door.CANCEL, reason=command.reason)

    def _add_abort(self, request: AbortRequest, ticket: Ticket[AbortAnswer]) -> None:
        self._aborts.append(Pending(request, ticket))
        if self._progress.abort is None:
            self._update(abort=request)


def _taken(record: Callable[[], TakenT]) -> TakenT:
    """Return what ``record`` does; only an ApplicationError may leave an update, else its task would fail for ever."""
    try:
        return record()
    except RefusedError as error:
        raise refused(error.refusal) from error


def _message(verb: str, command: PromoteCommand | AbortCommand, came_by: Door) -> Message:
    """Return a message as it came; a signal has no id, so that a copied update proves nothing."""
    update = workflow.current_update_info()
    return Message(verb=verb, request_id="" if update is None else update.id, came_by=came_by, command=command)


def _unknown(name: str) -> Refusal:
    return Refusal(
        code=RefusalCode.UNKNOWN_MESSAGE,
        message=f"this version does not carry out {name!r}",
        next_step=f"send one of: {contracts.PROMOTE}, {contracts.ABORT}, {contracts.ROLLBACK}",
    )
