"""What the demonstration uses of Celadon: the client, as every door does, and the table for what it shows."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from celadon.client.rollouts import RolloutClient, RolloutEnded
from celadon.domain.language.commands import AbortAnswer, AbortCommand
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.messages import RolloutRequest
from celadon.stack.access import signer_of
from celadon.stack.addresses import NAMESPACE, StackAddresses
from celadon.stack.demo.acknowledgements import AcknowledgementLog, kept_acknowledgements
from celadon.table.core.engine import Table
from celadon.table.core.listen import Listener
from celadon.table.read.overview import view_deployment
from celadon.table.records.deployments import DeploymentView


class Doors:
    """The doors of a running stack, for one deployment; ``connected_doors`` opens them.

    What they ask may be refused (``RefusedError``) or go without an answer (``NoAnswerError``).
    """

    def __init__(
        self,
        deployment: str,
        temporal: Client,
        rollouts: RolloutClient,
        table: Table,
        acknowledgements: AcknowledgementLog,
    ) -> None:
        """Use connections that stay open, and a log that is being kept."""
        self.acknowledgements = acknowledgements
        self._deployment = deployment
        self._temporal = temporal
        self._rollouts = rollouts
        self._table = table

    async def start(self, request: RolloutRequest) -> str:
        """Start a rollout; return its run id."""
        return await self._rollouts.start(request)

    async def roll_back(self, command: AbortCommand) -> AbortAnswer:
        """Ask for the switch back and return when the routers have answered."""
        return await self._rollouts.rollback(self._deployment, command)

    async def end(self, run_id: str) -> RolloutEnded:
        """Wait for a rollout's end."""
        return await self._rollouts.wait(self._deployment, run_id=run_id)

    async def history(self, run_id: str) -> Sequence[HistoryEvent]:
        """Return a rollout's history."""
        handle = self._temporal.get_workflow_handle(workflow_id(self._deployment), run_id=run_id)
        return (await handle.fetch_history()).events

    async def view(self) -> DeploymentView | None:
        """Return the deployment as the table has it now, none while there is none of this name."""
        async with self._table.transaction() as tx:
            return await view_deployment(tx, self._deployment)


@asynccontextmanager
async def connected_doors(deployment: str, addresses: StackAddresses) -> AsyncIterator[Doors]:
    """Connect to a running stack, whatever the environment says of others."""
    temporal = await Client.connect(
        addresses.temporal_address,
        namespace=NAMESPACE,
        data_converter=pydantic_data_converter,
    )
    rollouts = RolloutClient(temporal, signer_of(addresses))
    async with (
        Table(addresses.database_url, "celadon-demo", pool_size=2) as table,
        Listener(addresses.database_url, "celadon-demo-listener") as listener,
        kept_acknowledgements(deployment, table, listener) as acknowledgements,
    ):
        yield Doors(deployment, temporal, rollouts, table, acknowledgements)
