"""Other timers for one rollout: judged by what they do, and kept where the switch reads them."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Verdict
from celadon.domain.decisions.automatic_switch import eased_keys
from celadon.domain.decisions.reschedule import (
    changed_timers,
    nothing_to_reschedule,
    refuse_contradiction,
    rescheduled_policy,
)
from celadon.domain.language.commands import RescheduleCommand
from celadon.domain.language.contracts import RESCHEDULE
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import RolloutPhase
from celadon.domain.language.steps import JudgeStep, Message
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import Rollout, SpentRequest
from celadon.table.core.policies import read_policy
from celadon.table.notifications.held import renew_deadline
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.judging import asker_of


async def counted_in_run(tx: AsyncSession, lock: DeploymentLock, step: JudgeStep) -> frozenset[str]:
    """Return the ids of those messages for other timers that an earlier attempt of the same step has carried out."""
    asked = {one.request_id: one.run or step.run for one in step.messages if one.verb == RESCHEDULE and one.request_id}
    if not asked:
        return frozenset()
    rows = await tx.execute(
        select(SpentRequest.request_id, SpentRequest.run).where(
            SpentRequest.deployment == lock.name,
            SpentRequest.verb == RESCHEDULE,
            SpentRequest.request_id.in_(asked),
        ),
    )
    return frozenset(row.request_id for row in rows if row.run == asked[row.request_id])


async def reschedule(tx: AsyncSession, rollout: Rollout, message: Message, verdict: Verdict) -> Refusal | None:
    """Give a rollout other timers, or return why it keeps those that it has.

    What lets a switch happen without a person, or sooner, takes the right to promote.

    Args:
        tx: the transaction of the step, which holds the deployment's lock.
        rollout: the one that is under way.
        message: what is asked for.
        verdict: who asks, and with which rights.

    """
    command = message.command
    if not isinstance(command, RescheduleCommand):
        return Refusal(
            code=RefusalCode.INVALID_PAYLOAD,
            message="it changes no timer",
            next_step="say which timers are to change",
        )
    if rollout.switch_epoch is not None or rollout.phase is RolloutPhase.ROLLING_BACK:
        return nothing_to_reschedule(rollout.deployment, f"the rollout is {rollout.phase.value}")
    before = read_policy(rollout.policy)
    refusal = refuse_contradiction(before, command)
    if refusal is not None:
        return refusal
    after = rescheduled_policy(before, command)
    eased = eased_keys(before, after, own_gated=rollout.gated, wanted_gated=rollout.gated)
    if eased:
        try:
            verdict.require(Verb.PROMOTE, rollout.deployment, f"{', '.join(eased)} let it switch by itself, or sooner")
        except RefusedError as error:
            return error.refusal
    changes = changed_timers(before, after)
    if not changes:
        return None
    rollout.policy = after.model_dump(mode="json")
    await write_event(
        tx,
        rollout.deployment,
        rollout.id,
        "rescheduled",
        author=asker_of(verdict, by=command.by, reason=command.reason),
        evidence=changes,
    )
    if rollout.phase is RolloutPhase.AWAITING_PROMOTION:
        await renew_deadline(tx, rollout)
    return None
