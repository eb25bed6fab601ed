"""The switch: the one transaction that points a deployment at green, and its way back."""

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority
from celadon.domain.decisions.automatic_switch import switches_by_itself
from celadon.domain.decisions.curable import CURED_BY
from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import ABORT, PROMOTE, ROLLBACK
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.policy import required_healthy
from celadon.domain.language.states import (
    Channel,
    RolloutPhase,
    RouteSetState,
    SetCondition,
)
from celadon.domain.language.steps import SwitchAnswer, SwitchStep
from celadon.table.core.author import Asker
from celadon.table.core.epoch import point_at
from celadon.table.core.locks import DeploymentLock, LockedDeployment, lock_deployment, owning
from celadon.table.core.models import Deployment, RefusedDecision, Rollout, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.rollouts.audit import write_event, write_notes
from celadon.table.rollouts.judging import judge_message
from celadon.table.rollouts.pending_aborts import read_pending, store_pending
from celadon.table.rollouts.scale_down import cancel_scale_down
from celadon.table.rollouts.way_back import Vouched, WayBack, count_vouched_for, read_way_back, wanted_again

_asked: Final = (
    select(Rollout, RefusedDecision.answer)
    .outerjoin(
        RefusedDecision,
        (RefusedDecision.rollout == Rollout.id) & (RefusedDecision.decision == bindparam("decision")),
    )
    .where(Rollout.id == bindparam("rollout"), Rollout.deployment == bindparam("deployment"))
    .execution_options(populate_existing=True)
)
_locked_green: Final = (
    select(RouteSet)
    .where(RouteSet.id == bindparam("set"), RouteSet.deployment == bindparam("deployment"))
    .with_for_update()
    .execution_options(populate_existing=True)
)


class _Askers(Record):
    """Who may ask for a step."""

    messages: frozenset[str]
    """The messages that ask for it."""
    doors: frozenset[Channel]
    """The doors that ask for it without a message."""


_SWITCHES: Final = _Askers(messages=frozenset({PROMOTE}), doors=frozenset({Channel.TIMER, Channel.POLICY}))
_GOES_BACK: Final = _Askers(
    messages=frozenset({ABORT, ROLLBACK}),
    doors=frozenset({Channel.CANCEL, Channel.POLICY, Channel.TIMER, Channel.KEEPER}),
)


async def switch(
    tx: AsyncSession,
    step: SwitchStep,
    authority: Authority,
    *,
    patient: bool = False,
) -> SwitchAnswer:
    """Point the deployment at green if every precondition still holds under its lock; else change nothing.

    Preconditions: the message that it carries out counts, or the rollout's policy switches by itself; the rollout owns
    the deployment, blue and green are the expected sets, no freeze, a living keeper
    vouches for health, and enough greens are healthy. Twice gives the same answer and one epoch: a decision that was
    refused is spent, so that an attempt which everybody has forgotten does not switch behind the rollout's back.

    Args:
        tx: the transaction.
        step: what the rollout asks for.
        authority: whom the installation believes.
        patient: whether the caller asks again when no keeper vouches for health; that is no answer yet.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout, refused = await _read_asked(tx, locked, step)
    answer = refused or await _switch(tx, locked, rollout, step, authority)
    waits = patient and answer.refusal is not None and answer.refusal.code is RefusalCode.KEEPER_SILENT
    if not waits:
        await _keep_refused(tx, step, answer)
    return answer


async def switch_back(tx: AsyncSession, step: SwitchStep, authority: Authority) -> SwitchAnswer:
    """Point the deployment at blue again while blue can take the traffic; else change nothing.

    One healthy replica of blue is enough when green is sick, and when blue drains: then it is refilled only once it is
    live again. While it bakes and green is healthy, blue must fulfil ``min_healthy``, which its keeper sees to.
    Twice gives the same answer, as for a switch.
    """
    locked = await lock_deployment(tx, step.deployment)
    rollout, refused = await _read_asked(tx, locked, step)
    answer = refused or await _switch_back(tx, locked, rollout, step, authority)
    await _keep_refused(tx, step, answer)
    return answer


async def _read_asked(
    tx: AsyncSession, lock: DeploymentLock, step: SwitchStep
) -> tuple[Rollout | None, SwitchAnswer | None]:
    """Return the rollout that asks, if the deployment has it, and the refusal that this decision was answered with."""
    keys = {"rollout": step.rollout, "deployment": lock.name, "decision": step.decision}
    found = (await tx.execute(_asked, keys)).one_or_none()
    if found is None:
        return None, None
    rollout, answer = found
    return rollout, None if answer is None else SwitchAnswer.model_validate(answer, strict=False)


async def _keep_refused(tx: AsyncSession, step: SwitchStep, answer: SwitchAnswer) -> None:
    """Write down that a decision was refused; a rollout that has ended decides nothing more anyway."""
    if not step.decision or answer.refusal is None or answer.refusal.code is RefusalCode.NOT_OWNER:
        return
    is_new = await tx.scalar(
        insert(RefusedDecision)
        .values(rollout=step.rollout, decision=step.decision, answer=answer.model_dump(mode="json"))
        .on_conflict_do_nothing()
        .returning(RefusedDecision.rollout),
    )
    if is_new is not None and not answer.message_refused:
        await _ask_for_signal(tx, step, answer.refusal)


async def _ask_for_signal(tx: AsyncSession, step: SwitchStep, refusal: Refusal) -> None:
    """Let the rollout be told when a step that was refused for the moment is worth another attempt."""
    rollout = await tx.get(Rollout, step.rollout)
    if rollout is not None and rollout.outcome is None:
        rollout.awaits_signal = CURED_BY.get(refusal.code)
        if refusal.code is not RefusalCode.NO_HEALTHY_BLUE:
            rollout.pending_abort = None
        await tx.flush()


async def _switch(
    tx: AsyncSession,
    locked: LockedDeployment,
    done: Rollout | None,
    step: SwitchStep,
    authority: Authority,
) -> SwitchAnswer:
    deployment = locked.row
    if done is not None and done.switch_epoch is not None and done.green_set == step.green_set:
        return SwitchAnswer(epoch=Epoch(done.switch_epoch), at=done.switched_at)
    try:
        rollout = owning(done, locked, step.rollout)
    except RefusedError as error:
        return SwitchAnswer(refusal=error.refusal)
    asker = await _judge(tx, locked, rollout, step, authority, _SWITCHES)
    if isinstance(asker, Refusal):
        return SwitchAnswer(refusal=asker, message_refused=True)
    if step.message is None and not switches_by_itself(read_policy(rollout.policy), gated=rollout.gated):
        return SwitchAnswer(refusal=_not_by_itself(step))
    try:
        green = await _lock_green(tx, deployment, rollout, step)
    except RefusedError as error:
        return SwitchAnswer(refusal=error.refusal)
    required = required_healthy(green.wanted, read_policy(rollout.policy).min_healthy)
    vouched = await count_vouched_for(tx, locked, green.id)
    healthy = vouched.healthy
    refusal = _refuse_health(vouched, required)
    if refusal is not None:
        return SwitchAnswer(refusal=refusal, healthy_green=healthy, required=required, scaled=green.growing)

    await write_notes(tx, step)
    epoch, now = await point_at(tx, locked, green)
    rollout.phase = RolloutPhase.BAKING
    rollout.phase_since = rollout.switched_at = now
    rollout.switch_epoch = epoch
    rollout.awaits_signal = None
    await write_event(
        tx,
        step.deployment,
        step.rollout,
        "switched",
        author=asker,
        evidence={"epoch": str(epoch), "healthy": str(healthy), "required": str(required)},
    )
    return SwitchAnswer(epoch=epoch, at=now, healthy_green=healthy, required=required)


async def _switch_back(
    tx: AsyncSession,
    locked: LockedDeployment,
    done: Rollout | None,
    step: SwitchStep,
    authority: Authority,
) -> SwitchAnswer:
    deployment = locked.row
    if done is not None and done.switch_back_epoch is not None:
        return SwitchAnswer(epoch=Epoch(done.switch_back_epoch), at=done.switched_back_at)
    try:
        rollout = owning(done, locked, step.rollout)
    except RefusedError as error:
        return SwitchAnswer(refusal=error.refusal)
    asker = read_pending(rollout, step) or await _judge(tx, locked, rollout, step, authority, _GOES_BACK)
    if isinstance(asker, Refusal):
        return SwitchAnswer(refusal=asker, message_refused=True)
    if deployment.live_set != step.green_set or rollout.green_set != step.green_set:
        return SwitchAnswer(refusal=_green_changed(deployment, step))
    if step.blue_set is None or rollout.blue_set != step.blue_set:
        return SwitchAnswer(
            refusal=Refusal(
                code=RefusalCode.NO_BLUE,
                message="there is no blue to go back to",
                next_step="start a rollout with the revision that should be live",
            ),
        )
    sets = {
        row.id: row
        for row in await tx.scalars(
            select(RouteSet)
            .where(RouteSet.id.in_([step.blue_set, step.green_set]))
            .order_by(RouteSet.id)
            .with_for_update()
            .execution_options(populate_existing=True),
        )
    }
    blue, green = sets[step.blue_set], sets[step.green_set]
    way_back = await read_way_back(tx, locked, rollout, blue, green)
    if way_back.refusal is not None:
        if step.keeps_asking and way_back.refusal.code is RefusalCode.NO_HEALTHY_BLUE:
            await _keep_pending(tx, rollout, step, asker, way_back)
        return SwitchAnswer(refusal=way_back.refusal)

    await write_notes(tx, step)
    blue.wanted = wanted_again(rollout, blue)
    blue.state = RouteSetState.OPEN
    blue.drain_since = blue.drain_epoch = blue.drain_deadline = None
    await cancel_scale_down(tx, locked, blue)
    epoch, now = await point_at(tx, locked, blue)
    rollout.phase = RolloutPhase.ROLLING_BACK
    rollout.phase_since = rollout.switched_back_at = now
    rollout.switch_back_epoch = epoch
    rollout.awaits_epoch = rollout.awaits_signal = rollout.pending_abort = None
    await write_event(
        tx,
        step.deployment,
        step.rollout,
        "switched_back",
        author=asker,
        evidence={"epoch": str(epoch)},
    )
    return SwitchAnswer(epoch=epoch, at=now)


async def _keep_pending(
    tx: AsyncSession,
    rollout: Rollout,
    step: SwitchStep,
    asker: Asker,
    way_back: WayBack,
) -> None:
    """Write down that an abort counts and that blue cannot take the traffic for the moment; the first one stays."""
    await write_notes(tx, step)
    if rollout.pending_abort is not None:
        return
    store_pending(rollout, step, asker)
    await write_event(
        tx,
        step.deployment,
        step.rollout,
        "abort_pending",
        author=asker,
        evidence={"healthy": str(way_back.healthy), "required": str(way_back.required), "of": str(way_back.wanted)},
    )


async def _judge(
    tx: AsyncSession,
    lock: DeploymentLock,
    rollout: Rollout,
    step: SwitchStep,
    authority: Authority,
    askers: _Askers,
) -> Asker | Refusal:
    """Return who asks, or why the message does not count."""
    message = step.message
    if message is None:
        if step.door in askers.doors:
            return Asker(by=step.by, door=step.door, reason=step.reason)
        return Refusal(
            code=RefusalCode.UNSIGNED,
            message=f"a decision by {step.door.value} comes with the message that asked for it, and none came",
            next_step="send the message again",
        )
    verdict = await judge_message(tx, lock, authority, rollout, message, run=step.run, asks=askers.messages)
    if isinstance(verdict, Refusal):
        return verdict
    command = message.command
    return Asker(
        by=command.by,
        door=verdict.door,
        reason=command.reason,
        verified=verdict.verified,
        issuer=verdict.issuer,
    )


def _not_by_itself(step: SwitchStep) -> Refusal:
    return Refusal(
        code=RefusalCode.FORBIDDEN,
        message=f"the policy of rollout {step.rollout} leaves the switch to a person",
        next_step=f"promote it with 'celadon promote {step.deployment}'",
    )


async def _lock_green(tx: AsyncSession, deployment: Deployment, rollout: Rollout, step: SwitchStep) -> RouteSet:
    """Return the green set, locked, when both colours are the ones that the promotion was about."""
    if deployment.frozen:
        raise RefusedError(
            Refusal(
                code=RefusalCode.FROZEN,
                message=f"deployment {step.deployment} is frozen",
                next_step="promote again when the freeze has ended",
            ),
        )
    if deployment.live_set != step.blue_set or rollout.blue_set != step.blue_set:
        raise RefusedError(
            Refusal(
                code=RefusalCode.BLUE_CHANGED,
                message=f"the live set is {deployment.live_set}, the rollout began with {step.blue_set}",
                next_step="abort this rollout and start a new one",
            ),
        )
    green: RouteSet | None = await tx.scalar(_locked_green, {"set": step.green_set, "deployment": step.deployment})
    if green is None or rollout.green_set != step.green_set or green.state is not RouteSetState.OPEN:
        raise RefusedError(_green_changed(deployment, step))
    if green.condition is SetCondition.FAILED:
        raise RefusedError(
            Refusal(
                code=RefusalCode.NO_HEALTHY_GREEN,
                message=f"green has failed: {green.last_error or 'its replicas could not be kept running'}",
                next_step="the rollout goes back by itself; start a new one when the cause is mended",
            ),
        )
    return green


def _green_changed(deployment: Deployment, step: SwitchStep) -> Refusal:
    return Refusal(
        code=RefusalCode.GREEN_CHANGED,
        message=f"set {step.green_set} is not the open green set of rollout {step.rollout} "
        f"(live is set {deployment.live_set})",
        next_step="look at it with 'celadon rollout status'",
    )


def _refuse_health(vouched: Vouched, required: int) -> Refusal | None:
    """Refuse health that nobody vouches for: no keeper lives, or the one that took over has not looked yet."""
    if required and vouched.fence is None:
        return Refusal(
            code=RefusalCode.KEEPER_SILENT,
            message="no living keeper vouches for the health of green",
            next_step="start a worker ('celadon worker') and promote again",
        )
    if vouched.healthy < required:
        return Refusal(
            code=RefusalCode.NO_HEALTHY_GREEN,
            message=f"too few healthy replicas of green: {vouched.healthy}, required are {required}",
            next_step="wait until they are healthy, or abort; force does not override health",
        )
    if vouched.confirmed < required:
        return Refusal(
            code=RefusalCode.KEEPER_SILENT,
            message=f"the keeper has seen {vouched.confirmed} healthy replicas of green since it took over, "
            f"required are {required}",
            next_step="promote again when it has probed them",
        )
    return None
