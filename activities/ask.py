"""Giving a command that was scheduled, through the same service as every door.

A schedule that was made through Celadon fires for its author, whose rights are judged now: by the author's token as it
is now, and by the command itself. Whatever else starts the workflow ``Ask`` is judged as an unsigned message is.
"""

# ruff: noqa: PLC0415 - a worker that starts anew loads the commands with the first one that is given

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from activities.refusals import refusals_are_final
from celadon.client.rollouts import RolloutClient
from celadon.client.signatures import WorkerSigner
from celadon.domain.decisions.authority import Authority
from celadon.domain.decisions.firing import refuse_late_firing, refuse_other_firing
from celadon.domain.decisions.hosts import NO_HOSTS, ClaimableHosts
from celadon.domain.language.commands import UNDECLARED
from celadon.domain.language.contracts import WORKFLOW_TASK_TIMEOUT
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.limits import NAME_BYTES, echo
from celadon.domain.language.scheduling import AskAnswer, AskStep
from celadon.domain.language.states import Channel
from celadon.table.core.author import Asker
from celadon.table.core.clock import database_now
from celadon.table.core.engine import Table
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.schedules import ScheduleAuthor, author_of_firing, keep_key

if TYPE_CHECKING:
    from celadon.service.command import AnyCommand
    from celadon.service.principal import Principal
    from celadon.service.service import Service

_TRANSIENT: Final = frozenset({RefusalCode.NO_ANSWER})
"""Refusals that say that it is not known whether the command was given."""

log = structlog.get_logger()


class AskActivities:
    """The activity of ``Ask`` with what it needs: the table, Temporal, and whom the installation believes."""

    def __init__(
        self,
        table: Table,
        client: Client,
        authority: Authority,
        claimable: ClaimableHosts = NO_HOSTS,
        task_timeout: timedelta = WORKFLOW_TASK_TIMEOUT,
    ) -> None:
        """Keep what the worker has, and make the key that signs for authors of schedules.

        A worker has as long as ``task_timeout`` for each workflow task of the rollouts that are started.
        """
        self._task_timeout = task_timeout
        self._claimable = claimable
        self._table = table
        self._client = client
        self._authority = authority
        self._signer = WorkerSigner(authority.installation)

    def all(self) -> Sequence[Callable[..., Any]]:
        """Return every activity, for the worker to register."""
        return (self.ask,)

    @activity.defn
    async def ask(self, step: AskStep) -> AskAnswer:
        """Give a command for whoever scheduled it; an outage is an attempt, and a refusal is the answer.

        Another attempt gives the command under the same request id, so that it counts once.
        """
        request = step.request
        author: ScheduleAuthor | None = None
        try:
            async with self._table.transaction() as tx:
                author = await self._admit(tx, step)
            answer = await self._give(step, author)
        except RefusedError as error:
            if error.refusal.code in _TRANSIENT:
                raise ApplicationError(str(error.refusal), type=error.refusal.code.value) from error
            log.warning("scheduled_refused", deployment=request.deployment, why=str(error.refusal))
            await self._write_refusal(step, author, error)
            with refusals_are_final():
                raise
        log.info("scheduled_given", deployment=request.deployment, command=request.command, by=answer.by)
        return answer

    async def _admit(self, tx: AsyncSession, step: AskStep) -> ScheduleAuthor | None:
        """Return for whom a firing counts, ``None`` for nobody whom a door vouches for.

        Raises:
            RefusedError: it is too late, or it is not what the schedule's author wanted, or may have.

        """
        late = refuse_late_firing(step.scheduled_at, await database_now(tx))
        if late is not None:
            raise RefusedError(late)
        author = await author_of_firing(tx, step.request.deployment, step.schedule)
        if author is None:
            return None
        other = refuse_other_firing(author.planned, step.request, step.scheduled_at)
        if other is not None:
            raise RefusedError(other)
        if author.verified:
            await keep_key(tx, self._signer.identity, self._signer.public_key)
        return author

    async def _give(self, step: AskStep, author: ScheduleAuthor | None) -> AskAnswer:
        from celadon.service.scheduled import scheduled_command, scheduled_request

        command = scheduled_command(step.request.command)
        request = scheduled_request(command, step.request.deployment, step.request.argument)
        service, who = self._for(step, author)
        result = await _carry_out(service, command, who, step, request)
        return AskAnswer(
            deployment=step.request.deployment,
            command=command.verb,
            by=who.name,
            said=" ".join(line.strong + line.text for line in command.summary(result)),
        )

    def _for(self, step: AskStep, author: ScheduleAuthor | None) -> "tuple[Service, Principal]":
        """Return what serves a firing, and whom."""
        from celadon.domain.language.identity import TOKEN_ISSUER
        from celadon.service.principal import Principal, Scheme
        from celadon.service.service import Service
        from celadon.service.unsigned import Undeclared, UnsignedService

        if author is not None and author.verified:
            scheme = Scheme.TOKEN if author.issuer == TOKEN_ISSUER else Scheme.JWT
            who = Principal(
                name=author.name,
                issuer=author.issuer,
                roles=author.roles,
                scope=author.scope,
                scheme=scheme,
                door=Channel.SCHEDULE,
            )
            rollouts = RolloutClient(self._client, self._signer, self._task_timeout)
            return Service(self._table, rollouts, signs=True, claimable=self._claimable), who
        declared = Undeclared(
            name=_declared_name(step, author),
            issuer="",
            roles=(),
            scope={},
            scheme=Scheme.TOKEN,
            door=Channel.SCHEDULE,
            rights=self._authority.unsigned_rights,
        )
        rollouts = RolloutClient(self._client, task_timeout=self._task_timeout)
        return UnsignedService(self._table, rollouts, signs=False, claimable=self._claimable), declared

    async def _write_refusal(self, step: AskStep, author: ScheduleAuthor | None, error: RefusedError) -> None:
        """Tell in the audit log that an author's schedule was refused; of all others Temporal alone tells."""
        if author is None:
            return
        async with self._table.transaction() as tx:
            await write_event(
                tx,
                step.request.deployment,
                None,
                "schedule_refused",
                author=Asker(
                    by=author.name,
                    door=Channel.SCHEDULE,
                    reason=str(error.refusal),
                    verified=author.verified,
                    issuer=author.issuer,
                ),
                evidence={"schedule": step.schedule, "command": step.request.command},
            )


async def _carry_out(
    service: "Service", command: "AnyCommand", who: "Principal", step: AskStep, request: BaseModel
) -> BaseModel:
    from celadon.service.command import Scope

    result: BaseModel = await service.carry_out(
        command,
        who,
        request,
        subject="" if command.scope is Scope.FLEET else step.request.deployment,
        request_id=_request_id(step),
    )
    return result


def _request_id(step: AskStep) -> str:
    """Name a firing: a schedule gives its command once for each of its moments, in whichever run."""
    if step.scheduled_at is None or not step.schedule:
        return f"ask-{step.run}"
    return f"{step.schedule}/{step.scheduled_at.isoformat()}"


def _declared_name(step: AskStep, author: ScheduleAuthor | None) -> str:
    if author is not None:
        return author.name
    return echo(f"schedule {step.schedule}", NAME_BYTES) if step.schedule.strip() else UNDECLARED
