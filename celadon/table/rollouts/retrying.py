"""Trying anew what failed, what was given up, or what waits because the rollout before it did not end well."""

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.hosts import NOTHING_CLAIMABLE, HostRules
from celadon.domain.decisions.other_rollout import another_under_way
from celadon.domain.decisions.successors import is_retried
from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import DeploymentName, RolloutId
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.permissions import Verb
from celadon.table.core.author import Author
from celadon.table.core.locks import lock_deployment
from celadon.table.core.models import Rollout
from celadon.table.rollouts.hosts import refuse_claims
from celadon.table.rollouts.next_rollouts import AskedStart, let_start, shown, waiting_row
from celadon.table.rollouts.placing import judge_turn


class Retried(Record):
    """What is tried anew: what waits, or a request that a rollout began with."""

    waiting: WaitingRollout | None = None
    begins: bool = False
    """Whether what waits begins now: no rollout is under way."""
    request: RolloutRequest | None = None
    of: RolloutId | None = None
    """The rollout that began with the request."""


async def retry(
    tx: AsyncSession,
    deployment: str,
    author: Author,
    require: Callable[[Verb, str], None],
    hosts: HostRules = NOTHING_CLAIMABLE,
) -> Retried:
    """Let what waits start, or return the request that the latest rollout began with, to be asked for anew.

    What waits is judged by every rule of a begin, and by the rights of whoever retries it too.

    Args:
        tx: the transaction.
        deployment: its name.
        author: who retries.
        require: refuses what the author has no right to; it is told why the right is necessary.
        hosts: which host names it may claim for the deployment.

    Raises:
        RefusedError: there is nothing to retry, a rollout is under way, or a rule of the begin refuses what waits.

    """
    lock = await lock_deployment(tx, deployment)
    latest: Rollout | None = await tx.scalar(
        select(Rollout).where(Rollout.deployment == deployment).order_by(Rollout.id.desc()).limit(1),
    )
    under_way = None if latest is None or latest.outcome is not None else latest
    row = await waiting_row(tx, deployment)
    if row is not None:
        asked = AskedStart.of_stored(row.asked)
        await judge_turn(tx, lock, asked.request, asked.verified, require, asks_for_room=under_way is None)
        await refuse_claims(tx, deployment, asked.request.traffic, hosts)
        row = await let_start(tx, lock, author, under_way=None if under_way is None else under_way.id)
        phase = None if under_way is None else under_way.phase
        return Retried(waiting=shown(row, phase), begins=under_way is None)
    if under_way is not None:
        raise RefusedError(another_under_way(deployment))
    if latest is None or latest.outcome is None or not is_retried(latest.outcome):
        ended = "" if latest is None or latest.outcome is None else f" (it ended as {latest.outcome.value})"
        raise refuse(
            RefusalCode.NOTHING_TO_RETRY,
            f"nothing of {deployment} waits, and its latest rollout neither failed nor was given up{ended}",
            f"'celadon restart {deployment}' rolls out once more what is live",
        )
    return Retried(request=_request_of(latest), of=RolloutId(latest.id))


def _request_of(rollout: Rollout) -> RolloutRequest:
    """Return what a rollout was asked for; of one of an earlier version its revision and replicas are known."""
    if rollout.asked is None:
        return RolloutRequest(
            deployment=DeploymentName(rollout.deployment), revision=rollout.to_revision, replicas=rollout.replicas
        )
    # Labels may be others by now, and a rollout never changes them.
    return AskedStart.of_stored(rollout.asked).request.model_copy(update={"labels": None})
