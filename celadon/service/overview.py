"""Asking for a rollout: its workflow first, then the table, in one view."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.client.patience import CouldNotAnswerError, NoAnswerError
from celadon.client.rollouts import RolloutClient
from celadon.client.workflow_condition import PATIENCE
from celadon.domain.decisions.workflow_condition import WorkflowState, condition_of_query, unknown_condition
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.errors import RefusedError
from celadon.service.rollout_view import NO_WORKFLOW, RolloutView, WorkflowAnswer
from celadon.table.read.overview import view_deployment


async def ask_workflow(rollouts: RolloutClient, deployment: str, patience: timedelta = PATIENCE) -> WorkflowAnswer:
    """Ask a deployment's rollout for what it knows, without waiting for one that does not run or cannot answer.

    Whether it runs, Temporal may take ``patience`` to say.
    """
    identity = workflow_id(deployment)
    condition = await rollouts.condition(identity, patience)
    if condition is None:
        return WorkflowAnswer(unanswered_because=NO_WORKFLOW)
    if condition.state is not WorkflowState.HEALTHY:
        return WorkflowAnswer(unanswered_because=condition.told, condition=condition)
    try:
        return WorkflowAnswer(status=await rollouts.status(deployment), condition=condition)
    except CouldNotAnswerError as error:
        condition = condition_of_query(identity, error.failure)
        return WorkflowAnswer(unanswered_because=condition.told, condition=condition)
    except (NoAnswerError, RefusedError) as error:
        return WorkflowAnswer(unanswered_because=str(error), condition=unknown_condition(str(error)))


async def view_rollout(tx: AsyncSession, deployment: str, answer: WorkflowAnswer) -> RolloutView | None:
    """Join what the workflow answered with the table; nothing when neither knows the deployment."""
    view = await view_deployment(tx, deployment)
    if view is None and answer.status is None and answer.unanswered_because == NO_WORKFLOW:
        return None
    return RolloutView(deployment=view, workflow=answer)
