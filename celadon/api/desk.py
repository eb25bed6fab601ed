"""What callers may read, beside the commands that they may give: each function first checks that the caller may."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.api.reading import AnswerPieces, ReadTurns, share_of
from celadon.client.overview import view_rollout
from celadon.client.rollout_view import RolloutView, WorkflowAnswer
from celadon.client.rollouts import RolloutClient
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.not_found import no_such_deployment
from celadon.domain.language.permissions import Verb
from celadon.service.pages import DeploymentList, EventPage, RevisionList, RolloutPage
from celadon.service.principal import Principal
from celadon.service.service import Service
from celadon.table.core.clock import database_now
from celadon.table.core.engine import Table
from celadon.table.core.labels import within
from celadon.table.read.deployment_history import read_history
from celadon.table.read.event_order import (
    Place,
    SettledLines,
    events_after,
    lines_after,
    newest_events,
    place_of,
    settled_soon,
)
from celadon.table.read.history import read_events
from celadon.table.read.listing import page_of_rollouts, revisions_of, rollout_within
from celadon.table.read.overview import list_deployments
from celadon.table.read.router_list import MOST_BEHIND, list_routers
from celadon.table.records.deployments import DeploymentLine
from celadon.table.records.events import AuditEvent
from celadon.table.records.history import History
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord
from celadon.table.records.routers import Fleet

AnswerT = TypeVar("AnswerT")


class Desk(Service):
    """Serves the callers of the API."""

    def __init__(self, table: Table, rollouts: RolloutClient, *, signs: bool) -> None:
        """Serve from the table and through ``rollouts``; ``signs`` when its commands are signed."""
        super().__init__(table, rollouts, signs=signs)
        self._turns = ReadTurns()
        self._queries = ReadTurns()
        self._pieces = AnswerPieces()

    async def read(
        self,
        who: Principal,
        query: Callable[[AsyncSession, Mapping[str, str]], Awaitable[AnswerT]],
    ) -> AnswerT:
        """Run a query that keeps to the caller's scope, which it is given.

        Raises:
            RefusedError: the caller may not read.

        """
        who.require([Verb.READ])
        async with self._turns.turn(share_of(who)), self.transaction() as tx:
            return await query(tx, who.scope)

    def whole_query(self, who: Principal) -> AbstractAsyncContextManager[None]:
        """Let queries of many reads wait for one another, those of the same caller; their reads take turns as well."""
        return self._queries.turn(share_of(who))

    async def piece(self, who: Principal) -> None:
        """Wait until another piece of a large answer to a caller may be made."""
        await self._pieces.piece(share_of(who))

    async def lines(self, who: Principal, *, after: str | None, limit: int) -> tuple[DeploymentLine, ...]:
        """Return deployments that the caller may see, by name, those after ``after``; errors as above."""
        return await self.read(who, lambda tx, scope: list_deployments(tx, within(scope), after=after, limit=limit))

    async def deployments(self, who: Principal, *, after: str | None = None, limit: int) -> DeploymentList:
        """Return a page of the deployments that the caller may see, with who must act: by name, those after ``after``.

        Raises:
            RefusedError: the caller may not read.

        """

        async def query(tx: AsyncSession, scope: Mapping[str, str]) -> DeploymentList:
            lines = await list_deployments(tx, within(scope), after=after, limit=limit + 1)
            return DeploymentList.of(await database_now(tx), lines, limit)

        return await self.read(who, query)

    async def deployment(self, who: Principal, name: str) -> RolloutView:
        """Return a deployment as table and workflow know it: colours, replicas, timers, acknowledgements, requests.

        Raises:
            RefusedError: there is none, or the caller may not see it.

        """
        await self.permit(who, name, [Verb.READ])
        answer = await self.ask_workflow(name)
        async with self._reading(who, name) as tx:
            view = await view_rollout(tx, name, answer)
        if view is None or view.deployment is None:
            raise no_such_deployment(name)
        return view

    async def workflow(self, who: Principal, name: str) -> WorkflowAnswer:
        """Return what the workflow of a deployment's rollout answers; errors as above."""
        await self.permit(who, name, [Verb.READ])
        return await self.ask_workflow(name)

    async def see(self, who: Principal, name: str) -> None:
        """Do nothing for a caller who may see a deployment.

        Raises:
            RefusedError: there is none, or the caller may not see it.

        """
        await self.permit(who, name, [Verb.READ])

    async def rollouts(
        self,
        who: Principal,
        wanted: RolloutFilter,
        *,
        before: int | None = None,
        limit: int,
    ) -> RolloutPage:
        """Return a page of rollouts, newest first."""
        found = await self.read(
            who,
            lambda tx, scope: page_of_rollouts(tx, scope, wanted, before=before, limit=limit + 1),
        )
        return RolloutPage.of(found, limit)

    async def rollouts_of(
        self,
        who: Principal,
        name: str,
        wanted: RolloutFilter,
        *,
        before: int | None,
        limit: int,
    ) -> RolloutPage:
        """Return a page of one deployment's rollouts; errors as for a deployment."""
        await self.permit(who, name, [Verb.READ])
        return await self.rollouts(who, wanted.model_copy(update={"deployments": (name,)}), before=before, limit=limit)

    async def rollout(self, who: Principal, number: int) -> RolloutRecord:
        """Return one rollout.

        Raises:
            RefusedError: there is none, or the caller may not see it.

        """
        found = await self.read(who, lambda tx, scope: rollout_within(tx, scope, number))
        if found is None:
            raise refuse(
                RefusalCode.NO_SUCH_ROLLOUT, f"there is no rollout {number}", "list the rollouts that there are"
            )
        return found

    async def history(self, who: Principal, name: str, *, rollout: int | None, limit: int) -> History:
        """Return the past of a deployment.

        Raises:
            RefusedError: there is none, the caller may not see it, or it has no such rollout.

        """
        async with self._reading(who, name) as tx:
            return await read_history(tx, name, rollout=rollout, limit=limit)

    async def events(
        self,
        who: Principal,
        name: str | None,
        *,
        after: int,
        limit: int,
        newest: bool = False,
    ) -> EventPage:
        """Return lines of the audit log after one of them, of one deployment or of all that the caller may see.

        They are the first of those, or with ``newest`` the last.
        """
        if name is not None:
            await self.permit(who, name, [Verb.READ])
        if newest:
            found = await settled_soon(
                lambda: self.read(who, lambda tx, scope: newest_events(tx, scope, name, after, limit)),
            )
        else:
            found = await self.read(who, lambda tx, scope: events_after(tx, scope, name, after, limit))
        return EventPage.of(found, after)

    async def place_of(self, who: Principal, line: int) -> Place:
        """Return where a line of the audit log stands in the order in which lines are read."""
        return await self.read(who, lambda tx, _: place_of(tx, line))

    async def lines_after(self, who: Principal, name: str | None, place: Place, *, limit: int) -> SettledLines:
        """Return the next lines of the audit log, of one deployment or of all that the caller may see.

        Raises:
            RefusedError: there is no such deployment, or the caller may not see it any more.

        """
        if name is None:
            return await self.read(who, lambda tx, scope: lines_after(tx, scope, None, place, limit))
        async with self._reading(who, name) as tx:
            return await lines_after(tx, {}, name, place, limit)

    async def story(self, who: Principal, record: RolloutRecord, *, limit: int) -> tuple[AuditEvent, ...]:
        """Return the last lines of the audit log of a rollout that the caller was shown, oldest first."""
        return await self.read(
            who,
            lambda tx, _: read_events(tx, record.deployment, rollout=record.rollout, limit=limit),
        )

    async def revisions(self, who: Principal, name: str, *, before: int | None = None, limit: int) -> RevisionList:
        """Return a page of the revisions of a deployment, newest first.

        Raises:
            RefusedError: there is no such deployment, or the caller may not see it.

        """
        async with self._reading(who, name) as tx:
            found = await revisions_of(tx, [name], before=before, limit=limit + 1)
        return RevisionList.of(found[name], limit)

    async def routers(
        self,
        who: Principal,
        *,
        after: str | None = None,
        limit: int,
        most_behind: int = MOST_BEHIND,
    ) -> Fleet:
        """Return a page of routers; to a scoped caller only what they serve of the deployments in scope."""
        return await self.read(
            who,
            lambda tx, scope: list_routers(tx, scope, after=after, limit=limit, most_behind=most_behind),
        )

    @asynccontextmanager
    async def _reading(self, who: Principal, name: str) -> AsyncIterator[AsyncSession]:
        """Open a transaction in which the caller reads a deployment that it may see, when it is its turn."""
        async with self._turns.turn(share_of(who)), self.permitted(who, name, [Verb.READ]) as tx:
            yield tx
