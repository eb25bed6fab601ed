"""Starting rollouts and speaking to them, the same way from every door."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, FailureError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from celadon.client.patience import (
    QUERY_PATIENCE,
    SIGNAL_PATIENCE,
    UPDATE_PATIENCE,
    CouldNotAnswerError,
    NoAnswerError,
)
from celadon.client.schedules import ScheduleClient
from celadon.client.signatures import Signer
from celadon.client.workflow_condition import PATIENCE, read_condition
from celadon.domain.decisions.authority import verbs_of
from celadon.domain.decisions.narration import request_details, summary_of
from celadon.domain.decisions.other_rollout import another_under_way
from celadon.domain.decisions.workflow_condition import WorkflowCondition
from celadon.domain.language import contracts
from celadon.domain.language.attestation import START_MEMO, START_VALID, text_of_command, text_of_start
from celadon.domain.language.base_models import Record
from celadon.domain.language.commands import (
    AbortAnswer,
    AbortCommand,
    BakeCommand,
    JudgedAnswer,
    PromoteAnswer,
    PromoteCommand,
)
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.identity import KEY_ISSUER
from celadon.domain.language.messages import RolloutRequest, RolloutResult, RolloutStatus, StartMemo
from celadon.domain.language.next_rollout import NEXT_REQUEST, NextRollout
from celadon.domain.language.not_found import nothing_under_way
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import Channel

_EXHAUSTED: Final = "exceeded workflow execution limit for signal"

AnswerT = TypeVar("AnswerT")

_MOVES: Final = (
    "unable to perform workflow execution update due to unexpected",
    "workflow task is not scheduled yet",
    "workflow operation can not be applied because workflow is closing",
)
"""How Temporal's messages begin when a workflow is about to go on in a new run or has just done so, in lower case."""

_LEFT_BY_A_RUN: Final = frozenset({"AcceptedUpdateCompletedWorkflow", "AbortedByClosingWorkflow"})
"""How Temporal names the failure of an update that its run had not answered when it closed."""

_LOST_ON_THE_WAY: Final = "UnprocessedUpdate"
"""How Temporal names the failure of an update whose workflow task came back without a word about it.

Seen where the answer of a slow worker and the task's timeout cross. The update was not carried out and left no trace.
"""

_MOVE_PAUSE_SECONDS: Final = 0.05


class Sender(Record):
    """Who starts a rollout, as far as its door vouches for it."""

    door: Channel
    """Through which door the request came in."""
    issuer: str = ""
    """Who vouches for the sender to the door."""
    rights: frozenset[Verb] = frozenset()
    """What the sender may do."""


KEY_HOLDER: Final = Sender(door=Channel.CLI, issuer=KEY_ISSUER, rights=frozenset(Verb))
"""Whoever runs a command with the installation's own key."""


class RolloutEnded(BaseModel):
    """How a rollout's workflow ended; without a result when it was terminated or never began."""

    status: str
    result: RolloutResult | None
    failure: str
    refusal: Refusal | None = None
    """Why it never began, when it was refused."""


class RolloutClient:
    """Rollouts of one Temporal namespace."""

    def __init__(
        self,
        client: Client,
        signer: Signer | None = None,
        task_timeout: timedelta = contracts.WORKFLOW_TASK_TIMEOUT,
    ) -> None:
        """Speak through ``client``, which must use Temporal's Pydantic converter.

        A door that has verified who asks gives ``signer``; all that it sends is then signed. Whoever holds the key is
        believed: a command that names no rights is the key holder's own, and may do what it asks for. A worker has as
        long as ``task_timeout`` for each workflow task of what is started.
        """
        self._client = client
        self._task_timeout = task_timeout
        self._signer = signer

    @property
    def schedules(self) -> ScheduleClient:
        """The schedules of the namespace."""
        return ScheduleClient(self._client, self._task_timeout)

    async def start(self, request: RolloutRequest, *, request_id: str = "", sender: Sender = KEY_HOLDER) -> str:
        """Start a rollout; return the run's id.

        Args:
            request: what is to be rolled out.
            request_id: a repeat with the same one returns the run that the first one started.
            sender: through which door the request came in, and what its sender may do.

        Raises:
            RefusedError: a rollout of the deployment is under way.
            NoAnswerError: Temporal did not answer.

        """
        if request_id:
            known = await self.run_of(request.deployment, request_id)
            if known is not None:
                return known
        memo = StartMemo(
            request_id=request_id or str(uuid.uuid4()),
            door=sender.door,
            issuer=sender.issuer,
            rights=tuple(sorted(sender.rights)),
            valid_until=datetime.now(UTC) + START_VALID,
        )
        if self._signer is not None:
            text = text_of_start(self._signer.installation, request, memo)
            memo = memo.model_copy(update={"signature": self._signer.sign(text)})
        try:
            return await self._start(request, memo)
        except RPCError as error:
            raise _explain(error, request.deployment) from error

    async def start_next(self, deployment: str, number: int) -> str | None:
        """Start what has waited for its turn; whoever starts it, it is one start.

        Returns:
            The run's id; ``None`` while another run of the deployment has not closed.

        Raises:
            NoAnswerError: Temporal did not answer.

        """
        memo = StartMemo(request_id=NEXT_REQUEST.format(id=number), door=Channel.KEEPER)
        try:
            return await self._start(NextRollout(deployment=deployment, next=number), memo)
        except RefusedError:
            return None
        except RPCError as error:
            raise _explain(error, deployment) from error

    async def run_of(self, deployment: str, request_id: str) -> str | None:
        """Return the run that a request with this id has started, if it is the latest of its deployment."""
        try:
            latest = await self._client.get_workflow_handle(contracts.workflow_id(deployment)).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise _explain(error, deployment) from error
        memo = await _memo_of(latest)
        if memo is None or memo.request_id != request_id:
            return None
        # A rollout that continued as new is known by the run that began it.
        return latest.raw_description.workflow_execution_info.first_run_id or latest.run_id

    async def _start(self, request: RolloutRequest | NextRollout, memo: StartMemo) -> str:
        details = (
            request_details(request.requested_by, request.reason)
            if isinstance(request, RolloutRequest)
            else f"it has waited for its turn, under the number {request.next}"
        )
        identity = contracts.workflow_id(request.deployment)
        try:
            handle = await self._client.start_workflow(
                contracts.WORKFLOW_TYPE,
                request.model_dump(mode="json", exclude_unset=True),
                id=identity,
                task_queue=contracts.TASK_QUEUE,
                task_timeout=self._task_timeout,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary=summary_of(request.deployment),
                static_details=details,
                memo={START_MEMO: memo.model_dump(mode="json")},
            )
        except WorkflowAlreadyStartedError as error:
            known = await self.run_of(request.deployment, memo.request_id) if memo.request_id else None
            if known is not None:
                return known
            raise RefusedError(another_under_way(request.deployment)) from error
        return handle.first_execution_run_id or handle.result_run_id or ""

    async def promote(
        self,
        deployment: str,
        command: PromoteCommand,
        *,
        request_id: str | None = None,
        patience: timedelta = UPDATE_PATIENCE,
    ) -> PromoteAnswer:
        """Promote the green that waits, and wait for the switch.

        Args:
            deployment: whose rollout.
            command: which revision and rollout are meant, by whom and why.
            request_id: the update's id; a repeat with the same one gets the first answer.
            patience: how long to wait for the answer.

        Raises:
            RefusedError: the promotion was refused; it says why.
            NoAnswerError: no worker answered in time.

        """
        return await self._update(deployment, contracts.PROMOTE, command, PromoteAnswer, request_id, patience)

    async def abort(
        self,
        deployment: str,
        command: AbortCommand,
        *,
        request_id: str | None = None,
        patience: timedelta = UPDATE_PATIENCE,
    ) -> AbortAnswer:
        """Abort: close green, or switch back to blue after the switch. Arguments and errors as for ``promote``."""
        return await self._update(deployment, contracts.ABORT, command, AbortAnswer, request_id, patience)

    async def rollback(
        self,
        deployment: str,
        command: AbortCommand,
        *,
        request_id: str | None = None,
        patience: timedelta = UPDATE_PATIENCE,
    ) -> AbortAnswer:
        """Return traffic to blue after the switch. Arguments and errors as for ``promote``."""
        return await self._update(deployment, contracts.ROLLBACK, command, AbortAnswer, request_id, patience)

    async def ask(
        self,
        deployment: str,
        message: str,
        command: BakeCommand,
        *,
        request_id: str | None = None,
        patience: timedelta = UPDATE_PATIENCE,
    ) -> JudgedAnswer:
        """Send a message that leads to no step of its own, such as ``finish``, ``pause`` or ``reschedule``.

        Arguments and errors as for ``promote``.
        """
        return await self._update(deployment, message, command, JudgedAnswer, request_id, patience)

    async def cancel(self, deployment: str) -> bool:
        """Ask for a rollout's cancellation, which means abort and otherwise lets it end; false when none runs.

        It is repeated while the rollout goes on in a new run; to ask twice does no more than to ask once.

        Raises:
            NoAnswerError: Temporal did not answer.

        """
        handle = self._handle(deployment)
        try:
            await self._through_moves(deployment, handle.cancel, UPDATE_PATIENCE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise _explain(error, deployment) from error
        return True

    async def status(self, deployment: str, *, patience: timedelta = QUERY_PATIENCE) -> RolloutStatus:
        """Ask a rollout for what it knows, in whichever run it goes on.

        Raises:
            RefusedError: there is no rollout of the deployment in Temporal.
            CouldNotAnswerError: a worker cannot take up the rollout's history.
            NoAnswerError: no worker answered in time.

        """
        handle = self._handle(deployment)
        try:
            status: RolloutStatus = await self._through_moves(
                deployment,
                lambda: handle.query(contracts.STATUS, result_type=RolloutStatus, rpc_timeout=patience),
                patience,
            )
        except RPCError as error:
            raise _explain(error, deployment) from error
        except WorkflowQueryFailedError as error:
            raise CouldNotAnswerError(f"the rollout of {deployment} could not answer: {error}", str(error)) from error
        return status

    async def wait(self, deployment: str, *, run_id: str | None = None) -> RolloutEnded:
        """Wait until a rollout has ended.

        Raises:
            RefusedError: there is no rollout of the deployment in Temporal.

        """
        handle = self._handle(deployment, run_id)
        try:
            result: RolloutResult = await handle.result()
        except WorkflowFailureError as error:
            return _ended(error)
        except RPCError as error:
            raise _explain(error, deployment) from error
        return RolloutEnded(status="completed", result=result, failure="")

    async def signal(self, workflow_id: str, signal: str, payload: object) -> bool:
        """Send a signal; false when the workflow does not run any more.

        Raises:
            RPCError: Temporal did not take it for another reason.

        """
        try:
            await self._client.get_workflow_handle(workflow_id).signal(signal, payload, rpc_timeout=SIGNAL_PATIENCE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def condition(self, workflow_id: str, patience: timedelta = PATIENCE) -> WorkflowCondition | None:
        """Return whether the workflow that runs under an id gets on, which may not be known; nothing when none runs.

        Temporal may take ``patience`` for each of its answers.
        """
        return await read_condition(self._client, workflow_id, patience)

    async def is_running(self, workflow_id: str) -> bool | None:
        """Return whether a workflow runs; nothing when Temporal does not say."""
        try:
            description = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            return False if error.status is RPCStatusCode.NOT_FOUND else None
        return description.status is WorkflowExecutionStatus.RUNNING

    async def _through_moves(
        self,
        deployment: str,
        call: Callable[[], Awaitable[AnswerT]],
        patience: timedelta,
    ) -> AnswerT:
        """Return what ``call`` returns; repeat it while the rollout moves to a new run, which takes some milliseconds.

        It is repeated too when a worker has lost the update on the way. A repeat of an update has the same id: at most
        one of them is carried out.

        Raises:
            RPCError: it failed for another reason, or the move lasts longer than ``patience``.
            WorkflowUpdateFailedError: the update was refused, or its rollout ended without an answer.

        """
        clock = asyncio.get_running_loop()
        until = clock.time() + patience.total_seconds()
        while True:
            try:
                return await call()
            except RPCError as error:
                if not is_moving(error) or clock.time() > until:
                    raise
            except WorkflowUpdateFailedError as error:
                kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
                if (kind != _LOST_ON_THE_WAY and kind not in _LEFT_BY_A_RUN) or clock.time() > until:
                    raise
                # A run that was terminated leaves its updates in the same words as one that goes on in a new run.
                if kind in _LEFT_BY_A_RUN and await self.is_running(contracts.workflow_id(deployment)) is False:
                    raise
            await asyncio.sleep(_MOVE_PAUSE_SECONDS)

    def _handle(self, deployment: str, run_id: str | None = None) -> WorkflowHandle[object, RolloutResult]:
        return self._client.get_workflow_handle(
            contracts.workflow_id(deployment),
            run_id=run_id,
            result_type=RolloutResult,
        )

    async def _update(
        self,
        deployment: str,
        name: str,
        command: PromoteCommand | AbortCommand,
        answer: type[AnswerT],
        request_id: str | None,
        patience: timedelta,
    ) -> AnswerT:
        if command.valid_until is None:
            # Temporal keeps an update for a worker that comes back later; by then nobody may want it any more.
            command = command.model_copy(update={"valid_until": datetime.now(UTC) + patience})
        identity = request_id or str(uuid.uuid4())
        if self._signer is not None:
            force = isinstance(command, PromoteCommand) and command.force
            if not command.rights:
                vouched = {"door": KEY_HOLDER.door, "issuer": KEY_HOLDER.issuer, "rights": verbs_of(name, force=force)}
                command = command.model_copy(update=vouched)
            text = text_of_command(self._signer.installation, deployment, name, identity, command)
            command = command.model_copy(update={"signature": self._signer.sign(text)})
        try:
            # The SDK repeats a call that timed out for as long as no worker has taken the update.
            async with asyncio.timeout(patience.total_seconds()):
                result: AnswerT = await self._through_moves(
                    deployment,
                    lambda: self._handle(deployment).execute_update(
                        name,
                        command.model_dump(mode="json", exclude_unset=True),
                        id=identity,
                        result_type=answer,
                        rpc_timeout=patience,
                    ),
                    patience,
                )
        except WorkflowUpdateFailedError as error:
            raise RefusedError(_refusal(error.cause)) from error
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise NoAnswerError(
                f"the rollout of {deployment} did not answer '{name}' in time; does a worker run? "
                f"See 'celadon rollout status {deployment}' before you ask again",
            ) from error
        except RPCError as error:
            raise _explain(error, deployment, to_promote=name == contracts.PROMOTE) from error
        return result


def is_moving(error: RPCError) -> bool:
    """Whether Temporal refused a call because the workflow goes on in a new run at this moment; nothing was changed."""
    passes = error.status in {RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.RESOURCE_EXHAUSTED}
    return passes and error.message.lower().startswith(_MOVES)


def signals_are_exhausted(error: RPCError) -> bool:
    """Whether Temporal refused a signal because the workflow's run has taken as many as it may (10,000, as a rule).

    The workflow goes on, and the run that it continues as can take signals again.
    """
    return error.status is RPCStatusCode.INVALID_ARGUMENT and _EXHAUSTED in error.message.lower()


def _refusal(cause: BaseException | None) -> Refusal:
    """Return the refusal that an update's failure carries."""
    if isinstance(cause, ApplicationError):
        known = {code.value for code in RefusalCode}
        code = RefusalCode(cause.type) if cause.type in known else RefusalCode.ROLLOUT_ENDED
        if cause.type in _LEFT_BY_A_RUN:
            return Refusal(code=code, message="the rollout ended before it answered; its status says what became of it")
        for detail in cause.details:
            if isinstance(detail, dict) and detail.get("code") == code.value:
                return Refusal.model_validate(detail)
        return Refusal(code=code, message=cause.message)
    text = cause.message if isinstance(cause, FailureError) else str(cause)
    return Refusal(code=RefusalCode.ROLLOUT_ENDED, message=text or "the rollout ended")


def _explain(error: RPCError, deployment: str, *, to_promote: bool = False) -> Exception:
    if error.status is RPCStatusCode.NOT_FOUND:
        return nothing_under_way(deployment, error.message, to_promote=to_promote)
    if error.status in {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.CANCELLED}:
        return NoAnswerError(
            f"no worker answered for the rollout of {deployment}: {error.message}; start one with 'celadon worker'",
        )
    return NoAnswerError(f"Temporal did not answer: {error.message}")


def _ended(error: WorkflowFailureError) -> RolloutEnded:
    cause = error.cause
    name = type(cause).__name__.removesuffix("Error").lower()
    result: RolloutResult | None = None
    if isinstance(cause, ApplicationError):
        for detail in cause.details:
            if isinstance(detail, dict) and "outcome" in detail:
                result = RolloutResult.model_validate(detail)
        refusal = _refusal(cause) if cause.type in set(RefusalCode) else None
        return RolloutEnded(status="failed", result=result, failure=cause.message, refusal=refusal)
    return RolloutEnded(status=name, result=result, failure=str(cause))


async def _memo_of(run: WorkflowExecutionDescription) -> StartMemo | None:
    """Return what the door of a run's start said; anybody may have started it with a memo that nobody can read."""
    try:
        return await run.memo_value(START_MEMO, None, type_hint=StartMemo)
    except Exception:  # noqa: BLE001 - what a converter raises for what it cannot read depends on what stands there
        return None
