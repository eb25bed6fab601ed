"""How the keeper reaches rollouts through Temporal."""

from collections.abc import Mapping

from temporalio.client import Client
from temporalio.service import RPCError

from celadon.client.patience import NoAnswerError
from celadon.client.rollouts import RolloutClient, signals_are_exhausted
from celadon.client.running_workflows import running_workflows
from celadon.keeper.signalling import SignalsExhaustedError, SignalUncertainError, WorkflowGoneError


class TemporalSignals:
    """Sends the keeper's signals, starts what has waited, and tells which rollouts run."""

    def __init__(self, client: Client) -> None:
        """Speak through the worker's client."""
        self._client = client
        self._rollouts = RolloutClient(client)

    async def signal(self, workflow_id: str, signal: str, payload: Mapping[str, object]) -> None:
        """Send a signal.

        Raises:
            WorkflowGoneError: no such workflow runs.
            SignalsExhaustedError: Temporal takes no more for the workflow's present run.
            SignalUncertainError: it is not known whether the signal was taken.

        """
        try:
            taken = await self._rollouts.signal(workflow_id, signal, dict(payload))
        except RPCError as error:
            if signals_are_exhausted(error):
                raise SignalsExhaustedError(error.message) from error
            raise SignalUncertainError(error.message) from error
        if not taken:
            raise WorkflowGoneError(workflow_id)

    async def start_next(self, deployment: str, number: int) -> bool:
        """Start what has waited; false while another run has not closed, or while Temporal does not answer."""
        try:
            return await self._rollouts.start_next(deployment, number) is not None
        except NoAnswerError:
            return False

    async def is_running(self, workflow_id: str) -> bool | None:
        """Return whether a workflow of this id runs now; nothing when Temporal cannot be asked."""
        return await self._rollouts.is_running(workflow_id)

    async def listed(self) -> frozenset[str] | None:
        """Return the workflows that run, as Temporal's index has them; nothing when it does not answer."""
        try:
            return frozenset(one.workflow_id for one in await running_workflows(self._client))
        except RPCError:
            return None
