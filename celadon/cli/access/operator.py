"""The service in this process, for operators: whoever has the keys of Postgres and Temporal may do everything.

Nobody has shown who asks, so the audit log shows the name that was given as declared; a signed command is the key
holder's own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.cli.access.answers import NO_KEEPER
from celadon.cli.faults import CommandError
from celadon.cli.session import Session
from celadon.cli.signing import own_signer
from celadon.cli.table_access import database_faults_told
from celadon.client.rollouts import KEY_HOLDER, RolloutClient, Sender
from celadon.domain.decisions.hosts import HostRules
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.identity import KEY_ISSUER
from celadon.domain.language.not_found import nothing_under_way
from celadon.domain.language.permissions import Role, Verb
from celadon.domain.language.states import Channel
from celadon.host_settings import HostSettings
from celadon.service.answers import TargetRollout
from celadon.service.command import Call
from celadon.service.principal import Principal, Scheme
from celadon.service.rollout_view import NO_WORKFLOW, WorkflowAnswer
from celadon.service.service import Service, target_rollout_of
from celadon.table.access.api_requests import RequestKey
from celadon.table.core.author import Author
from celadon.table.read.overview import view_deployment

RequestT = TypeVar("RequestT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)


def operator(name: str) -> Principal:
    """Return whoever types, under the name that was given; how it was shown is told nowhere, for nothing was."""
    return Principal(name=name, issuer="", roles=(Role.ADMIN,), scope={}, scheme=Scheme.TOKEN, door=Channel.CLI)


class OperatorService(Service):
    """Serves whoever types."""

    shows_unregistered = True

    def __init__(self, session: Session) -> None:
        """Serve by a session's connections; to Temporal once it is needed."""
        self._session = session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction of the table.

        Raises:
            CommandError: Postgres is not there, or lacks the tables.

        """
        table = self._session.table
        with database_faults_told(table.database_url):
            async with table.transaction() as tx:
                yield tx

    async def rollout_client(self) -> RolloutClient:
        """Return what speaks to rollouts.

        Raises:
            TemporalUnreachableError: Temporal does not answer.

        """
        return await self._session.rollouts()

    async def permit(self, who: Principal, name: str, verbs: Iterable[Verb]) -> None:
        """Do nothing: an operator may, and a command that needs the table looks there itself."""

    async def not_found(self, name: str) -> RefusedError:
        """Return the refusal for a deployment that is not there, with those that are."""
        return await self._session.no_such_deployment(name)

    def host_rules(self, who: Principal) -> HostRules:
        """Return what the environment of this command says of host names."""
        return HostRules(HostSettings().claimable, who.sees)

    def author(self, who: Principal, reason: str) -> Author:
        """Return who changes the table, as declared."""
        return Author(by=who.name, door=who.door, reason=reason)

    def author_of_schedule(self, who: Principal, reason: str) -> Author:
        """Return the key holder, if there is a key; else nobody vouches for whoever types."""
        if own_signer() is None:
            return self.author(who, reason)
        return Author(by=who.name, door=who.door, reason=reason, verified=True, issuer=KEY_ISSUER)

    def vouched(self, who: Principal, verbs: Iterable[Verb]) -> Mapping[str, object]:
        """Return through which door the command comes; who signs it says the rest."""
        del verbs
        return {"door": who.door}

    @property
    def vouches(self) -> bool:
        """Whether there is a key that signs what is started."""
        return own_signer() is not None

    def sender(self, who: Principal) -> Sender:
        """Return the key holder, who starts what it likes."""
        del who
        return KEY_HOLDER

    def update_id(self, call: Call[RequestT], *about: object) -> str | None:
        """Return the id as it was given: nobody else's can be the same."""
        del about
        return call.request_id

    async def ask_workflow(self, name: str) -> WorkflowAnswer:
        """Return what the workflow answers, or that Temporal is away."""
        return await self._session.ask_workflow(name)

    async def target_rollout(self, name: str, *, to_promote: bool) -> TargetRollout:
        """Return the rollout under way: by the table, or by its workflow when the table is away or behind.

        Raises:
            RefusedError: none is.
            CommandError: it cannot be found out.

        """
        note = ""
        try:
            view = await self._session.read(lambda tx: view_deployment(tx, name))
        except CommandError as error:
            note, view = str(error), None
        if view is not None and view.rollout is not None and view.rollout.outcome is None:
            note = "" if view.keeper_alive else NO_KEEPER
            return target_rollout_of(view.rollout).model_copy(update={"note": note})
        answer = await self.ask_workflow(name)
        if answer.status is not None:
            return TargetRollout(rollout=answer.status.rollout, revision=answer.status.to_revision, note=note)
        if answer.unanswered_because == NO_WORKFLOW:
            known = view is not None or note
            raise (nothing_under_way(name, to_promote=to_promote) if known else await self.not_found(name))
        raise CommandError(
            f"which rollout of {name} is under way cannot be found out: {note or answer.unanswered_because}"
        )

    async def once(
        self,
        key: RequestKey | None,
        kind: type[ResultT],
        find_target_rollout: Callable[[], Awaitable[TargetRollout]],
        work: Callable[[TargetRollout], Awaitable[ResultT]],
    ) -> ResultT:
        """Carry a request out: Temporal knows a repeat by its id, and the table is asked for nothing."""
        del key, kind
        return await work(await find_target_rollout())
