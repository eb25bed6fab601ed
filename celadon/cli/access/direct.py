"""A Celadon reached by its Postgres and its Temporal, past its API: for its operators, and when the API is down."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

import structlog

from celadon.api.desk import page_of, refuse_plain_secrets
from celadon.api.orders import (
    AddRevisionOrder,
    Created,
    CreateOrder,
    DeploymentList,
    EventPage,
    Labelled,
    LabelOrder,
    RevisionAdded,
    RevisionList,
    RolloutPage,
    Started,
)
from celadon.cli.access.answers import NO_KEEPER, Meant
from celadon.cli.faults import CommandError
from celadon.cli.following import following
from celadon.cli.person import person_named
from celadon.cli.session import Session
from celadon.client.ending import end_rollout
from celadon.client.registering import until_registered
from celadon.client.rollout_view import NO_WORKFLOW, RolloutView
from celadon.client.rollouts import RolloutEnded
from celadon.domain.absence import nothing_under_way
from celadon.domain.contracts import workflow_id
from celadon.domain.errors import RefusedError
from celadon.domain.messages import AbortAnswer, AbortCommand, PromoteAnswer, PromoteCommand, RolloutRequest
from celadon.domain.names import RolloutId
from celadon.domain.states import Door
from celadon.table.clock import database_now
from celadon.table.deletion import DeleteOrder, delete
from celadon.table.event_order import events_after, newest_events, settled_soon
from celadon.table.fleet import forget_router, list_routers
from celadon.table.history import read_rollout, rollout_of_run
from celadon.table.listing import page_of_rollouts, revisions_of
from celadon.table.overview import list_deployments, view_deployment
from celadon.table.paging import LONGEST_PAGE
from celadon.table.past import read_history
from celadon.table.records.changes import Deleted, Forgotten, Scaled
from celadon.table.records.deployments import DeploymentLine, DeploymentView
from celadon.table.records.history import History
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord
from celadon.table.records.routers import Fleet
from celadon.table.registration import Author, add_revision, create_deployment, set_labels
from celadon.table.scaling import ScaleOrder, scale

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
        return page_of(found, limit)

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
        """Return the rollout under way: by the table, or by its workflow when the table is away or behind.

        Raises:
            RefusedError: none is.

        """
        note = ""
        try:
            view = await self._session.read(lambda tx: view_deployment(tx, name))
        except CommandError as error:
            note, view = str(error), None
        if view is not None and view.rollout is not None and view.rollout.outcome is None:
            return Meant(
                rollout=view.rollout.rollout,
                revision=view.rollout.to_revision,
                note="" if view.keeper_alive else NO_KEEPER,
            )
        answer = await self._session.ask_workflow(name)
        if answer.status is not None:
            return Meant(rollout=answer.status.rollout, revision=answer.status.to_revision, note=note)
        if answer.silence == NO_WORKFLOW:
            known = view is not None or note
            raise (
                nothing_under_way(name, to_promote=to_promote)
                if known
                else await self._session.no_such_deployment(name)
            )
        raise CommandError(f"which rollout of {name} is under way cannot be found out: {note or answer.silence}")

    async def create(self, order: CreateOrder, *, by: str) -> Created:
        """Create a deployment."""
        author = Author(by=by, door=Door.CLI, reason=order.reason)
        created = await self._session.read(lambda tx: create_deployment(tx, order.wanted(), author))
        return Created(deployment=order.deployment, created=created)

    async def add_revision(self, name: str, order: AddRevisionOrder, *, by: str) -> RevisionAdded:
        """Register a revision."""
        refuse_plain_secrets(order.revision, allowed=order.allow_plain_secrets)
        author = Author(by=by, door=Door.CLI, reason=order.reason)
        number = await self._session.read(lambda tx: add_revision(tx, name, order.revision, author))
        return RevisionAdded(deployment=name, revision=number)

    async def label(self, name: str, order: LabelOrder, *, by: str) -> Labelled:
        """Give a deployment other labels."""
        author = Author(by=by, door=Door.CLI, reason=order.reason)
        changed = await self._session.read(lambda tx: set_labels(tx, name, order.labels, author))
        return Labelled(deployment=name, labels=order.labels, changed=changed)

    async def start(self, request: RolloutRequest, request_id: str) -> Started:
        """Start a rollout."""
        rollouts = await self._session.rollouts()
        run_id = await rollouts.start(request, request_id=request_id)
        name = request.deployment
        found = await until_registered(
            rollouts,
            name,
            run_id,
            lambda: self._session.read(lambda tx: rollout_of_run(tx, workflow_id(name), run_id)),
        )
        if isinstance(found, RolloutEnded):
            raise _refused_at_once(name, found)
        return Started.of(name, run_id, found)

    async def promote(self, name: str, command: PromoteCommand, request_id: str) -> PromoteAnswer:
        """Promote the green that waits."""
        return await (await self._session.rollouts()).promote(name, command, request_id=request_id)

    async def abort(self, name: str, command: AbortCommand, request_id: str) -> AbortAnswer:
        """Abort the rollout under way."""
        return await (await self._session.rollouts()).abort(name, command, request_id=request_id)

    async def rollback(self, name: str, command: AbortCommand, request_id: str) -> AbortAnswer:
        """Return traffic to blue."""
        return await (await self._session.rollouts()).rollback(name, command, request_id=request_id)

    async def scale(self, name: str, replicas: int, *, by: str, reason: str) -> Scaled:
        """Let a deployment want another number of replicas."""
        order = ScaleOrder(deployment=name, replicas=replicas, by=by, door=Door.CLI, reason=reason)
        answer = await self._session.read(lambda tx: scale(tx, order))
        if answer.changed:
            log.info("scaled", deployment=name, by=by, before=answer.before, replicas=replicas, reason=reason)
        return answer

    async def delete(self, name: str, *, by: str, reason: str, abort: bool) -> Deleted:
        """Take a deployment away."""
        order = DeleteOrder(deployment=name, by=by, door=Door.CLI, reason=reason)
        rollout = (await self.deployment(name)).rollout
        if abort and rollout is not None and rollout.outcome is None:
            told = f"the deployment is deleted: {reason}" if reason else "the deployment is deleted"
            command = AbortCommand(rollout=rollout.rollout, by=by, reason=told)
            await end_rollout(await self._session.rollouts(), name, command)
        answer = await self._session.read(lambda tx: delete(tx, order))
        if answer.changed:
            log.info("deleted", deployment=name, by=by, reason=reason, epoch=answer.epoch)
        return answer

    async def forget_router(self, node: str, *, by: str, reason: str, force: bool) -> Forgotten:
        """Hold a router for gone."""
        author = Author(by=by, door=Door.CLI, reason=reason)
        forgotten = await self._session.read(lambda tx: forget_router(tx, node, author=author, force=force))
        if forgotten.changed:
            log.info("router_forgotten", router=node, by=by, reason=reason, was=forgotten.was.value, forced=force)
        return forgotten

    @asynccontextmanager
    async def follow(self, name: str, rollout: RolloutId) -> AsyncIterator[AsyncIterator[RolloutView]]:
        """Follow a rollout by the table and its workflow."""
        async with following(self._session, name, rollout) as follower, aclosing(follower.views()) as views:
            yield views


def _refused_at_once(name: str, ended: RolloutEnded) -> Exception:
    if ended.refusal is not None:
        return RefusedError(ended.refusal)
    return CommandError(f"the rollout of {name} was refused: {ended.failure or ended.status}")
