"""The workflow that a Temporal Schedule starts: it gives one command to a deployment, and ends with the answer.

A refusal fails it, so that Temporal's UI and ``celadon schedule list`` show it; an outage is outlasted for as long as
the command is still meant.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from celadon.domain.decisions.firing import refuse_late_firing
    from celadon.domain.language import contracts
    from celadon.domain.language.errors import RefusalCode, RefusedError
    from celadon.domain.language.payload import parse_payload
    from celadon.domain.language.scheduling import AskAnswer, AskRequest, AskStep
    from workflows import calls
    from workflows.messages import only_input
    from workflows.replies import refused

_scheduled_at: Final = SearchAttributeKey.for_datetime(contracts.SCHEDULED_AT)
_scheduled_by: Final = SearchAttributeKey.for_keyword(contracts.SCHEDULED_BY)


@workflow.defn(name=contracts.ASK_TYPE)
class Ask:
    """Gives one command: ``{"deployment": "chat", "command": "promote", "argument": {"reason": "..."}}``."""

    @workflow.run
    async def run(self, payload: Any = None, *more: Any) -> AskAnswer:  # noqa: ANN401 - the one parser reads it
        """Give the command, and return what was answered.

        Raises:
            ApplicationError: the input does not parse, it is too late, or the command was refused.

        """
        try:
            request = parse_payload(AskRequest, only_input(payload, more))
        except RefusedError as error:
            raise refused(error.refusal) from error
        now, attributes = workflow.now(), workflow.info().typed_search_attributes
        scheduled_at = attributes.get(_scheduled_at)
        late = refuse_late_firing(scheduled_at, now)
        if late is not None:
            raise refused(late)
        step = AskStep(
            request=request,
            run=workflow.info().run_id,
            started_at=workflow.info().workflow_start_time,
            schedule=attributes.get(_scheduled_by) or "",
            scheduled_at=scheduled_at,
        )
        return await _ask(step, _time_left(scheduled_at, now))


def _time_left(scheduled_at: datetime | None, now: datetime) -> timedelta:
    """Return how long the command is still meant."""
    # Whoever reaches Temporal can write any moment there, also one to which nothing can be added.
    late = timedelta(0) if scheduled_at is None else max(now - scheduled_at, timedelta(0))
    return contracts.SCHEDULE_CATCH_UP - late + calls.GRACE


async def _ask(step: AskStep, within: timedelta) -> AskAnswer:
    what = f"{step.request.command} {step.request.deployment}"
    try:
        answer: AskAnswer = await workflow.execute_activity(
            calls.ASK.name,
            step,
            result_type=AskAnswer,
            start_to_close_timeout=calls.ASK.start_to_close,
            schedule_to_close_timeout=within,
            heartbeat_timeout=calls.ASK.heartbeat,
            retry_policy=calls.RETRY,
            summary=what,
        )
    except ActivityError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.non_retryable:
            raise ApplicationError(cause.message, *cause.details, type=cause.type, non_retryable=True) from error
        raise ApplicationError(
            f"'{what}' was not answered in time, and whether it was done is not known: {cause or error}; see "
            f"'celadon rollout status {step.request.deployment}'",
            type=RefusalCode.NO_ANSWER.value,
            non_retryable=True,
        ) from error
    return answer
