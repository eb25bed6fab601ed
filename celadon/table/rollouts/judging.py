"""Whether a message counts, judged in the transaction that carries it out."""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority, Verdict
from celadon.domain.decisions.promotion import refuse_other_rollout
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.steps import Message
from celadon.table.core.author import Asker
from celadon.table.core.clock import database_now
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import Rollout
from celadon.table.rollouts.spent_requests import spend


def asker_of(verdict: Verdict, *, by: str, reason: str) -> Asker:
    """Return who sent what counts, for the audit log; ``by`` and ``reason`` are the sender's words."""
    return Asker(by=by, door=verdict.door, reason=reason, verified=verdict.verified, issuer=verdict.issuer)


async def judge_message(  # noqa: PLR0913 - a message, for whom it came, and who may judge it
    tx: AsyncSession,
    lock: DeploymentLock,
    authority: Authority,
    rollout: Rollout,
    message: Message,
    *,
    run: str,
    asks: Collection[str],
) -> Verdict | Refusal:
    """Return who sent a message, or why it does not count; the id of a signed one is spent.

    Args:
        tx: the transaction of the step.
        lock: the lock of the rollout's deployment.
        authority: whom the installation believes.
        rollout: the one for which the message came.
        message: as it came.
        run: the workflow's run, for a message that does not say which run took it.
        asks: the messages that ask for the step.

    """
    if message.verb not in asks:
        return Refusal(
            code=RefusalCode.UNKNOWN_MESSAGE,
            message=f"the message {message.verb} does not ask for this step",
            next_step=f"send one of: {', '.join(sorted(asks))}",
        )
    other = refuse_other_rollout(rollout.id, rollout.to_revision, message.command)
    if other is not None:
        return other
    try:
        verdict = authority.of_message(rollout.deployment, message, await database_now(tx))
    except RefusedError as error:
        return error.refusal
    return await spend(tx, lock, verdict, rollout, message.verb, message.run or run) or verdict
