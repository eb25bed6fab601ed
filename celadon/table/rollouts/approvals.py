"""Approvals as rows: recorded, withdrawn, spent and counted under the deployment's lock.

A row is one person's approval of one decision of a rollout. When a decision is spent, the next approvals are those of
another decision, so that the rows of the spent one stay as evidence and count no more.
"""

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.approvals import approvals_evidence, counted, refuse_approver, spends_approvals
from celadon.domain.decisions.authority import Verdict
from celadon.domain.language.approval import Approval, ApprovalRule
from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.states import RolloutPhase
from celadon.domain.language.steps import Message, SwitchAnswer
from celadon.table.core.approval_rows import read_approvals
from celadon.table.core.author import Asker
from celadon.table.core.locks import DeploymentLock
from celadon.table.core.models import ApprovalRow, Rollout
from celadon.table.core.policies import read_policy
from celadon.table.rollouts.audit import write_event
from celadon.table.rollouts.judging import asker_of


def approval_rule(rollout: Rollout) -> ApprovalRule | None:
    """Return how many people must approve a rollout's switch, or ``None`` when its policy does not say."""
    # Most policies do not, and are not read for that.
    return None if rollout.policy.get("approvals") is None else read_policy(rollout.policy).approvals


async def count_approvals(tx: AsyncSession, lock: DeploymentLock, rollout: Rollout) -> tuple[Approval, ...]:
    """Return the approvals that count for a switch now; ``lock`` keeps others from changing them meanwhile."""
    del lock
    return counted(await read_approvals(tx, rollout), rollout.phase)


async def is_last(
    tx: AsyncSession, lock: DeploymentLock, rollout: Rollout, asker: Asker, *, message: Message | None
) -> bool:
    """Return whether nobody else has to approve: the switch follows unless another guard refuses it.

    Where it is not, a promotion is only recorded, and no window has to be open for that.
    """
    rule = approval_rule(rollout)
    if rule is None or message is None:
        return True
    return len(await count_others(tx, lock, rollout, asker)) + 1 >= rule.count


async def count_others(tx: AsyncSession, lock: DeploymentLock, rollout: Rollout, asker: Asker) -> tuple[Approval, ...]:
    """Return the approvals that count beside those of ``asker``, whose present promotion stands for the earlier one."""
    counting = await count_approvals(tx, lock, rollout)
    return tuple(one for one in counting if (one.by, one.issuer) != (asker.by, asker.issuer))


def refuse_asker(rollout: Rollout, asker: Asker) -> Refusal | None:
    """Return why a promotion is no approval of this rollout, or ``None`` when it is, or when none is needed."""
    rule = approval_rule(rollout)
    if rule is None:
        return None
    return refuse_approver(
        rule,
        rollout.deployment,
        by=asker.by,
        issuer=asker.issuer,
        verified=asker.verified,
        requested_by=rollout.requested_by,
        requester_issuer=rollout.requester_issuer,
    )


async def record_approval(
    tx: AsyncSession,
    lock: DeploymentLock,
    rollout: Rollout,
    asker: Asker,
    message: Message,
) -> tuple[Approval, ...]:
    """Record the approval of a verified person, and return all that count now; a person counts once.

    Raises:
        ValueError: nobody says through which door the promotion came in.

    """
    if asker.door is None:
        raise ValueError("an approval comes through a door")
    force = isinstance(message.command, PromoteCommand) and message.command.force
    new = insert(ApprovalRow).values(
        rollout=rollout.id,
        decision=rollout.spent_decisions,
        issuer=asker.issuer,
        subject=asker.by,
        request_id=message.request_id,
        door=asker.door,
        reason=asker.reason,
        force=force,
    )
    await tx.execute(
        new.on_conflict_do_update(
            index_elements=["rollout", "decision", "issuer", "subject"],
            # Who approves again may force what was not forced before.
            set_={"force": ApprovalRow.force | new.excluded.force},
        ),
    )
    approvals = await count_approvals(tx, lock, rollout)
    await write_event(tx, lock.name, rollout.id, "approved", author=asker, evidence=_evidence(rollout, approvals))
    return approvals


async def withdraw_approval(
    tx: AsyncSession,
    lock: DeploymentLock,
    rollout: Rollout,
    message: Message,
    verdict: Verdict,
) -> Refusal | None:
    """Take back the approval of who asks for that; return a refusal when there is none of this person."""
    command = message.command
    own = (
        ApprovalRow.rollout == rollout.id,
        ApprovalRow.decision == rollout.spent_decisions,
        ApprovalRow.issuer == verdict.issuer,
        ApprovalRow.subject == command.by,
    )
    is_gone = verdict.verified and await tx.scalar(delete(ApprovalRow).where(*own).returning(ApprovalRow.rollout))
    if not is_gone:
        return Refusal(
            code=RefusalCode.NO_OWN_APPROVAL,
            message=f"no approval of rollout {rollout.id} by {command.by} counts"
            + ("" if verdict.verified else ", and nobody vouches for this sender"),
            next_step=f"look at it with 'celadon rollout status {rollout.deployment}'",
        )
    asker = asker_of(verdict, by=command.by, reason=command.reason)
    left = await count_approvals(tx, lock, rollout)
    await write_event(tx, lock.name, rollout.id, "approval_withdrawn", author=asker, evidence=_evidence(rollout, left))
    return None


async def spend_approvals(tx: AsyncSession, lock: DeploymentLock, rollout: Rollout, why: str) -> None:
    """Let the approvals that there are count no more; without any, nothing changes."""
    if approval_rule(rollout) is None:
        return
    spent = await read_approvals(tx, rollout)
    if not spent:
        return
    rollout.spent_decisions += 1
    await tx.flush()
    people = {f"approved_by_{number}": one.by for number, one in enumerate(spent, start=1)}
    await write_event(tx, lock.name, rollout.id, "approvals_spent", actor="policy", reason=why, evidence=people)


async def settle_approvals(
    tx: AsyncSession, lock: DeploymentLock, rollout: Rollout | None, answer: SwitchAnswer
) -> SwitchAnswer:
    """Return the answer to a switch with the approvals that stand after it; a refusal that spends them does so."""
    if rollout is None or approval_rule(rollout) is None:
        return answer
    if answer.refusal is not None and spends_approvals(answer.refusal, scaled=answer.scaled):
        await spend_approvals(tx, lock, rollout, answer.refusal.message)
    return answer.model_copy(update={"approvals": await read_approvals(tx, rollout)})


def takes_approvals(rollout: Rollout) -> bool:
    """Whether approvals of a rollout can still be given and taken back: nothing has switched, nothing goes back."""
    before = {RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION}
    return rollout.phase in before and approval_rule(rollout) is not None


def _evidence(rollout: Rollout, approvals: tuple[Approval, ...]) -> dict[str, str]:
    rule = approval_rule(rollout)
    return approvals_evidence(len(approvals), 0 if rule is None else rule.count)
