"""The messages that a rollout takes. Handlers only record; the story reads what they recorded.

The decision is taken once, after all messages of a workflow task.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from celadon.domain.decisions.abort import cancellation, refuse_abort
    from celadon.domain.decisions.bake import refuse_finish, refuse_withdrawal
    from celadon.domain.decisions.edges import is_news_of_green, means_other_rollout
    from celadon.domain.decisions.expiry import refuse_late, refuse_moments
    from celadon.domain.decisions.pause import refuse_past_end, refuse_pause, refuse_resume
    from celadon.domain.decisions.promotion import refuse_promotion
    from celadon.domain.decisions.reschedule import refuse_reschedule
    from celadon.domain.language import contracts
    from celadon.domain.language.commands import (
        AbortAnswer,
        AbortCommand,
        BakeCommand,
        JudgedAnswer,
        PauseCommand,
        PromoteAnswer,
        PromoteCommand,
        RescheduleCommand,
    )
    from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError, refuse
    from celadon.domain.language.limits import NAME_BYTES, quoted
    from celadon.domain.language.messages import (
        BlueChanged,
        GateChanged,
        GreenChanged,
        KeeperBack,
        RoomChanged,
        RoutersAcknowledged,
    )
    from celadon.domain.language.next_rollout import SuccessorWaits
    from celadon.domain.language.progress import AbortRequest, Progress, PromotionRequest
    from celadon.domain.language.rollout_state import AnsweredUpdate
    from celadon.domain.language.states import Channel, RolloutPhase, SetCondition
    from celadon.domain.language.steps import Message
    from workflows.payload import is_patched, parse_payload
    from workflows.replies import PendingReply, PendingRequest, refused
    from workflows.state import (
        KEPT_MESSAGES,
        NO_TIMER_EARLIER,
        PENDING_AND_HOLDS,
        RESUMES_IN_ORDER,
        StatefulWorkflow,
    )

_READS_FEW: Final = "a task reads so many messages"
"""The patch since which it leaves those beyond unread."""
_ASKS_AFTER_RESET: Final = "a rollout that was reset asks the table"
"""The patch since which it does."""
_PAUSES: Final = "a rollout can be paused"
_READS_FREEZES: Final = "a rollout reads its freezes"
"""The patch since which it can."""
_HEARS_OF_SUCCESSORS: Final = "a rollout hears of its successor"
_REFUSES_MOMENTS: Final = "a moment that no timer can have is refused"
_RESCHEDULES: Final = "a rollout can be rescheduled"
"""The patch since which it can."""
_REQUESTED: Final = {
    contracts.FINISH: "finish_requested",
    contracts.WITHDRAW: "withdrawal_requested",
    contracts.PAUSE: "pause_requested",
    contracts.RESUME: "resume_requested",
    contracts.RESCHEDULE: "reschedule_requested",
}
"""What the audit log calls a message that leads to no step of its own."""

TakenT = TypeVar("TakenT")
HeardT = TypeVar("HeardT", bound=BaseModel)
JudgedT = TypeVar("JudgedT", BakeCommand, PauseCommand, RescheduleCommand)
AnswerT = TypeVar("AnswerT", PromoteAnswer, AbortAnswer, JudgedAnswer)


class MessageHandlers(StatefulWorkflow):
    """Hears promotions, aborts and what the keeper tells."""

    def __init__(self, payload: object = None) -> None:
        """Begin as its base does. Temporal gives a run that was reset another seed, and others never."""
        super().__init__(payload)
        loop = asyncio.get_running_loop()

        def hear_of_reset(_: int) -> None:
            # The SDK calls back outside of the workflow, where nobody may ask for a patch.
            loop.call_soon(self._hear_of_reset)

        workflow.register_random_seed_callback(hear_of_reset)

    @workflow.update(
        name=contracts.PROMOTE,
        description="Switch traffic to green now; answers when the routers serve it. All fields are optional: "
        '{"revision": 2, "rollout": 7, "by": "ann", "reason": "...", "force": false}',
    )
    async def promote(self, payload: Any = None, *more: Any) -> PromoteAnswer:  # noqa: ANN401 - the one parser reads it
        """Promote green and wait for the switch."""
        return await self._answer(
            PromoteAnswer, lambda: self._record_promotion(only_input(payload, more), Channel.UPDATE)
        )

    @promote.validator
    def _may_promote(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        self._check(self._read_promotion, payload, more)

    @workflow.signal(
        name=contracts.PROMOTE,
        description="Switch traffic to green now, without waiting for the answer. Input as for the update.",
    )
    def promote_by_signal(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Promote green; a refusal shows in the status and in the audit log."""
        if self._reads_one_more():
            self._record_signal(
                contracts.PROMOTE, lambda given: self._record_promotion(given, Channel.SIGNAL), payload, more
            )

    @workflow.update(
        name=contracts.ABORT,
        description="Go back: before the switch green is closed, after it traffic returns to blue. All fields are "
        'optional: {"rollout": 7, "by": "ann", "reason": "..."}',
    )
    async def abort(self, payload: Any = None, *more: Any) -> AbortAnswer:  # noqa: ANN401
        """Abort and wait until it is decided, or until blue serves again."""
        return await self._answer(
            AbortAnswer, lambda: self._record_abort(only_input(payload, more), Channel.UPDATE, rollback=False)
        )

    @abort.validator
    def _may_abort(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        self._check(self._read_abort, payload, more)

    @workflow.signal(name=contracts.ABORT, description="As the update, without waiting for the answer.")
    def abort_by_signal(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Abort; a refusal shows in the status and in the audit log."""
        if self._reads_one_more():
            self._record_signal(
                contracts.ABORT, lambda given: self._record_abort(given, Channel.SIGNAL, rollback=False), payload, more
            )

    @workflow.update(
        name=contracts.ROLLBACK,
        description="After the switch: return traffic to blue. Input as for abort.",
    )
    async def rollback(self, payload: Any = None, *more: Any) -> AbortAnswer:  # noqa: ANN401
        """Switch back and wait until blue serves again."""
        return await self._answer(
            AbortAnswer, lambda: self._record_abort(only_input(payload, more), Channel.UPDATE, rollback=True)
        )

    @rollback.validator
    def _may_roll_back(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        self._check(self._read_rollback, payload, more)

    @workflow.signal(name=contracts.ROLLBACK, description="As the update, without waiting for the answer.")
    def roll_back_by_signal(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Switch back; a refusal shows in the status and in the audit log."""
        if self._reads_one_more():
            self._record_signal(
                contracts.ROLLBACK,
                lambda given: self._record_abort(given, Channel.SIGNAL, rollback=True),
                payload,
                more,
            )

    @workflow.update(
        name=contracts.FINISH,
        description="End the bake now; an abort that is pending is given up. All fields are optional: "
        '{"rollout": 7, "by": "ann", "reason": "..."}',
    )
    async def finish(self, payload: Any = None, *more: Any) -> JudgedAnswer:  # noqa: ANN401 - the one parser reads it
        """End the bake."""
        return await self._answer(
            JudgedAnswer,
            lambda: self._record_to_judge(contracts.FINISH, only_input(payload, more), Channel.UPDATE),
        )

    @finish.validator
    def _may_finish(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        self._check(self._read_finish, payload, more)

    @workflow.signal(name=contracts.FINISH, description="As the update, without waiting for the answer.")
    def finish_by_signal(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """End the bake; a refusal shows in the status and in the audit log."""
        self._take_to_judge(contracts.FINISH, payload, more)

    @workflow.update(
        name=contracts.WITHDRAW,
        description="Take back one's own approval, or one's own abort that is pending. Input as for finish.",
    )
    async def withdraw(self, payload: Any = None, *more: Any) -> JudgedAnswer:  # noqa: ANN401
        """Take an approval or an abort back."""
        return await self._answer(
            JudgedAnswer,
            lambda: self._record_to_judge(contracts.WITHDRAW, only_input(payload, more), Channel.UPDATE),
        )

    @withdraw.validator
    def _may_withdraw(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        self._check(self._read_withdrawal, payload, more)

    @workflow.signal(name=contracts.WITHDRAW, description="As the update, without waiting for the answer.")
    def withdraw_by_signal(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Take an approval or an abort back; a refusal shows in the status and in the audit log."""
        self._take_to_judge(contracts.WITHDRAW, payload, more)

    @workflow.update(
        name=contracts.PAUSE,
        description="Let all timers stand still; a person's promotion and an abort still work. All fields optional: "
        '{"rollout": 7, "by": "ann", "reason": "...", "until": "2026-12-01T06:00:00Z"}',
    )
    async def pause(self, payload: Any = None, *more: Any) -> JudgedAnswer:  # noqa: ANN401 - the one parser reads it
        """Let all timers stand still."""
        return await self._answer(
            JudgedAnswer, lambda: self._record_to_judge(contracts.PAUSE, only_input(payload, more), Channel.UPDATE)
        )

    @pause.validator
    def _may_pause(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        self._check(self._read_pause, payload, more)

    @workflow.signal(name=contracts.PAUSE, description="As the update, without waiting for the answer.")
    def pause_by_signal(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Let all timers stand still; a refusal shows in the status and in the audit log."""
        self._take_to_judge(contracts.PAUSE, payload, more, since=_PAUSES)

    @workflow.update(
        name=contracts.RESUME,
        description="Let the timers of a paused rollout run on with what remained of them. Input as for finish.",
    )
    async def resume(self, payload: Any = None, *more: Any) -> JudgedAnswer:  # noqa: ANN401
        """Let the timers run on."""
        return await self._answer(
            JudgedAnswer, lambda: self._record_to_judge(contracts.RESUME, only_input(payload, more), Channel.UPDATE)
        )

    @resume.validator
    def _may_resume(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        self._check(self._read_resumption, payload, more)

    @workflow.signal(name=contracts.RESUME, description="As the update, without waiting for the answer.")
    def resume_by_signal(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Let the timers run on; a refusal shows in the status and in the audit log."""
        self._take_to_judge(contracts.RESUME, payload, more, since=_PAUSES)

    @workflow.update(
        name=contracts.RESCHEDULE,
        description="Change the timers of this rollout before its switch; what is not given stays. All optional: "
        '{"rollout": 7, "by": "ann", "reason": "...", "auto_promote": true, "promote_after": "2h", "promote_at": '
        '"2026-12-01T06:00:00Z", "promotion_deadline": "1d", "without": ["promote_at"]}',
    )
    async def reschedule(self, payload: Any = None, *more: Any) -> JudgedAnswer:  # noqa: ANN401
        """Change the timers."""
        return await self._answer(
            JudgedAnswer, lambda: self._record_to_judge(contracts.RESCHEDULE, only_input(payload, more), Channel.UPDATE)
        )

    @reschedule.validator
    def _may_reschedule(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        self._check(self._read_reschedule, payload, more)

    @workflow.signal(name=contracts.RESCHEDULE, description="As the update, without waiting for the answer.")
    def reschedule_by_signal(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Change the timers; a refusal shows in the status and in the audit log."""
        self._take_to_judge(contracts.RESCHEDULE, payload, more, since=_RESCHEDULES)

    @workflow.signal(name=contracts.GREEN_CHANGED, description="Internal: the keeper tells an edge of green's health.")
    def green_changed(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Record an edge; an older one, and one of another rollout, changes nothing."""
        edge = self._heard(contracts.GREEN_CHANGED, GreenChanged, payload, more)
        if edge is None:
            return
        if not is_news_of_green(self._state.progress, edge):
            return
        self._news += 1
        # Replicas that a scaling adds have as long to start as those of a new green; a crash loop never gets that.
        unverified_since = workflow.now() if edge.scaled else self._state.progress.unverified_since
        awaits = self._state.progress.phase in {RolloutPhase.AWAITING_PROMOTION, RolloutPhase.SWITCHING}
        dips = awaits and edge.condition is not SetCondition.READY
        self._update(
            green=edge,
            unverified_since=unverified_since,
            regressed_since_verified=self._state.progress.regressed_since_verified or dips,
            regressed_by_itself=self._state.progress.regressed_by_itself or (dips and not edge.scaled),
            green_lost_since=edge.lost_since,
        )

    @workflow.signal(
        name=contracts.ROUTERS_ACKNOWLEDGED,
        description="Internal: the keeper tells that every live router serves an epoch.",
    )
    def routers_acknowledged(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Record that routers have caught up."""
        news = self._heard(contracts.ROUTERS_ACKNOWLEDGED, RoutersAcknowledged, payload, more)
        if news is None:
            return
        if means_other_rollout(self._state.progress, news.rollout):
            return
        self._state.routers_served = max(self._state.routers_served or news.epoch, news.epoch)
        self._news += 1

    @workflow.signal(
        name=contracts.BLUE_CHANGED,
        description="Internal: the keeper tells that blue can take the traffic now, or never again.",
    )
    def blue_changed(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Let a pending abort be tried again; an older edge changes nothing."""
        edge = self._heard(contracts.BLUE_CHANGED, BlueChanged, payload, more)
        if edge is None:
            return
        known, pending = self._state.progress.blue, self._state.progress.pending
        if edge.rollout != self._state.progress.rollout or (known is not None and edge.seq <= known.seq):
            return
        self._news += 1
        self._update(blue=edge, cures=self._state.progress.cures + 1)
        if pending is not None and self._state.progress.abort is None:
            self._update(abort=pending.request)

    @workflow.signal(
        name=contracts.KEEPER_BACK,
        description="Internal: a living keeper has looked at green.",
    )
    def keeper_back(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Let timers decide again that were held for want of a keeper."""
        self._end_hold(contracts.KEEPER_BACK, KeeperBack, payload, more)

    @workflow.signal(
        name=contracts.GATE_CHANGED,
        description="Internal: a freeze was ordered or has ended.",
    )
    def gate_changed(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Hear of a freeze, or let timers decide again that were held by one."""
        if self._end_hold(contracts.GATE_CHANGED, GateChanged, payload, more):
            self._expect_other_freezes()

    @workflow.signal(
        name=contracts.ROOM_CHANGED,
        description="Internal: there is room for green, or for its growth.",
    )
    def room_changed(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Let green be opened, or grow, that had no room."""
        self._end_hold(contracts.ROOM_CHANGED, RoomChanged, payload, more)

    def _expect_other_freezes(self) -> None:
        """What the rollout knows of freezes may be stale."""
        if workflow.patched(_READS_FREEZES):
            self._freezes_changed = True

    @workflow.signal(
        name=contracts.SUCCESSOR_WAITS,
        description="Internal: another rollout waits for its turn.",
    )
    def successor_waits(self, payload: Any = None, *more: Any) -> None:  # noqa: ANN401
        """Hear of another rollout, which may replace this one; it may be told before this one knows its own number."""
        news = self._heard(contracts.SUCCESSOR_WAITS, SuccessorWaits, payload, more)
        if news is not None and self._state.progress.rollout in {None, news.rollout}:
            self._news += 1
            self._expect_other_successor()

    def _expect_other_successor(self) -> None:
        """What the rollout knows of its successor may be stale."""
        if workflow.patched(_HEARS_OF_SUCCESSORS):
            self._state.successor_changed = True

    def _end_hold(
        self,
        signal: str,
        kind: type[KeeperBack | GateChanged | RoomChanged],
        payload: object,
        more: tuple[object, ...],
    ) -> bool:
        """Let timers decide again that were held until this signal; return whether it is for this rollout."""
        news = self._heard(signal, kind, payload, more)
        if news is None or news.rollout != self._state.progress.rollout:
            return False
        hold = self._state.progress.hold
        self._news += 1
        self._update(
            cures=self._state.progress.cures + 1,
            hold=None if hold is not None and hold.ended_by == signal else hold,
        )
        return True

    def _heard(
        self,
        signal: str,
        kind: type[HeardT],
        payload: object,
        more: tuple[object, ...],
    ) -> HeardT | None:
        """Return what the keeper tells; nothing when it is left unread or cannot be read."""
        if not self._reads_one_more(of_keeper=True):
            return None
        try:
            return parse_payload(kind, only_input(payload, more))
        except RefusedError as error:
            self._keep_refusal(signal, Channel.SIGNAL, payload, error.refusal)
            return None

    @workflow.signal(dynamic=True)
    def unknown_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse a signal that this version does not know, by its name."""
        if not self._reads_one_more():
            return
        self._keep_refusal(name, Channel.SIGNAL, f"{len(args)} arguments", _unknown(name))

    @workflow.update(dynamic=True)
    async def unknown_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse an update that this version does not know, by its name."""
        del args
        raise refused(_unknown(name))

    @unknown_update.validator
    def _refuse_unknown(self, name: str, args: Sequence[RawValue]) -> None:
        del args
        raise refused(_unknown(name))

    def _check(self, read: Callable[[object], object], payload: object, more: tuple[object, ...]) -> None:
        """Refuse in a validator what the handler would refuse, so that it writes no history.

        A repeat of an update that was answered before is let in: its caller gets that answer.
        """
        if self._state.answer_to(_taken(_update_id)) is None:
            _taken(lambda: read(only_input(payload, more)))

    def _reads_one_more(self, *, of_keeper: bool = False) -> bool:
        """Return whether this task reads one more signal; those beyond are counted, before anything is parsed.

        The keeper's own are counted apart: a flood of others does not keep them out. When a flood of the keeper's
        leaves one unread, the story asks for green's condition anew.
        """
        self._signals += 1
        task = workflow.info().get_current_history_length()
        if task != self._task:
            self._task, self._read_in_task, self._read_of_keeper = task, 0, 0
        if of_keeper:
            self._read_of_keeper += 1
            read = self._read_of_keeper
        else:
            self._read_in_task += 1
            read = self._read_in_task
        if read <= KEPT_MESSAGES or not workflow.patched(_READS_FEW):
            return True
        if of_keeper:
            self._expect_missed_edges()
        self._state.unread_total += 1
        self._state.refused_total += 1
        self._news += 1
        return False

    def _hear_of_reset(self) -> None:
        """Ask the table anew after a reset: what the run had heard is gone, and its rollout may have ended.

        A run whose rollout has ended is refused by that, and ends; else it would wait for ever, and keep the next
        rollout of its deployment from starting.
        """
        if workflow.patched(_ASKS_AFTER_RESET):
            self._news += 1
            self._expect_missed_edges()

    def _expect_missed_edges(self) -> None:
        """What the keeper told may be among what was left unread: ask anew, and try anew what waits for it."""
        progress = self._state.progress
        self._missed_edges = True
        self._expect_other_freezes()
        self._expect_other_successor()
        if progress.pending is not None and progress.abort is None:
            self._update(abort=progress.pending.request)
        if progress.hold is not None and progress.hold.ended_by:
            self._update(hold=None)

    async def _answer(self, kind: type[AnswerT], record: Callable[[], PendingReply[AnswerT]]) -> AnswerT:
        """Record what an update asks for and wait for its answer; a repeat gets the first one's."""
        identity = _taken(_update_id)
        known = self._state.answer_to(identity)
        if known is not None:
            return _repeated(known, kind)
        answer = await _taken(record).answer()
        self._state.keep_answer(AnsweredUpdate.of(identity, answer))
        if isinstance(answer, Refusal):
            raise refused(answer)
        return answer

    def _read_promotion(self, payload: object) -> PromoteCommand:
        command = parse_payload(PromoteCommand, payload)
        refusal = refuse_late(command, workflow.now()) or refuse_promotion(self._state.progress, command)
        if refusal is not None:
            raise RefusedError(refusal)
        return command

    def _read_abort(self, payload: object, *, rollback: bool = False) -> AbortCommand:
        command = parse_payload(AbortCommand, payload)
        refusal = refuse_late(command, workflow.now()) or refuse_abort(self._state.progress, command, rollback=rollback)
        if refusal is not None:
            raise RefusedError(refusal)
        return command

    def _read_rollback(self, payload: object) -> AbortCommand:
        return self._read_abort(payload, rollback=True)

    def _read_finish(self, payload: object) -> BakeCommand:
        return self._read_to_judge(payload, BakeCommand, refuse_finish)

    def _read_withdrawal(self, payload: object) -> BakeCommand:
        return self._read_to_judge(payload, BakeCommand, refuse_withdrawal)

    def _read_pause(self, payload: object) -> PauseCommand:
        """Return a pause; the end of one that an earlier version took may have passed."""
        command = self._read_to_judge(payload, PauseCommand, refuse_pause)
        past = refuse_past_end(self._state.progress, command, workflow.now())
        if past is not None and is_patched(NO_TIMER_EARLIER):
            raise RefusedError(past)
        return command

    def _read_resumption(self, payload: object) -> BakeCommand:
        return self._read_to_judge(payload, BakeCommand, self._refuse_resumption)

    def _refuse_resumption(self, progress: Progress, command: BakeCommand) -> Refusal | None:
        """Return why a rollout may not be resumed; while a pause is on its way, that is decided after the pause."""
        refusal = refuse_resume(progress, command)
        if refusal is None or refusal.code is not RefusalCode.NOT_PAUSED or not self._may_turn_out_paused():
            return refusal
        return None if is_patched(RESUMES_IN_ORDER) else refusal

    def _may_turn_out_paused(self) -> bool:
        """Whether a pause has come that is not judged yet, or may be known to the table alone."""
        coming = (*self._being_judged, *self._to_judge)
        forgotten = self._missed_edges or self._asks_table
        return forgotten or any(isinstance(one.request.command, PauseCommand) for one in coming)

    def _read_reschedule(self, payload: object) -> RescheduleCommand:
        return self._read_to_judge(payload, RescheduleCommand, refuse_reschedule)

    def _reader(self, verb: str) -> Callable[[object], BakeCommand]:
        match verb:
            case contracts.FINISH:
                return self._read_finish
            case contracts.WITHDRAW:
                return self._read_withdrawal
            case contracts.PAUSE:
                return self._read_pause
            case contracts.RESCHEDULE:
                return self._read_reschedule
            case _:
                return self._read_resumption

    def _read_to_judge(
        self,
        payload: object,
        kind: type[JudgedT],
        refuse: Callable[[Progress, JudgedT], Refusal | None],
    ) -> JudgedT:
        command = parse_payload(kind, payload)
        now = workflow.now()
        refusal = refuse_late(command, now) or refuse(self._state.progress, command)
        moments = refuse_moments(command, now)
        if refusal is None and moments is not None and is_patched(_REFUSES_MOMENTS):
            refusal = moments
        if refusal is not None:
            raise RefusedError(refusal)
        return command

    def _take_to_judge(
        self, verb: str, payload: object, more: tuple[object, ...], *, since: str = PENDING_AND_HOLDS
    ) -> None:
        """Take a signal; one that came when no version knew it was refused then, and is so in a replay."""
        if not self._reads_one_more():
            return
        if not workflow.patched(since):
            self._keep_refusal(verb, Channel.SIGNAL, "1 arguments", _unknown(verb))
            return
        self._record_signal(verb, lambda given: self._record_to_judge(verb, given, Channel.SIGNAL), payload, more)

    def _record_signal(
        self,
        verb: str,
        record: Callable[[object], object],
        payload: object,
        more: tuple[object, ...],
    ) -> None:
        """Record a person's signal that was read, or keep why it is refused."""
        try:
            record(only_input(payload, more))
        except RefusedError as error:
            self._keep_refusal(verb, Channel.SIGNAL, payload, error.refusal)

    def _record_to_judge(self, verb: str, payload: object, door: Channel) -> PendingReply[JudgedAnswer]:
        """Record what leads to no step of its own, for the story to have it judged.

        Raises:
            RefusedError: it may not go ahead.

        """
        _refuse_crowd(self._to_judge)
        command = self._reader(verb)(payload)
        message = _message(verb, command, door)
        door = command.door or door
        reply: PendingReply[JudgedAnswer] = PendingReply()
        request = AbortRequest(command=command, door=door, at=workflow.now(), message=message)
        adds_line = not isinstance(command, PauseCommand) or self._changes_pause(command)
        self._to_judge.append(PendingRequest(request, reply))
        if adds_line:
            self._note(
                _REQUESTED[verb],
                by=command.by,
                door=door,
                reason=command.reason,
                evidence=_end_evidence(command),
                message=message,
                of_message=True,
            )
        self._news += 1
        return reply

    def _changes_pause(self, command: PauseCommand) -> bool:
        """Whether a pause changes anything: it is the first, or has another end than the one before it."""
        asked = [one.request.command for one in self._to_judge if isinstance(one.request.command, PauseCommand)]
        if asked:
            return asked[-1].until != command.until
        known = self._state.progress.paused
        return known is None or known.until != command.until

    def _record_promotion(self, payload: object, door: Channel) -> PendingReply[PromoteAnswer]:
        """Record a promotion for the story to read; the first of a task counts, the others share its answer.

        Raises:
            RefusedError: it may not go ahead.

        """
        _refuse_crowd(self._promotions)
        command = self._read_promotion(payload)
        message = _message(contracts.PROMOTE, command, door)
        door = command.door or door
        reply: PendingReply[PromoteAnswer] = PendingReply()
        request = PromotionRequest(command=command, door=door, at=workflow.now(), message=message)
        self._promotions.append(PendingRequest(request, reply))
        if self._state.progress.promotion is None:
            self._update(promotion=request)
        self._note(
            "promotion_requested",
            by=command.by,
            door=door,
            reason=command.reason,
            message=message,
            of_message=True,
        )
        self._news += 1
        return reply

    def _record_abort(self, payload: object, door: Channel, *, rollback: bool) -> PendingReply[AbortAnswer]:
        """Record an abort for the story to read.

        Raises:
            RefusedError: it may not go ahead.

        """
        _refuse_crowd(self._aborts)
        command = self._read_abort(payload, rollback=rollback)
        message = _message(contracts.ROLLBACK if rollback else contracts.ABORT, command, door)
        door = command.door or door
        reply: PendingReply[AbortAnswer] = PendingReply()
        is_first = self._state.progress.abort is None
        self._add_abort(AbortRequest(command=command, door=door, at=workflow.now(), message=message), reply)
        if is_first:
            kind = "rollback_requested" if rollback else "abort_requested"
            self._note(kind, by=command.by, door=door, reason=command.reason, message=message, of_message=True)
        self._news += 1
        return reply

    def _record_cancel(self) -> None:
        self._state.cancelled = True
        self._news += 1
        request = cancellation(workflow.now())
        refusal = refuse_abort(self._state.progress, request.command, rollback=False)
        if refusal is not None:
            self._keep_refusal("cancel", Channel.CANCEL, None, refusal)
            return
        self._add_abort(request, PendingReply())
        self._note("abort_requested", by=request.command.by, door=Channel.CANCEL, reason=request.command.reason)

    def _add_abort(self, request: AbortRequest, reply: PendingReply[AbortAnswer]) -> None:
        self._aborts.append(PendingRequest(request, reply))
        if self._state.progress.abort is None:
            self._update(abort=request)


def _end_evidence(command: BakeCommand) -> dict[str, str] | None:
    """Return what the audit log tells of the end of a pause; ``None`` where it has none."""
    until = command.until if isinstance(command, PauseCommand) else None
    return None if until is None else {"until": until.isoformat()}


def _taken(record: Callable[[], TakenT]) -> TakenT:
    """Return what ``record`` does; only an ApplicationError may leave an update, else its task would fail for ever."""
    try:
        return record()
    except RefusedError as error:
        raise refused(error.refusal) from error


def _message(verb: str, command: PromoteCommand | AbortCommand, came_by: Channel) -> Message:
    """Return a message as it came; a signal has no id, so that a copied update proves nothing."""
    return Message(
        verb=verb,
        request_id=_update_id(),
        run=workflow.info().run_id,
        came_by=came_by,
        command=command,
    )


def _update_id() -> str:
    """Return the id of the update that is being handled; empty for a signal.

    Raises:
        RefusedError: it is too long to be kept, or the database cannot keep it.

    """
    update = workflow.current_update_info()
    if update is None:
        return ""
    if len(update.id.encode("utf-8", "replace")) > NAME_BYTES or "\0" in update.id:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the update's id has more than {NAME_BYTES} bytes, or a NUL character",
            "send it again with another one, such as a UUID",
        )
    return update.id


def only_input(payload: object, more: tuple[object, ...]) -> object:
    """Return the one argument of a message.

    Raises:
        RefusedError: there are several; without this Temporal would retry the task for ever.

    """
    if more:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"{1 + len(more)} inputs came",
            "send one JSON object, or nothing",
        )
    return payload


def _refuse_crowd(pending: Sequence[object]) -> None:
    if len(pending) >= KEPT_MESSAGES:
        raise refuse(
            RefusalCode.TOO_MANY_MESSAGES,
            f"{len(pending)} messages wait for this decision already",
            "wait a moment and look at 'celadon rollout status'",
        )


def _repeated(known: AnsweredUpdate, kind: type[AnswerT]) -> AnswerT:
    """Return what the first update of an id was answered.

    Raises:
        ApplicationError: it was refused, or it was another command.

    """
    for answer in (known.promoted, known.aborted, known.baked):
        if isinstance(answer, kind):
            return answer
    raise refused(
        known.refusal
        or Refusal(
            code=RefusalCode.REQUEST_ID_REUSED,
            message="an update with this id asked for something else before",
            next_step="send it again with an id of its own",
        ),
    )


def _unknown(name: str) -> Refusal:
    return Refusal(
        code=RefusalCode.UNKNOWN_MESSAGE,
        message=f"this version does not carry out {quoted(name)}",
        next_step=f"send one of: {contracts.PROMOTE}, {contracts.ABORT}, {contracts.ROLLBACK}, {contracts.FINISH}, "
        f"{contracts.WITHDRAW}, {contracts.PAUSE}, {contracts.RESUME}, {contracts.RESCHEDULE}",
    )
