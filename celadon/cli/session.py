"""What a command speaks to: the table, and Temporal once it is needed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import Client

from celadon.cli.signing import own_signer
from celadon.cli.table_access import read
from celadon.cli.target import Target, choose_target
from celadon.client.connection import TemporalUnreachableError, connect
from celadon.client.rollouts import RolloutClient
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.not_found import no_such_deployment
from celadon.logs import log_to_stderr
from celadon.service.overview import ask_workflow
from celadon.service.rollout_view import WorkflowAnswer
from celadon.table.core.engine import Table
from celadon.table.read.overview import list_names

AnswerT = TypeVar("AnswerT")


class Session:
    """One command's connections; ``open_session`` opens them."""

    def __init__(self, target: Target, table: Table) -> None:
        """Speak to ``target``."""
        self.target = target
        self.table = table
        self._temporal: Client | None = None

    async def read(self, query: Callable[[AsyncSession], Awaitable[AnswerT]]) -> AnswerT:
        """Run a query in a transaction of its own.

        Raises:
            CommandError: Postgres is not there, or lacks the tables.

        """
        return await read(self.table, query)

    async def temporal(self) -> Client:
        """Connect to Temporal, once.

        Raises:
            TemporalUnreachableError: it does not answer.

        """
        if self._temporal is None:
            self._temporal = await connect()
        return self._temporal

    async def rollouts(self) -> RolloutClient:
        """Return what speaks to rollouts.

        Raises:
            TemporalUnreachableError: Temporal does not answer.

        """
        return RolloutClient(await self.temporal(), own_signer())

    async def ask_workflow(self, deployment: str) -> WorkflowAnswer:
        """Ask a deployment's workflow; without Temporal the answer says so."""
        try:
            return await ask_workflow(await self.rollouts(), deployment)
        except TemporalUnreachableError as error:
            return WorkflowAnswer(unanswered_because=str(error))

    async def no_such_deployment(self, deployment: str) -> RefusedError:
        """Return the refusal for a deployment that is not there, with those that are."""
        return no_such_deployment(deployment, await self.read(list_names))


@asynccontextmanager
async def open_session(data_dir: Path | None) -> AsyncIterator[Session]:
    """Find the Celadon that is meant and open its table.

    Raises:
        CommandError: there is none, or the address of its database is wrong.
        StackError: no stack runs where one was named.

    """
    async with session_of(choose_target(data_dir)) as session:
        yield session


@asynccontextmanager
async def session_of(target: Target) -> AsyncIterator[Session]:
    """Open a target's table."""
    log_to_stderr()
    async with Table(target.database_url, "celadon-cli", pool_size=2) as table:
        yield Session(target, table)
