"""The one place where commands are carried out: it judges the caller first, and answers a repeat as it did before."""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import ClassVar, TypeVar

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.client.patience import NoAnswerError
from celadon.client.rollouts import RolloutClient, Sender
from celadon.domain.decisions.hosts import NO_HOSTS, ClaimableHosts, HostRules
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.not_found import no_such_deployment, nothing_under_way
from celadon.domain.language.permissions import Verb, rights_of
from celadon.service.answers import TargetRollout
from celadon.service.command import Call, Command, Scope
from celadon.service.overview import ask_workflow
from celadon.service.principal import Principal
from celadon.service.rollout_view import NO_WORKFLOW, WorkflowAnswer
from celadon.table.access.api_requests import (
    RequestKey,
    answer_request,
    claim_request,
    find_request,
    fingerprint_of,
    forget_request,
)
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.core.labels import labels_of
from celadon.table.read.history import latest_rollout
from celadon.table.records.rollouts import RolloutRecord

AnswerT = TypeVar("AnswerT")
RequestT = TypeVar("RequestT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)


class Service:
    """Serves callers who have shown who they are."""

    shows_unregistered: ClassVar[bool] = False
    """Whether a deployment may be shown that only its workflow knows so far: nobody knows its labels yet."""

    def __init__(
        self, table: Table, rollouts: RolloutClient, *, signs: bool, claimable: ClaimableHosts = NO_HOSTS
    ) -> None:
        """Serve from the table and through ``rollouts``.

        Args:
            table: the table.
            rollouts: what speaks to rollouts.
            signs: whether its commands are signed.
            claimable: which host names deployments may claim.

        """
        self._claimable = claimable
        self._table = table
        self._rollouts = rollouts
        self._signs = signs

    async def carry_out(
        self,
        command: Command[RequestT, ResultT],
        who: Principal,
        request: RequestT,
        *,
        subject: str = "",
        request_id: str | None = None,
    ) -> ResultT:
        """Carry a command out, or answer as the first time when the request's id was used for the same before.

        Raises:
            RefusedError: the caller may not, what it is about is not there, or it was refused; it says why.

        """
        rights = command.rights_for(request)
        if command.scope is Scope.FLEET:
            who.require(rights)
        else:
            await self.permit(who, subject, rights)

        async def find_target_rollout() -> TargetRollout:
            if command.scope is not Scope.ROLLOUT:
                return TargetRollout()
            try:
                return await self.target_rollout(subject, to_promote=command.right is Verb.PROMOTE)
            except RefusedError as error:
                if command.without_rollout and error.refusal.code is RefusalCode.NO_SUCH_ROLLOUT:
                    return TargetRollout()
                raise

        async def work(target_rollout: TargetRollout) -> ResultT:
            call = Call(
                who=who,
                subject=subject,
                request=request,
                request_id=request_id,
                target_rollout=target_rollout,
                service=self,
            )
            return await command.run(call)

        # A key that is given weighs more in a start than the same one by default, so they are two requests.
        said = request.model_dump(mode="json", exclude_unset=command.scope is Scope.FLEET)
        content = {**({"deployment": subject} if subject else {}), **said}
        key = self.key_of(who, command.verb, content, request_id)
        return await self.once(key, command.result, find_target_rollout, work)

    # What a view has at hand.

    def turn(self, who: Principal) -> AbstractAsyncContextManager[None]:
        """Wait for the caller's turn at reading, and hold it while the block runs."""
        del who
        return nullcontext()

    async def read(
        self,
        who: Principal,
        query: Callable[[AsyncSession, Mapping[str, str]], Awaitable[AnswerT]],
    ) -> AnswerT:
        """Run a query that keeps to the caller's scope, which it is given, when it is the caller's turn.

        Raises:
            RefusedError: the caller may not read.

        """
        who.require([Verb.READ])
        async with self.turn(who), self.transaction() as tx:
            return await query(tx, who.scope)

    @asynccontextmanager
    async def reading(self, who: Principal, name: str) -> AsyncIterator[AsyncSession]:
        """Open a transaction in which the caller reads a deployment, when it is the caller's turn.

        Raises:
            RefusedError: there is none, or the caller may not see it.

        """
        async with self.turn(who), self.permitted(who, name, [Verb.READ]) as tx:
            yield tx

    async def see(self, who: Principal, name: str) -> None:
        """Do nothing for a caller who may see a deployment; errors as above."""
        async with self.permitted(who, name, [Verb.READ]):
            pass

    # What a command has at hand.

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a transaction of the table."""
        return self._table.transaction()

    async def rollout_client(self) -> RolloutClient:
        """Return what speaks to rollouts."""
        return self._rollouts

    @asynccontextmanager
    async def serving(self, call: Call[RequestT], verbs: Iterable[Verb]) -> AsyncIterator[AsyncSession]:
        """Open a transaction in which the caller still may do ``verbs`` to the deployment, and still sees it."""
        async with self.permitted(call.who, call.subject, verbs) as tx:
            yield tx

    async def permit(self, who: Principal, name: str, verbs: Iterable[Verb]) -> None:
        """Do nothing for a caller who may do ``verbs`` to a deployment that it may see.

        Raises:
            RefusedError: it may not, or there is none.

        """
        async with self.permitted(who, name, verbs):
            pass

    @asynccontextmanager
    async def permitted(self, who: Principal, name: str, verbs: Iterable[Verb]) -> AsyncIterator[AsyncSession]:
        """Open a transaction for a caller who may do ``verbs`` to a deployment that it may see; errors as above."""
        who.require(verbs)
        async with self.transaction() as tx:
            if not await self.is_there(tx, who, name):
                raise await self.not_found(name)
            yield tx

    async def not_found(self, name: str) -> RefusedError:
        """Return the refusal for a deployment that is not there."""
        return no_such_deployment(name)

    async def is_there(self, tx: AsyncSession, who: Principal, name: str) -> bool:
        """Return whether there is a deployment; one out of scope is refused as if there were none.

        Raises:
            RefusedError: the caller may not see it.

        """
        labels = await labels_of(tx, name)
        if labels is not None and not who.sees(labels):
            raise no_such_deployment(name)
        return labels is not None

    def author(self, who: Principal, reason: str) -> Author:
        """Return who changes the table, for the audit log."""
        return Author(by=who.name, door=who.door, reason=reason, verified=True, issuer=who.issuer)

    def author_of_schedule(self, who: Principal, reason: str) -> Author:
        """Return for whom a schedule fires."""
        return self.author(who, reason)

    def author_of_start(self, who: Principal, reason: str) -> Author:
        """Return who asks for a rollout that begins later: verified only if a start of theirs would be signed."""
        author = self.author_of_schedule(who, reason)
        return author if self.vouches else author.model_copy(update={"verified": False, "issuer": ""})

    def host_rules(self, who: Principal) -> HostRules:
        """Return which host names a caller may claim for a deployment."""
        return HostRules(self._claimable, who.sees)

    def rights(self, who: Principal) -> frozenset[Verb]:
        """Return all that a caller may do, for what happens later in its name."""
        return rights_of(who.roles)

    def vouched(self, who: Principal, verbs: Iterable[Verb]) -> Mapping[str, object]:
        """Return what a signed command says of its sender; one that cannot be signed would not be believed."""
        return {"door": who.door, "issuer": who.issuer, "rights": tuple(verbs)} if self._signs else {}

    @property
    def vouches(self) -> bool:
        """Whether a start is signed, so that whoever begins the rollout believes who asks."""
        return self._signs

    def sender(self, who: Principal) -> Sender:
        """Return what is said of who starts a rollout."""
        return Sender(door=who.door, issuer=who.issuer, rights=self.rights(who))

    def update_id(self, call: Call[RequestT], *about: object) -> str | None:
        """Return an id for Temporal that no other caller, verb or rollout shares: Temporal compares ids alone."""
        if call.request_id is None:
            return None
        # Joined as they are, parts with a separator in them could make the id of somebody else.
        parts = json.dumps([*call.who.identity, *(str(one) for one in about), call.request_id])
        return hashlib.sha256(parts.encode()).hexdigest()

    async def target_rollout(self, name: str, *, to_promote: bool) -> TargetRollout:
        """Return the latest rollout: by the table, or by its workflow while it is not registered.

        Raises:
            RefusedError: there never was one.

        """
        async with self.transaction() as tx:
            latest = await latest_rollout(tx, name)
        if latest is not None:
            return target_rollout_of(latest)
        answer = await self.ask_workflow(name)
        if answer.status is not None:
            return TargetRollout(rollout=answer.status.rollout, revision=answer.status.to_revision)
        if answer.unanswered_because == NO_WORKFLOW:
            raise nothing_under_way(name, to_promote=to_promote)
        raise refuse(
            RefusalCode.NO_ANSWER,
            f"which rollout of {name} is under way cannot be found out: {answer.unanswered_because}",
            "see that a worker runs, and ask again",
        )

    async def ask_workflow(self, name: str) -> WorkflowAnswer:
        """Return what the workflow of a deployment's rollout answers, or why it does not."""
        return await ask_workflow(await self.rollout_client(), name)

    # Once.

    def key_of(
        self,
        who: Principal,
        verb: str,
        content: Mapping[str, object],
        request_id: str | None,
    ) -> RequestKey | None:
        """Return under what a repeat of a request is known, or ``None`` when it is not to be known."""
        if request_id is None:
            return None
        return RequestKey(
            issuer=who.issuer,
            principal=who.name,
            request_id=request_id,
            fingerprint=fingerprint_of(verb, content),
        )

    async def once(
        self,
        key: RequestKey | None,
        kind: type[ResultT],
        find_target_rollout: Callable[[], Awaitable[TargetRollout]],
        work: Callable[[TargetRollout], Awaitable[ResultT]],
    ) -> ResultT:
        """Carry a request out; a repeat under the same id means what the first one meant, and gets its answer.

        What a repeat would ``mean`` now is not asked: the first one may have ended what it was about.
        """
        if key is None:
            return await answered(work(await find_target_rollout()))
        async with self.transaction() as tx:
            claimed = await find_request(tx, key)
        if claimed is None:
            target_rollout = (await find_target_rollout()).model_dump(
                mode="json", exclude={"note"}, exclude_defaults=True
            )
            async with self.transaction() as tx:
                claimed = await claim_request(tx, key, target_rollout)
        if claimed.answer is not None:
            return kind.model_validate(claimed.answer)
        try:
            result = await answered(work(TargetRollout.model_validate(claimed.meant)))
        except RefusedError as error:
            if error.refusal.code is not RefusalCode.NO_ANSWER:
                async with self.transaction() as tx:
                    await forget_request(tx, key)
            raise
        async with self.transaction() as tx:
            await answer_request(tx, key, result.model_dump(mode="json"))
        return result


def target_rollout_of(record: RolloutRecord) -> TargetRollout:
    """Return what a decision means by a rollout that the table knows."""
    return TargetRollout(
        rollout=record.rollout,
        revision=record.to_revision,
        blue=record.from_revision,
        has_ended=record.outcome is not None,
        is_rollback=record.rollback_window is not None,
    )


async def answered(answer: Awaitable[AnswerT]) -> AnswerT:
    """Turn the silence of Temporal or of a worker into a refusal that says what to do.

    Raises:
        RefusedError: with code ``NO_ANSWER``.

    """
    try:
        return await answer
    except NoAnswerError as error:
        raise refuse(
            RefusalCode.NO_ANSWER,
            str(error),
            "ask again with the same request id: what was done meanwhile is answered, not done twice",
        ) from error
