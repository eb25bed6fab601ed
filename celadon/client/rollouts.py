"""Starting rollouts and speaking to them, the same way from every door."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
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

from celadon.domain import contracts
from celadon.domain.errors import Refusal, RefusalCode, RefusedError, refuse
from celadon.domain.messages import (
    AbortAnswer,
    AbortCommand,
    PromoteAnswer,
    PromoteCommand,
    RolloutRequest,
    RolloutResult,
    RolloutStatus,
)

QUERY_PATIENCE: Final = timedelta(seconds=10)
UPDATE_PATIENCE: Final = timedelta(seconds=60)
"""Above ``router_ack_timeout`` of most policies; a caller that gave up can ask again with the same request id."""

AnswerT = TypeVar("AnswerT")


class NoAnswerError(Exception):
    """Nobody answered in time; the text says who should have."""


class RolloutEnded(BaseModel):
    """How a rollout's workflow ended; without a result when it was terminated or never began."""

    status: str
    result: RolloutResult | None
    failure: str


class RolloutClient:
    """Rollouts of one Temporal namespace."""

    def __init__(self, client: Client) -> None:
        """Speak through ``client``, which must use Temporal's Pydantic converter."""
        self._client = client

    async def start(self, request: RolloutRequest) -> str:
        """Start a rollout; return the run's id.

        Raises:
            RefusedError: a rollout of the deployment is under way.

        """
        identity = contracts.workflow_id(request.deployment)
        try:
            handle = await self._client.start_workflow(
                contracts.WORKFLOW_TYPE,
                request.model_dump(mode="json", exclude_unset=True),
                id=identity,
                task_queue=contracts.TASK_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary=f"blue-green rollout of **{request.deployment}**",
                static_details=_static_details(request),
            )
        except WorkflowAlreadyStartedError as error:
            raise refuse(
                RefusalCode.ROLLOUT_RUNNING,
                f"a rollout of {request.deployment} is under way",
                f"wait for it ('celadon rollout watch {request.deployment}') or abort it "
                f"('celadon abort {request.deployment}')",
            ) from error
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

    async def status(self, deployment: str, *, run_id: str | None = None) -> RolloutStatus:
        """Ask a rollout for what it knows.

        Raises:
            RefusedError: there is no rollout of the deployment in Temporal.
            NoAnswerError: no worker answered in time.

        """
        handle = self._handle(deployment, run_id)
        try:
            status: RolloutStatus = await handle.query(
                contracts.STATUS,
                result_type=RolloutStatus,
                rpc_timeout=QUERY_PATIENCE,
            )
        except RPCError as error:
            raise _explain(error, deployment) from error
        except WorkflowQueryFailedError as error:
            raise NoAnswerError(f"the rollout of {deployment} could not answer: {error}") from error
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
            await self._client.get_workflow_handle(workflow_id).signal(signal, payload)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def is_running(self, workflow_id: str) -> bool | None:
        """Return whether a workflow runs; nothing when Temporal does not say."""
        try:
            description = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            return False if error.status is RPCStatusCode.NOT_FOUND else None
        return description.status is WorkflowExecutionStatus.RUNNING

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
        try:
            # The SDK repeats a call that timed out for as long as no worker has taken the update.
            async with asyncio.timeout(patience.total_seconds()):
                given: AnswerT = await self._handle(deployment).execute_update(
                    name,
                    command.model_dump(mode="json", exclude_unset=True),
                    id=request_id or str(uuid.uuid4()),
                    result_type=answer,
                    rpc_timeout=patience,
                )
        except WorkflowUpdateFailedError as error:
            raise RefusedError(_refusal(error.cause)) from error
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise NoAnswerError(
                f"the rollout of {deployment} did not answer '{name}' in time; does a worker run? "
                f"See 'celadon rollout status {deployment}' before you ask again",
            ) from error
        except RPCError as error:
            raise _explain(error, deployment) from error
        return given


def _static_details(request: RolloutRequest) -> str:
    reason = f"\n\n{request.reason}" if request.reason else ""
    return f"requested by {request.requested_by}{reason}"


def _refusal(cause: BaseException | None) -> Refusal:
    """Return the refusal that an update's failure carries."""
    if isinstance(cause, ApplicationError):
        known = {code.value for code in RefusalCode}
        code = RefusalCode(cause.type) if cause.type in known else RefusalCode.ROLLOUT_ENDED
        for detail in cause.details:
            if isinstance(detail, dict) and detail.get("code") == code.value:
                return Refusal.model_validate(detail)
        return Refusal(code=code, message=cause.message)
    text = cause.message if isinstance(cause, FailureError) else str(cause)
    return Refusal(code=RefusalCode.ROLLOUT_ENDED, message=text or "the rollout ended")


def _explain(error: RPCError, deployment: str) -> Exception:
    if error.status is RPCStatusCode.NOT_FOUND:
        return refuse(
            RefusalCode.NO_SUCH_ROLLOUT,
            f"no rollout of {deployment} is under way ({error.message})",
            "start one with 'celadon deploy -f FILE', or see 'celadon rollout list'",
        )
    if error.status in {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.CANCELLED}:
        return NoAnswerError(
            f"no worker answered for the rollout of {deployment}: {error.message}; start one with 'python -m worker'",
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
        return RolloutEnded(status="failed", result=result, failure=cause.message)
    return RolloutEnded(status=name, result=result, failure=str(cause))
