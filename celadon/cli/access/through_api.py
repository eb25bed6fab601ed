"""A Celadon reached through its API."""

# ruff: noqa: PLC0415 - a command loads the models of what it asks for, and no others

import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from celadon.cli.access.answers import NO_KEEPER, rollout_of
from celadon.cli.access.calls import ApiCalls, ModelT, segment
from celadon.cli.faults import CommandError
from celadon.cli.patience import outlasting
from celadon.cli.target import ApiTarget
from celadon.client.patience import NoAnswerError
from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError, refuse
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.not_found import no_such_deployment, nothing_under_way
from celadon.service.answers import TargetRollout
from celadon.service.command import Command, RequestT, ResultT, rest_path
from celadon.service.pages import every_page
from celadon.table.core.paging import LONGEST_PAGE

if TYPE_CHECKING:
    from celadon.service.principal import Principal
    from celadon.service.rollout_view import RolloutView
    from celadon.service.views.deployments import DeploymentList
    from celadon.service.views.events import EventList
    from celadon.service.views.freezes import FreezeList
    from celadon.service.views.history import History
    from celadon.service.views.policy import ShownPolicy
    from celadon.service.views.revisions import RevisionList
    from celadon.service.views.rollouts import RolloutList
    from celadon.service.views.routers import RouterList
    from celadon.service.views.schedules import ScheduleList
    from celadon.table.records.deployments import DeploymentView
    from celadon.table.records.rollouts import RolloutFilter, RolloutRecord


class _Move(Record):
    """A rollout, as far as a decision names it."""

    rollout: RolloutId | None
    to_revision: RevisionNumber | None
    outcome: str | None = None


class _Registered(Record):
    rollout: _Move | None
    keeper_alive: bool


class _Answer(Record):
    status: _Move | None = None


class _CurrentRollout(Record):
    """A ``RolloutView``, of which a decision needs to know no more than what is under way."""

    deployment: _Registered | None
    workflow: _Answer


class ApiAccess:
    """The way through an API."""

    names_people = True

    def __init__(self, target: ApiTarget, calls: ApiCalls) -> None:
        """Go through ``calls``."""
        self.described = f"{target.url}, {target.described}"
        self._target = target
        self._calls = calls
        self._caller: Principal | None = None

    async def whoami(self) -> "Principal":
        """Return whom the token is of; asked once."""
        from celadon.service.principal import Principal

        if self._caller is None:
            self._caller = await self._calls.get("/v1/whoami", Principal)
        return self._caller

    async def person(self, given: str | None) -> str:
        """Return whose token it is.

        Raises:
            CommandError: the person has said to be somebody else.

        """
        name = (await self.whoami()).name
        if given and given != name:
            raise CommandError(
                f"the token is {name}'s, so the audit log will not say {given}; leave the name out, or use a token of "
                "theirs",
            )
        return name

    async def deployments(self) -> "DeploymentList":
        """Return every deployment that the caller may see."""
        from celadon.service.views.deployments import DeploymentList

        return await every_page(
            lambda after: self._calls.get("/v1/deployments", DeploymentList, after=after, limit=LONGEST_PAGE),
        )

    async def deployment(self, name: str) -> "DeploymentView":
        """Return a deployment as the table knows it."""
        view = await self.view(name)
        if view.deployment is None:
            raise refuse(
                RefusalCode.NO_SUCH_DEPLOYMENT,
                f"{name} is not registered yet",
                f"wait a moment, or see 'celadon rollout status {name}'",
            )
        return view.deployment

    async def view(self, name: str) -> "RolloutView":
        """Return a deployment with its latest rollout."""
        from celadon.service.rollout_view import RolloutView

        return await self._get(name, "", RolloutView)

    async def history(self, name: str, *, rollout: int | None, before: int | None, limit: int) -> "History":
        """Return a page of rollouts with what happened in them."""
        from celadon.service.views.history import History

        return await self._get(name, "/history", History, rollout=rollout, before=before, limit=limit)

    async def rollout(self, name: str, rollout: RolloutId) -> "RolloutRecord | None":
        """Return one rollout of a deployment."""
        from celadon.table.records.rollouts import RolloutRecord

        return await rollout_of(name, self._calls.get(f"/v1/rollouts/{rollout}", RolloutRecord))

    async def rollouts(self, wanted: "RolloutFilter", *, before: int | None, limit: int) -> "RolloutList":
        """Return a page of rollouts."""
        from celadon.service.views.rollouts import RolloutList

        names = wanted.deployments
        path = "/v1/rollouts" if names is None else f"/v1/deployments/{segment(names[0])}/rollouts"
        asked = wanted.model_dump(mode="json", exclude={"deployments"})
        return await self._calls.get(path, RolloutList, **asked, before=before, limit=limit)

    async def events(
        self, name: str | None, *, before: int | None = None, after: int | None = None, limit: int
    ) -> "EventList":
        """Return lines of the audit log."""
        from celadon.service.views.events import EventList

        path = "/v1/events" if name is None else f"/v1/deployments/{segment(name)}/events"
        return await self._calls.get(path, EventList, before=before, after=after, limit=limit)

    async def revisions(self, name: str) -> "RevisionList":
        """Return every revision of a deployment."""
        from celadon.service.views.revisions import RevisionList

        path = f"/v1/deployments/{segment(name)}/revisions"
        return await every_page(
            lambda before: self._calls.get(path, RevisionList, before=before, limit=LONGEST_PAGE),
        )

    async def policy(self, name: str | None) -> "ShownPolicy":
        """Return the policy of a deployment, or the installation's defaults."""
        from celadon.service.views.policy import ShownPolicy

        if name is None:
            return await self._calls.get("/v1/policy", ShownPolicy)
        return await self._get(name, "/policy", ShownPolicy)

    async def schedules(self, name: str) -> "ScheduleList":
        """Return every schedule of a deployment."""
        from celadon.service.views.schedules import ScheduleList

        path = f"/v1/deployments/{segment(name)}/schedules"
        return await every_page(lambda after: self._calls.get(path, ScheduleList, after=after, limit=LONGEST_PAGE))

    async def freezes(self) -> "FreezeList":
        """Return every freeze of all deployments."""
        from celadon.service.views.freezes import FreezeList

        return await every_page(
            lambda before: self._calls.get("/v1/freezes", FreezeList, before=before, limit=LONGEST_PAGE),
        )

    async def routers(self) -> "RouterList":
        """Return every router."""
        from celadon.service.views.routers import RouterList

        return await every_page(
            lambda after: self._calls.get("/v1/routers", RouterList, after=after, limit=LONGEST_PAGE),
        )

    async def target_rollout(self, name: str, *, to_promote: bool) -> TargetRollout:
        """Return the rollout under way.

        Raises:
            RefusedError: none is.

        """
        view = await self._get(name, "", _CurrentRollout)
        record = None if view.deployment is None else view.deployment.rollout
        if record is not None and record.outcome is None:
            alive = view.deployment is not None and view.deployment.keeper_alive
            return TargetRollout(rollout=record.rollout, revision=record.to_revision, note="" if alive else NO_KEEPER)
        status = view.workflow.status
        if status is not None:
            return TargetRollout(rollout=status.rollout, revision=status.to_revision)
        raise nothing_under_way(name, to_promote=to_promote)

    async def give(
        self,
        command: Command[RequestT, ResultT],
        subject: str,
        request: RequestT,
        *,
        by: str,  # noqa: ARG002 - the token says who
        request_id: str | None = None,
    ) -> ResultT:
        """Give a command by its REST operation."""
        rest = command.rest
        path = "/v1" + re.sub(r"\{\w+\}", segment(subject), rest_path(command))
        query = request.model_dump(mode="json") if rest.in_query else {}
        changing = self._calls.change(
            rest.method,
            path,
            command.result,
            body=None if rest.in_query else request,
            # Repeated without an id a change could overrule whoever makes another one meanwhile.
            request_id=(request_id or str(uuid.uuid4())) if rest.takes_id else None,
            twice_is_once=rest.twice_is_once,
            **query,
        )
        return await self._explaining(subject, changing)

    async def _get(self, name: str, below: str, answer: type[ModelT], **query: object) -> ModelT:
        """Read something of a deployment."""
        return await self._explaining(name, self._calls.get(f"/v1/deployments/{segment(name)}{below}", answer, **query))

    async def _explaining(self, name: str, call: Awaitable[ModelT]) -> ModelT:
        """Wait for an answer about a deployment; where there is none of this name, say which there are."""
        try:
            return await call
        except RefusedError as error:
            if error.refusal.code is not RefusalCode.NO_SUCH_DEPLOYMENT or not name:
                raise
            from celadon.cli.completion import names_of_api

            try:
                names = await names_of_api(self._target)
            except (CommandError, RefusedError, NoAnswerError):
                raise error from None
            raise no_such_deployment(name, names) from error

    @asynccontextmanager
    async def follow(self, name: str, rollout: RolloutId) -> "AsyncIterator[AsyncIterator[RolloutView]]":
        """Follow a rollout by the API's live stream."""
        async with aclosing(self._views(name, rollout)) as views:
            yield views

    async def _views(self, name: str, rollout: RolloutId) -> "AsyncGenerator[RolloutView, None]":
        from celadon.service.rollout_view import RolloutView, WorkflowAnswer

        async with aclosing(self._calls.events(f"/v1/deployments/{segment(name)}/stream")) as events:
            async for event in events:
                if event.kind == "gone":
                    raise RefusedError(Refusal.model_validate_json(event.data))
                if event.kind != "deployment":
                    continue
                view = RolloutView.model_validate_json(event.data)
                latest = None if view.deployment is None else view.deployment.rollout
                known = latest is not None and latest.rollout == rollout
                record = latest if known else await outlasting(lambda: self.rollout(name, rollout))
                if record is None or record.outcome is not None:
                    yield view.model_copy(update={"workflow": WorkflowAnswer()})
                    return
                yield view
