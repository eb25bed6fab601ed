"""The one place where callers are served: what each may ask for, and who carries it out.

Every door is thin: it reads a request, calls one function here, and writes the answer. Each function first checks that
the caller may, then updates a workflow or reads and writes the table.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.api.orders import (
    AddRevisionOrder,
    BackOrder,
    Created,
    CreateOrder,
    DeleteRequest,
    DeploymentList,
    EventPage,
    Labelled,
    LabelOrder,
    Promoted,
    PromoteOrder,
    Rescaled,
    RevisionAdded,
    RevisionList,
    RolloutPage,
    ScaleRequest,
    Started,
    TakenAway,
    WentBack,
)
from celadon.api.principal import Principal, no_such_deployment
from celadon.api.reading import AnswerPieces, ReadTurns, share_of
from celadon.client.ending import end_rollout
from celadon.client.overview import ask_workflow, view_rollout
from celadon.client.patience import NoAnswerError
from celadon.client.registering import until_registered
from celadon.client.rollout_view import NO_WORKFLOW, RolloutView, WorkflowAnswer
from celadon.client.rollouts import RolloutClient, RolloutEnded, Sender
from celadon.domain.absence import nothing_under_way
from celadon.domain.automatic_switch import verbs_of_policy
from celadon.domain.contracts import workflow_id
from celadon.domain.errors import RefusalCode, RefusedError, refuse
from celadon.domain.messages import UNDECLARED, AbortCommand, PromoteCommand, RolloutRequest
from celadon.domain.names import RevisionNumber, RolloutId
from celadon.domain.permissions import Verb, rights_of
from celadon.domain.revision import Revision
from celadon.domain.strictness import Record
from celadon.table.api_requests import (
    RequestKey,
    answer_request,
    claim_request,
    find_request,
    fingerprint_of,
    forget_request,
)
from celadon.table.clock import database_now
from celadon.table.deletion import DeleteOrder, delete
from celadon.table.engine import Table
from celadon.table.event_order import (
    Place,
    SettledLines,
    events_after,
    lines_after,
    newest_events,
    place_of,
    settled_soon,
)
from celadon.table.fleet import MOST_BEHIND, forget_router, list_routers
from celadon.table.history import latest_rollout, read_events, rollout_of_run
from celadon.table.labels import labels_of, within
from celadon.table.listing import page_of_rollouts, revisions_of, rollout_within
from celadon.table.overview import list_deployments
from celadon.table.past import read_history
from celadon.table.policies import resolve_for
from celadon.table.records.changes import Forgotten
from celadon.table.records.deployments import DeploymentLine
from celadon.table.records.events import AuditEvent
from celadon.table.records.history import History
from celadon.table.records.rollouts import RolloutFilter, RolloutRecord
from celadon.table.records.routers import Fleet
from celadon.table.registration import Author, add_revision, create_deployment, set_labels
from celadon.table.rights import rights_to_request
from celadon.table.scaling import ScaleOrder, scale

AnswerT = TypeVar("AnswerT")
ModelT = TypeVar("ModelT", bound=BaseModel)


class Meant(Record):
    """The rollout that a decision is about."""

    rollout: RolloutId | None
    revision: RevisionNumber | None


class Desk:
    """Serves the callers of the API."""

    def __init__(self, table: Table, rollouts: RolloutClient, *, signs: bool) -> None:
        """Serve from the table and through ``rollouts``; ``signs`` when its commands are signed."""
        self._turns = ReadTurns()
        self._queries = ReadTurns()
        self._pieces = AnswerPieces()
        self._table = table
        self._rollouts = rollouts
        self._signs = signs

    # Reading.

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
        async with self._turns.turn(share_of(who)), self._table.transaction() as tx:
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
        async with self._serving(who, name, [Verb.READ]):
            pass
        answer = await self._ask_workflow(name)
        async with self._reading(who, name) as tx:
            view = await view_rollout(tx, name, answer)
        if view is None or view.deployment is None:
            raise no_such_deployment(name)
        return view

    async def workflow(self, who: Principal, name: str) -> WorkflowAnswer:
        """Return what the workflow of a deployment's rollout answers; errors as above."""
        async with self._serving(who, name, [Verb.READ]):
            pass
        return await self._ask_workflow(name)

    async def see(self, who: Principal, name: str) -> None:
        """Do nothing for a caller who may see a deployment.

        Raises:
            RefusedError: there is none, or the caller may not see it.

        """
        async with self._serving(who, name, [Verb.READ]):
            pass

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
        return page_of(found, limit)

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
        async with self._serving(who, name, [Verb.READ]):
            pass
        return await self.rollouts(who, wanted.model_copy(update={"deployments": (name,)}), before=before, limit=limit)

    async def rollout(self, who: Principal, number: int) -> RolloutRecord:
        """Return one rollout.

        Raises:
            RefusedError: there is none, or the caller may not see it.

        """
        found = await self.read(who, lambda tx, scope: rollout_within(tx, scope, number))
        if found is None:
            raise refuse(RefusalCode.NO_SUCH_ROLLOUT, f"there is no rollout {number}", "list them: GET /v1/rollouts")
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
            async with self._serving(who, name, [Verb.READ]):
                pass
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

    # Registering.

    async def create(self, who: Principal, order: CreateOrder) -> Created:
        """Create a deployment. Twice creates it once.

        Raises:
            RefusedError: the caller may not, or there is another one of this name.

        """
        resolve_for(order.deployment, order.policy)
        who.require((Verb.CREATE, *verbs_of_policy(order.policy)))
        who.require_scope(order.labels)
        async with self._table.transaction() as tx:
            await self._refuse_unseen(tx, who, order.deployment)
            created = await create_deployment(tx, order.wanted(), self._author(who, order.reason))
        return Created(deployment=order.deployment, created=created)

    async def add_revision(self, who: Principal, name: str, order: AddRevisionOrder) -> RevisionAdded:
        """Register a revision; the same content has the same number.

        Raises:
            RefusedError: the caller may not, there is no such deployment, or the revision holds plain secrets.

        """
        refuse_plain_secrets(order.revision, allowed=order.allow_plain_secrets)
        async with self._serving(who, name, [Verb.CREATE]) as tx:
            number = await add_revision(tx, name, order.revision, self._author(who, order.reason))
        return RevisionAdded(deployment=name, revision=number)

    async def label(self, who: Principal, name: str, order: LabelOrder) -> Labelled:
        """Give a deployment other labels.

        Raises:
            RefusedError: the caller may not, or there is no such deployment.

        """
        who.require_scope(order.labels)
        async with self._serving(who, name, [Verb.LABEL]) as tx:
            changed = await set_labels(tx, name, order.labels, self._author(who, order.reason))
        return Labelled(deployment=name, labels=order.labels, changed=changed)

    # Rollouts.

    async def start(self, who: Principal, request: RolloutRequest, request_id: str | None = None) -> Started:
        """Start a rollout and wait a moment until it is registered.

        Raises:
            RefusedError: the caller may not, or the rollout was refused.

        """
        who.require([Verb.START])
        if request.requested_by not in {UNDECLARED, who.name}:
            raise refuse(
                RefusalCode.INVALID_PAYLOAD,
                f"requested_by is {request.requested_by!r}, but {who.name} asks",
                "leave it out: the audit log names whoever the token belongs to",
            )
        async with self._table.transaction() as tx:
            exists = await self._refuse_unseen(tx, who, request.deployment)
            # The table judges the same again when the rollout begins; here the caller is told before anything starts.
            for right in await rights_to_request(tx, request):
                who.require([right.verb], right.why)
        if not exists:
            who.require_scope(request.labels or {})
        named = request.model_copy(update={"requested_by": who.name})
        named = RolloutRequest.model_validate(named.model_dump(mode="json", exclude_unset=True), strict=False)

        async def carry_out(_: Mapping[str, object]) -> Started:
            run_id = await self._rollouts.start(
                named,
                request_id=_own(who, request_id) or "",
                sender=Sender(door=who.door, issuer=who.issuer, rights=rights_of(who.roles)),
            )
            return await self._registered(request.deployment, run_id)

        content = named.model_dump(mode="json", exclude_unset=True)
        return await self._once(who, request_id, Verb.START, content, _nothing_meant, carry_out, Started)

    async def promote(
        self,
        who: Principal,
        name: str,
        order: PromoteOrder,
        request_id: str | None = None,
    ) -> Promoted:
        """Promote the green that waits, and wait for the switch.

        Raises:
            RefusedError: the caller may not, or the promotion was refused.

        """
        verbs = (Verb.PROMOTE, Verb.FORCE) if order.force else (Verb.PROMOTE,)

        async def carry_out(meant: Mapping[str, object]) -> Promoted:
            given = {
                "revision": order.revision or meant["revision"],
                "rollout": order.rollout or meant["rollout"],
                "by": who.name,
                "reason": order.reason,
                "force": order.force,
                **self._vouched(who, verbs),
            }
            command = PromoteCommand.model_validate(
                {key: value for key, value in given.items() if value is not None},
            )
            update_id = _own(who, request_id, Verb.PROMOTE, command.rollout)
            answer = await self._rollouts.promote(name, command, request_id=update_id)
            return Promoted(
                deployment=name,
                rollout=None if command.rollout is None else RolloutId(command.rollout),
                revision=None if command.revision is None else RevisionNumber(command.revision),
                by=who.name,
                answer=answer,
            )

        return await self._decide(who, name, verbs, order, request_id, carry_out, Promoted)

    async def abort(self, who: Principal, name: str, order: BackOrder, request_id: str | None = None) -> WentBack:
        """Abort the rollout under way; errors as for a promotion."""
        return await self._go_back(who, name, Verb.ABORT, order, request_id)

    async def rollback(self, who: Principal, name: str, order: BackOrder, request_id: str | None = None) -> WentBack:
        """Return traffic to blue; errors as for a promotion."""
        return await self._go_back(who, name, Verb.ROLLBACK, order, request_id)

    async def _go_back(
        self,
        who: Principal,
        name: str,
        verb: Verb,
        order: BackOrder,
        request_id: str | None,
    ) -> WentBack:
        ask = self._rollouts.rollback if verb is Verb.ROLLBACK else self._rollouts.abort

        async def carry_out(meant: Mapping[str, object]) -> WentBack:
            given = {
                "rollout": order.rollout or meant["rollout"],
                "by": who.name,
                "reason": order.reason,
                **self._vouched(who, [verb]),
            }
            command = AbortCommand.model_validate({key: value for key, value in given.items() if value is not None})
            answer = await ask(name, command, request_id=_own(who, request_id, verb, command.rollout))
            revision = meant["revision"]
            return WentBack(
                deployment=name,
                rollout=None if command.rollout is None else RolloutId(command.rollout),
                revision=RevisionNumber(revision) if isinstance(revision, int) else None,
                by=who.name,
                answer=answer,
            )

        return await self._decide(who, name, (verb,), order, request_id, carry_out, WentBack)

    # Deployments.

    async def scale(
        self,
        who: Principal,
        name: str,
        order: ScaleRequest,
        request_id: str | None = None,
    ) -> Rescaled:
        """Let a deployment want another number of replicas.

        Raises:
            RefusedError: the caller may not, there is no such deployment, or it cannot have so many.

        """
        async with self._serving(who, name, [Verb.SCALE]):
            pass

        async def carry_out(_: Mapping[str, object]) -> Rescaled:
            author = self._author(who, order.reason)
            async with self._table.transaction() as tx:
                wanted = ScaleOrder(deployment=name, replicas=order.replicas, **dict(author))
                scaled = await scale(tx, wanted)
            return Rescaled(**dict(scaled))

        content = {"deployment": name, **order.model_dump(mode="json")}
        return await self._once(who, request_id, Verb.SCALE, content, _nothing_meant, carry_out, Rescaled)

    async def delete(self, who: Principal, name: str, order: DeleteRequest) -> TakenAway:
        """Take a deployment away. Twice does it once.

        Raises:
            RefusedError: the caller may not, there is no such deployment, or a rollout of it is unfinished.

        """
        if order.abort:
            await self._end_rollout(who, name, order.reason)
        async with self._serving(who, name, [Verb.DELETE]) as tx:
            deleted = await delete(tx, DeleteOrder(deployment=name, **dict(self._author(who, order.reason))))
        return TakenAway(**dict(deleted))

    async def _end_rollout(self, who: Principal, name: str, reason: str) -> None:
        """Ask a rollout that is under way to end, since its deployment is to go."""
        # With the right to promote: should blue be sick, the bake is finished instead of rolled back.
        verbs = [Verb.ABORT, Verb.PROMOTE]
        async with self._serving(who, name, [Verb.DELETE, *verbs]) as tx:
            latest = await latest_rollout(tx, name)
        if latest is None or latest.outcome is not None:
            return
        told = f"the deployment is deleted: {reason}" if reason else "the deployment is deleted"
        given = {"rollout": latest.rollout, "by": who.name, "reason": told, **self._vouched(who, verbs)}
        command = AbortCommand.model_validate({key: value for key, value in given.items() if value is not None})
        await _answered(end_rollout(self._rollouts, name, command))

    async def forget_router(self, who: Principal, node: str, reason: str, *, force: bool) -> Forgotten:
        """Hold a router for gone, so that nobody waits for it.

        Raises:
            RefusedError: the caller may not, there is no such router, or it is connected.

        """
        who.require([Verb.FORGET_ROUTER])
        async with self._table.transaction() as tx:
            return await forget_router(tx, node, author=self._author(who, reason), force=force)

    # What is common to them.

    @asynccontextmanager
    async def _reading(self, who: Principal, name: str) -> AsyncIterator[AsyncSession]:
        """Open a transaction in which the caller reads a deployment that it may see, when it is its turn."""
        async with self._turns.turn(share_of(who)), self._serving(who, name, [Verb.READ]) as tx:
            yield tx

    @asynccontextmanager
    async def _serving(self, who: Principal, name: str, verbs: Iterable[Verb]) -> AsyncIterator[AsyncSession]:
        """Open a transaction for a caller who may do ``verbs`` to a deployment that it may see."""
        who.require(verbs)
        async with self._table.transaction() as tx:
            if not await self._refuse_unseen(tx, who, name):
                raise no_such_deployment(name)
            yield tx

    async def _refuse_unseen(self, tx: AsyncSession, who: Principal, name: str) -> bool:
        """Return whether there is a deployment; one out of scope is refused as if there were none."""
        labels = await labels_of(tx, name)
        if labels is not None and not who.sees(labels):
            raise no_such_deployment(name)
        return labels is not None

    def _author(self, who: Principal, reason: str) -> Author:
        return Author(by=who.name, door=who.door, reason=reason, verified=True, issuer=who.issuer)

    def _vouched(self, who: Principal, verbs: Iterable[Verb]) -> dict[str, object]:
        """Return what a signed command says of its sender; one that cannot be signed would not be believed."""
        return {"door": who.door, "issuer": who.issuer, "rights": tuple(verbs)} if self._signs else {}

    async def _ask_workflow(self, name: str) -> WorkflowAnswer:
        return await ask_workflow(self._rollouts, name)

    async def _meant(self, name: str, verb: Verb) -> Meant:
        """Return the latest rollout: by the table, or by its workflow while it is not registered.

        Raises:
            RefusedError: there never was one.

        """
        async with self._table.transaction() as tx:
            latest = await latest_rollout(tx, name)
        if latest is not None:
            return Meant(rollout=latest.rollout, revision=latest.to_revision)
        answer = await self._ask_workflow(name)
        if answer.status is not None:
            return Meant(rollout=answer.status.rollout, revision=answer.status.to_revision)
        if answer.silence == NO_WORKFLOW:
            raise nothing_under_way(name, to_promote=verb is Verb.PROMOTE)
        raise refuse(
            RefusalCode.NO_ANSWER,
            f"which rollout of {name} is under way cannot be found out: {answer.silence}",
            "see that a worker runs, and ask again",
        )

    async def _decide(  # noqa: PLR0913, PLR0917 - what every decision has
        self,
        who: Principal,
        name: str,
        verbs: tuple[Verb, ...],
        order: PromoteOrder | BackOrder,
        request_id: str | None,
        carry_out: Callable[[Mapping[str, object]], Awaitable[ModelT]],
        kind: type[ModelT],
    ) -> ModelT:
        async with self._serving(who, name, verbs):
            pass
        content = {"deployment": name, **order.model_dump(mode="json")}

        async def mean() -> Mapping[str, object]:
            return (await self._meant(name, verbs[0])).model_dump(mode="json")

        return await self._once(who, request_id, verbs[0], content, mean, carry_out, kind)

    async def _once(  # noqa: PLR0913, PLR0917 - what every change has
        self,
        who: Principal,
        request_id: str | None,
        verb: Verb,
        content: Mapping[str, object],
        mean: Callable[[], Awaitable[Mapping[str, object]]],
        carry_out: Callable[[Mapping[str, object]], Awaitable[ModelT]],
        kind: type[ModelT],
    ) -> ModelT:
        """Carry a request out; a repeat under the same id means what the first one meant, and gets its answer.

        What a repeat would ``mean`` now is not asked: the first one may have ended what it was about.
        """
        if request_id is None:
            return await _answered(carry_out(await mean()))
        key = RequestKey(
            issuer=who.issuer,
            principal=who.name,
            request_id=request_id,
            fingerprint=fingerprint_of(verb.value, content),
        )
        async with self._table.transaction() as tx:
            claimed = await find_request(tx, key)
        if claimed is None:
            meant = {name: _plain(value) for name, value in (await mean()).items()}
            async with self._table.transaction() as tx:
                claimed = await claim_request(tx, key, meant)
        if claimed.answer is not None:
            return kind.model_validate(claimed.answer)
        try:
            answer = await _answered(carry_out(claimed.meant))
        except RefusedError as error:
            if error.refusal.code is not RefusalCode.NO_ANSWER:
                async with self._table.transaction() as tx:
                    await forget_request(tx, key)
            raise
        async with self._table.transaction() as tx:
            await answer_request(tx, key, answer.model_dump(mode="json"))
        return answer

    async def _registered(self, name: str, run_id: str) -> Started:
        """Wait until a rollout's workflow has written its row; go on without it when no worker takes it up in time.

        Raises:
            RefusedError: the workflow ended before, and says why.

        """

        async def look() -> RolloutRecord | None:
            async with self._table.transaction() as tx:
                return await rollout_of_run(tx, workflow_id(name), run_id)

        found = await until_registered(self._rollouts, name, run_id, look)
        if isinstance(found, RolloutEnded):
            raise _refused_at_once(name, found)
        return Started.of(name, run_id, found)


async def _nothing_meant() -> Mapping[str, object]:
    """Return what a request means that says all of it itself."""
    return {}


async def _answered(answer: Awaitable[AnswerT]) -> AnswerT:
    """Turn the silence of Temporal or of a worker into a refusal that says what to do."""
    try:
        return await answer
    except NoAnswerError as error:
        raise refuse(
            RefusalCode.NO_ANSWER,
            str(error),
            "ask again with the same request id: what was done meanwhile is answered, not done twice",
        ) from error


def _own(who: Principal, request_id: str | None, *about: object) -> str | None:
    """Return an id for Temporal that no other caller, verb or rollout shares: Temporal compares ids alone."""
    if request_id is None:
        return None
    # Joined as they are, parts with a separator in them could make the id of somebody else.
    parts = json.dumps([*who.identity, *(str(one) for one in about), request_id])
    return hashlib.sha256(parts.encode()).hexdigest()


def _refused_at_once(name: str, ended: RolloutEnded) -> RefusedError:
    if ended.refusal is not None:
        return RefusedError(ended.refusal)
    return refuse(
        RefusalCode.ROLLOUT_ENDED,
        f"the rollout of {name} ended at once: {ended.failure or ended.status}",
        "see its workflow in Temporal",
    )


def page_of(found: tuple[RolloutRecord, ...], limit: int) -> RolloutPage:
    """Return a page of rollouts, of which one more than ``limit`` were asked for."""
    page = found[:limit]
    return RolloutPage(rollouts=page, next_before=page[-1].rollout if len(found) > limit else None)


def refuse_plain_secrets(revision: Revision, *, allowed: bool) -> None:
    """Refuse a revision with plain values under names that look like secrets, unless they are allowed."""
    names = () if allowed else revision.plain_secrets()
    if names:
        raise refuse(
            RefusalCode.PLAIN_SECRET,
            f"plain values under names that look like secrets: {', '.join(names)}",
            "write {secret: NAME} instead, or set allow_plain_secrets: true",
        )


def _plain(value: object) -> int | str | None:
    return value if isinstance(value, int | str) or value is None else str(value)
