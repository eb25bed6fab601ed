"""A Celadon reached by its Postgres and its Temporal, past its API: for its operators, and when the API is down."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

import structlog

from celadon.cli.access.operator import OperatorService, operator
from celadon.cli.following import following
from celadon.cli.person import person_named
from celadon.cli.session import Session
from celadon.client.rollout_view import RolloutView
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import RolloutId
from celadon.service.answers import Meant
from celadon.service.command import Command, RequestT, ResultT
from celadon.service.pages import DeploymentList, EventPage, RevisionList, RolloutPage
from celadon.table.core.clock import database_now
from celadon.table.core.paging import LONGEST_PAGE
from celadon.table.read.deployment_history import read_history
from celadon.table.read.event_order import events_after, newest_events, settled_soon
from celadon.table.read.history import read_rollout
from celadon.table.read.listing import page_of_rollouts, revisions_of
from celadon.table.read.overview import list_deployments, view_deployment
from celadon.table.read.router_list import list_routers
from celadon.table.records.deployments import DeploymentLine, DeploymentView
from celadon.table.records.history import History
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord
from celadon.table.records.routers import Fleet

log = structlog.get_logger()


class DirectAccess:
    """The way by Postgres and Temporal."""

    names_people = False

    def __init__(self, session: Session) -> None:
        """Use an open session's connections."""
        self.described = session.target.described
        self._session = session

    async def person(self, given: str | None) -> str:
        """Return the name that was given, else the login name."""
        return person_named(given)

    async def deployments(self) -> DeploymentList:
        """Return every deployment that was not destroyed."""
        at = await self._session.read(database_now)
        lines: list[DeploymentLine] = []
        while True:
            after = lines[-1].deployment if lines else None
            page = await self._session.read(partial(list_deployments, after=after))
            lines += page
            if len(page) < LONGEST_PAGE:
                return DeploymentList.of(at, lines, len(lines))

    async def deployment(self, name: str) -> DeploymentView:
        """Return a deployment as the table knows it."""
        view = await self._session.read(lambda tx: view_deployment(tx, name))
        if view is None:
            raise await self._session.no_such_deployment(name)
        return view

    async def view(self, name: str) -> RolloutView:
        """Return a deployment with its latest rollout."""
        return await self._session.view(name)

    async def history(self, name: str, rollout: int | None, limit: int) -> History:
        """Return the last rollouts and lines of the audit log, from the table alone."""
        found = await self._session.read(lambda tx: read_history(tx, name, rollout=rollout, limit=limit))
        if not found.rollouts:
            await self.deployment(name)
        return found

    async def rollout(self, name: str, rollout: RolloutId) -> RolloutRecord | None:
        """Return one rollout of a deployment."""
        return await self._session.read(lambda tx: read_rollout(tx, name, rollout))

    async def rollouts(self, wanted: RolloutFilter, *, before: int | None, limit: int) -> RolloutPage:
        """Return a page of rollouts."""
        found = await self._session.read(
            lambda tx: page_of_rollouts(tx, {}, wanted, before=before, limit=limit + 1),
        )
        if not found and wanted.deployments is not None:
            await self.deployment(wanted.deployments[0])
        return RolloutPage.of(found, limit)

    async def events(self, name: str | None, *, after: int, limit: int, newest: bool = False) -> EventPage:
        """Return lines of the audit log."""
        if newest:
            found = await settled_soon(
                lambda: self._session.read(lambda tx: newest_events(tx, {}, name, after, limit)),
            )
        else:
            found = await self._session.read(lambda tx: events_after(tx, {}, name, after, limit))
        if not found and name is not None:
            await self.deployment(name)
        return EventPage.of(found, after)

    async def revisions(self, name: str) -> RevisionList:
        """Return every revision of a deployment."""
        found: list[RevisionRecord] = []
        while True:
            before = found[-1].number if found else None
            pages = await self._session.read(
                partial(revisions_of, deployments=[name], before=before, limit=LONGEST_PAGE),
            )
            found += pages[name]
            if len(pages[name]) < LONGEST_PAGE:
                break
        if not found:
            await self.deployment(name)
        return RevisionList(revisions=tuple(found))

    async def routers(self) -> Fleet:
        """Return every router."""
        found = [await self._session.read(list_routers)]
        while (after := found[-1].next_after) is not None:
            found.append(await self._session.read(partial(list_routers, after=after)))
        return Fleet(at=found[0].at, routers=tuple(one for page in found for one in page.routers))

    async def meant(self, name: str, *, to_promote: bool) -> Meant:
        """Return the rollout under way.

        Raises:
            RefusedError: none is.

        """
        return await OperatorService(self._session).meant(name, to_promote=to_promote)

    async def give(
        self,
        command: Command[RequestT, ResultT],
        subject: str,
        request: RequestT,
        *,
        by: str,
        request_id: str | None = None,
    ) -> ResultT:
        """Carry a command out in this process."""
        service = OperatorService(self._session)
        try:
            return await service.carry_out(command, operator(by), request, subject=subject, request_id=request_id)
        except RefusedError as error:
            if error.refusal.code is not RefusalCode.NO_SUCH_DEPLOYMENT or not subject:
                raise
            raise await self._session.no_such_deployment(subject) from error

    @asynccontextmanager
    async def follow(self, name: str, rollout: RolloutId) -> AsyncIterator[AsyncIterator[RolloutView]]:
        """Follow a rollout by the table and its workflow."""
        async with following(self._session, name, rollout) as follower, aclosing(follower.views()) as views:
            yield views
