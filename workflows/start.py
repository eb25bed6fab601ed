"""The start of a rollout: its one input and its memo, read and checked."""

from collections.abc import Mapping
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from celadon.domain.decisions.start_memo import refuse_memo
    from celadon.domain.language import contracts
    from celadon.domain.language.attestation import START_MEMO
    from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError, refuse
    from celadon.domain.language.limits import echo
    from celadon.domain.language.messages import RolloutRequest, StartMemo
    from celadon.domain.language.next_rollout import NextRollout
    from celadon.domain.language.steps import BeginStep
    from workflows.messages import only_input
    from workflows.payload import is_patched, parse_payload
    from workflows.replies import refused

_BOUNDED_MEMOS: Final = "the memo of a start is bounded"
"""The patch since which it is."""


def read_start(payload: object, more: tuple[object, ...]) -> BeginStep:
    """Return the first step of a rollout that somebody started.

    Raises:
        ApplicationError: the input is refused.

    """
    try:
        content = only_input(payload, more)
        has_waited = isinstance(content, Mapping) and "next" in content
        request: RolloutRequest | NextRollout = (
            parse_payload(NextRollout, content) if has_waited else parse_payload(RolloutRequest, content)
        )
        memo = _read_memo()
    except RefusedError as error:
        raise refused(error.refusal) from error
    wanted = contracts.workflow_id(request.deployment)
    if workflow.info().workflow_id != wanted:
        raise refused(
            Refusal(
                code=RefusalCode.WRONG_WORKFLOW_ID,
                message=f"the workflow id is {echo(workflow.info().workflow_id)}, "
                f"but a rollout of {request.deployment} runs as {wanted}",
                next_step=f"start it again with workflow id {wanted}",
            ),
        )
    return BeginStep(
        request=request,
        workflow_id=workflow.info().workflow_id,
        run_id=workflow.info().run_id,
        at=workflow.now(),
        memo=memo,
        # A reset run has the begin of its first one: what was signed in time stays so.
        taken_at=workflow.info().workflow_start_time,
    )


def _read_memo() -> StartMemo | None:
    """Return what the start's door says; a memo that nobody could have meant fails the start and not its task.

    Raises:
        RefusedError: it is no memo of a start, or too large for one.

    """
    try:
        memo = workflow.memo_value(START_MEMO, None, type_hint=StartMemo)
    except Exception as error:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            f"the memo {START_MEMO} cannot be read: {type(error).__name__}",
            "start the rollout through Celadon, or without this memo",
        ) from error
    refusal = None if memo is None else refuse_memo(memo)
    if refusal is not None and is_patched(_BOUNDED_MEMOS):
        raise RefusedError(refusal)
    return memo
