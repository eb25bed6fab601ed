"""Activities run for Celadon's own workflows, each for its own deployment, and for nobody else.

Temporal starts an activity on any worker's queue for whoever asks: for a workflow of another type, under any id, and
without a workflow at all. A step of a rollout is carried out for the workflow of that rollout only.
"""

from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from celadon.domain.language.contracts import ASK_TYPE, WORKFLOW_TYPE, workflow_id
from celadon.domain.language.scheduling import AskStep
from celadon.domain.language.steps import BeginStep, Step

REFUSED: str = "FOREIGN_CALLER"
"""The type of the error with which a foreign caller's activity fails."""

log = structlog.get_logger()


class OwnWorkflowsOnly(Interceptor):
    """Refuses every activity that was not asked for by a rollout's own workflow."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        """Stand before every activity."""
        return _Guard(super().intercept_activity(next))


class _Guard(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - the SDK's
        """Carry an activity out for its own workflow.

        Raises:
            ApplicationError: somebody else asks; it is not tried again.

        """
        why = refuse_caller(activity.info(), input.args[0] if input.args else None)
        if why:
            log.warning("activity_refused", why=why, activity=activity.info().activity_type)
            raise ApplicationError(
                f"{why}; start a rollout with 'celadon deploy', whose workflow asks for its steps itself",
                type=REFUSED,
                non_retryable=True,
            )
        return await super().execute_activity(input)


def refuse_caller(info: activity.Info, step: object) -> str:
    """Return why a step is not carried out for its caller; empty when it is.

    Args:
        info: what Temporal says of the caller.
        step: what the caller wants done.

    """
    if not info.in_workflow:
        return "steps of a rollout run for its workflow only, and no workflow asks for this one"
    if isinstance(step, AskStep):
        return _refuse_asker(info, step)
    if info.workflow_type != WORKFLOW_TYPE:
        return f"steps of a rollout run for workflows of type {WORKFLOW_TYPE} only"
    if not isinstance(step, Step | BeginStep):
        return "it is no step of a rollout"
    deployment = step.request.deployment if isinstance(step, BeginStep) else step.deployment
    if info.workflow_id != workflow_id(deployment):
        return f"a step for {deployment} is asked for by the workflow {workflow_id(deployment)} only"
    run = step.run_id if isinstance(step, BeginStep) else step.run
    if run and run != info.workflow_run_id:
        return "the step names another run than the one that asks for it"
    return ""


def _refuse_asker(info: activity.Info, step: AskStep) -> str:
    """Return why a command is not given for a workflow: only ``Ask`` gives one, under whichever id a schedule chose."""
    if info.workflow_type != ASK_TYPE:
        return f"commands are given for workflows of type {ASK_TYPE} only"
    return "" if step.run == info.workflow_run_id else "the step names another run than the one that asks for it"
