"""A Celadon reached by its Postgres and its Temporal, past its API: for its operators, and when the API is down."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from celadon.cli.access.answers import rollout_of
from celadon.cli.access.operator import OperatorService, operator
from celadon.cli.author_name import author_name
from celadon.cli.following import following
from celadon.cli.session import Session
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import RolloutId
from celadon.service.answers import TargetRollout
from celadon.service.command import Command, RequestT, ResultT
from celadon.service.pages import every_page
from celadon.service.rollout_view import RolloutView
from celadon.service.views.deployment import read_deployment, read_table_view
from celadon.service.views.deployments import DeploymentList, read_deployments
from celadon.service.views.events import EventList, read_events
from celadon.service.views.freezes import FreezeList, read_freezes_of_all
from celadon.service.views.history import History, read_history
from celadon.service.views.policy import ShownPolicy, read_default_policy, read_policy_of
from celadon.service.views.revisions import RevisionList, read_revisions
from celadon.service.views.rollout import read_rollout
from celadon.service.views.rollouts import RolloutList, read_rollouts, read_rollouts_of
from celadon.service.views.routers import RouterList, read_routers
from celadon.service.views.schedules import ScheduleList, read_schedules
from celadon.table.core.paging import LONGEST_PAGE
from celadon.table.records.deployments import DeploymentView
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord

OPERATOR: Final = operator("operator")
"""Who reads; nothing tells of it."""


class DirectAccess:
    """The way by Postgres and Temporal."""

    names_people = False

    def __init__(self, session: Session) -> None:
        """Use an open session's connections."""
        self.described = session.target.described
        self._session = session
        self._service = OperatorService(session)

    async def person(self, given: str | None) -> str:
        """Return the name that was given, else the login name."""
        return author_name(given)

    async def deployments(self) -> DeploymentList:
        """Return every deployment that was not destroyed."""
        return await every_page(
            lambda after: read_deployments(self._service, OPERATOR, after=after, limit=LONGEST_PAGE),
        )

    async def deployment(self, name: str) -> DeploymentView:
        """Return a deployment as the table knows it."""
        return await read_table_view(self._service, OPERATOR, name)

    async def view(self, name: str) -> RolloutView:
        """Return a deployment with its latest rollout."""
        return await read_deployment(self._service, OPERATOR, name)

    async def history(self, name: str, *, rollout: int | None, before: int | None, limit: int) -> History:
        """Return a page of rollouts with what happened in them, from the table alone."""
        return await read_history(self._service, OPERATOR, name, rollout=rollout, before=before, limit=limit)

    async def rollout(self, name: str, rollout: RolloutId) -> RolloutRecord | None:
        """Return one rollout of a deployment."""
        return await rollout_of(name, read_rollout(self._service, OPERATOR, rollout))

    async def rollouts(self, wanted: RolloutFilter, *, before: int | None, limit: int) -> RolloutList:
        """Return a page of rollouts."""
        if wanted.deployments is None:
            return await read_rollouts(self._service, OPERATOR, wanted, before=before, limit=limit)
        (name,) = wanted.deployments
        return await read_rollouts_of(self._service, OPERATOR, name, wanted, before=before, limit=limit)

    async def events(
        self, name: str | None, *, before: int | None = None, after: int | None = None, limit: int
    ) -> EventList:
        """Return lines of the audit log."""
        return await read_events(self._service, OPERATOR, name, before=before, after=after, limit=limit)

    async def revisions(self, name: str) -> RevisionList:
        """Return every revision of a deployment."""
        return await every_page(
            lambda before: read_revisions(self._service, OPERATOR, name, before=before, limit=LONGEST_PAGE),
        )

    async def policy(self, name: str | None) -> ShownPolicy:
        """Return the policy of a deployment, or the installation's defaults."""
        if name is None:
            return await read_default_policy(self._service, OPERATOR)
        return await read_policy_of(self._service, OPERATOR, name)

    async def schedules(self, name: str) -> ScheduleList:
        """Return every schedule of a deployment."""
        return await every_page(
            lambda after: read_schedules(self._service, OPERATOR, name, after=after, limit=LONGEST_PAGE)
        )

    async def freezes(self) -> FreezeList:
        """Return every freeze of all deployments."""
        return await every_page(
            lambda before: read_freezes_of_all(self._service, OPERATOR, before=before, limit=LONGEST_PAGE)
        )

    async def routers(self) -> RouterList:
        """Return every router."""
        return await every_page(lambda after: read_routers(self._service, OPERATOR, after=after, limit=LONGEST_PAGE))

    async def target_rollout(self, name: str, *, to_promote: bool) -> TargetRollout:
        """Return the rollout under way.

        Raises:
            RefusedError: none is.

        """
        return await self._service.target_rollout(name, to_promote=to_promote)

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
        try:
            return await self._service.carry_out(command, operator(by), request, subject=subject, request_id=request_id)
        except RefusedError as error:
            if error.refusal.code is not RefusalCode.NO_SUCH_DEPLOYMENT or not subject:
                raise
            raise await self._session.no_such_deployment(subject) from error

    @asynccontextmanager
    async def follow(self, name: str, rollout: RolloutId) -> AsyncIterator[AsyncIterator[RolloutView]]:
        """Follow a rollout by the table and its workflow."""
        async with following(self._session, name, rollout) as follower, aclosing(follower.views()) as views:
            yield views
