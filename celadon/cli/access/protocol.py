"""What commands ask of a Celadon, the same whichever way it is reached."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from celadon.domain.language.names import RolloutId
from celadon.service.answers import TargetRollout
from celadon.service.command import Command, RequestT, ResultT
from celadon.service.rollout_view import RolloutView
from celadon.table.records.deployments import DeploymentView
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord

if TYPE_CHECKING:
    from celadon.service.views.deployments import DeploymentList
    from celadon.service.views.events import EventList
    from celadon.service.views.freezes import FreezeList
    from celadon.service.views.history import History
    from celadon.service.views.policy import ShownPolicy
    from celadon.service.views.revisions import RevisionList
    from celadon.service.views.rollouts import RolloutList
    from celadon.service.views.routers import RouterList
    from celadon.service.views.schedules import ScheduleList


class Access(Protocol):
    """One command's way to a Celadon.

    Every method raises ``RefusedError`` when what it asks for is refused, ``NoAnswerError`` when it is not known
    whether it was done, and ``CommandError`` when a part that it needs is away.
    """

    described: str
    """Which Celadon this is, in words for people."""
    names_people: bool
    """Whether Celadon itself knows who asks, by a token; else it believes the name that it is told."""

    async def person(self, given: str | None) -> str:
        """Return who asks, for the audit log: the name that was given, the token's, or the login name."""

    async def deployments(self) -> "DeploymentList":
        """Return every deployment that was not destroyed, by name."""

    async def deployment(self, name: str) -> DeploymentView:
        """Return a deployment as the table knows it, also one that was destroyed."""

    async def view(self, name: str) -> RolloutView:
        """Return a deployment with its latest rollout, as workflow and table know it."""

    async def history(self, name: str, *, rollout: int | None, before: int | None, limit: int) -> "History":
        """Return a page of rollouts with what happened in them, newest first, or one of them alone."""

    async def rollout(self, name: str, rollout: RolloutId) -> RolloutRecord | None:
        """Return one rollout of a deployment; nothing when it has none of this number."""

    async def rollouts(self, wanted: RolloutFilter, *, before: int | None, limit: int) -> "RolloutList":
        """Return a page of rollouts, newest first, of one deployment at most or of all."""

    async def events(
        self, name: str | None, *, before: int | None = None, after: int | None = None, limit: int
    ) -> "EventList":
        """Return lines of the audit log, of one deployment or of all.

        They are the newest, newest first; with ``before`` those that are older than a line, and with ``after`` those
        that come after a line, as they come.
        """

    async def revisions(self, name: str) -> "RevisionList":
        """Return every revision of a deployment, newest first."""

    async def policy(self, name: str | None) -> "ShownPolicy":
        """Return the policy of a deployment, or the installation's defaults."""
        ...

    async def schedules(self, name: str) -> "ScheduleList":
        """Return every schedule of a deployment, by name."""

    async def freezes(self) -> "FreezeList":
        """Return every freeze of all deployments that holds or is to come, newest first."""

    async def routers(self) -> "RouterList":
        """Return every router."""

    async def target_rollout(self, name: str, *, to_promote: bool) -> TargetRollout:
        """Return the rollout under way."""

    async def give(
        self,
        command: Command[RequestT, ResultT],
        subject: str,
        request: RequestT,
        *,
        by: str,
        request_id: str | None = None,
    ) -> ResultT:
        """Give a command that the service declares.

        Args:
            command: which.
            subject: the deployment's or router's name; empty when the request names it.
            request: what is asked for.
            by: who asks.
            request_id: a repeat with the same one gets the first answer.

        """

    def follow(self, name: str, rollout: RolloutId) -> AbstractAsyncContextManager[AsyncIterator[RolloutView]]:
        """Follow a rollout: views of its deployment as it changes; the last one is of its end."""
