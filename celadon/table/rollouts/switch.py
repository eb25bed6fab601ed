"""The switch: the one transaction that points a deployment at green, and its way back."""

from typing import Final

from sqlalchemy import bindparam, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from celadon.domain.decisions.approvals import missing_approvals
from celadon.domain.decisions.authority import Authority
from celadon.domain.decisions.automatic_switch import switches_by_itself
from celadon.domain.decisions.curable import CURED_BY
from celadon.domain.decisions.freezing import freeze_told
from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import ABORT, PROMOTE, ROLLBACK
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.names import Epoch
from celadon.domain.language.policy import required_healthy
from celadon.domain.language.states import (
    Channel,
    RolloutPhase,
    RouteSetState,
    SetCondition,
)
from celadon.domain.language.steps import SwitchAnswer, SwitchStep
from celadon.table.core.approval_rows import read_approvals
from celadon.table.core.author import Asker
from celadon.table.core.epoch import point_at
from celadon.table.core.freeze_rows import freeze_of, of_deployment_or_all
from celadon.table.core.locks import DeploymentLock, LockedDeployment, lock_deployment, owning
from celadon.table.core.models import Deployment, FreezeRow, RefusedDecision, Rollout, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.rollouts.approvals import (
    approval_rule,
    count_approvals,
    record_approval,
    refuse_asker,
    settle_approvals,
)
from celadon.table.rollouts.audit import write_event, write_notes
from celadon.table.rollouts.freezes import bar_freezing_all
from celadon.table.rollouts.freezes import holds as freeze_holds
from celadon.table.rollouts.growth import grow, read_growth, refuse_growth, refuse_lost_growth, waits_for_room
from celadon.table.rollouts.judging import asker_of, judge_message
from celadon.table.rollouts.pending_aborts import keep_pending, read_pending
from celadon.table.rollouts.scale_down import cancel_scale_down
from celadon.table.rollouts.way_back import Vouched, WayBack, count_vouched_for, read_way_back, wanted_again
from celadon.table.rollouts.windows import refuse_closed

_holding: Final = aliased(
    FreezeRow,
    select(FreezeRow)
    .where(of_deployment_or_all(bindparam("deployment")), freeze_holds)
    # The strictest first: one that holds rollbacks too.
    .order_by(FreezeRow.rollbacks, FreezeRow.ends_at.desc().nulls_first())
    .limit(1)
    .subquery("holding"),
)
_asked: Final = (
    select(Rollout, RefusedDecision.answer, _holding)
    .outerjoin(
        RefusedDecision,
        (RefusedDecision.rollout == Rollout.id) & (RefusedDecision.decision == bindparam("decision")),
    )
    .outerjoin(_holding, true())
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
    """Point the deployment at green if every precondition still holds under its lock; else change nothing else.

    Where the policy asks for approvals, a promotion that counts is recorded as one, and the last of them switches. A
    green that was opened as a preview grows first, if there is room; the decision is kept until the switch.

    Preconditions: the message that it carries out counts, or the rollout's policy switches by itself; the rollout owns
    the deployment, no freeze holds, blue and green are the expected sets, a living keeper vouches for health, enough
    greens are healthy, the windows that bind whoever asks are open, and enough people have approved. Twice gives the
    same answer and one epoch: a decision that was refused, or recorded as an approval, is spent, so that an attempt
    which everybody has forgotten does not switch behind the rollout's back.

    Args:
        tx: the transaction.
        step: what the rollout asks for.
        authority: whom the installation believes.
        patient: whether the caller asks again when no keeper vouches for health; that is no answer yet.

    """
    await bar_freezing_all(tx)
    locked = await lock_deployment(tx, step.deployment)
    rollout, refused, freeze = await _read_asked(tx, locked, step)
    answer = refused or await _switch(tx, locked, rollout, step, authority, freeze)
    waits = patient and answer.refusal is not None and answer.refusal.code is RefusalCode.KEEPER_SILENT
    if not waits:
        if refused is None:
            if rollout is not None and step.grown and answer.refusal is not None:
                rollout.growth = None
            answer = await settle_approvals(tx, locked, rollout, answer)
        await _keep_refused(tx, step, answer)
    return answer


async def switch_back(tx: AsyncSession, step: SwitchStep, authority: Authority) -> SwitchAnswer:
    """Point the deployment at blue again while blue can take the traffic; else change nothing.

    One healthy replica of blue is enough when green is sick, and when blue drains: then it is refilled only once it is
    live again. While it bakes and green is healthy, blue must fulfil ``min_healthy``, which its keeper sees to.
    Twice gives the same answer, as for a switch.
    """
    locked = await lock_deployment(tx, step.deployment)
    rollout, refused, _ = await _read_asked(tx, locked, step)
    answer = refused or await _switch_back(tx, locked, rollout, step, authority)
    await _keep_refused(tx, step, answer)
    return answer


async def _read_asked(
    tx: AsyncSession, lock: DeploymentLock, step: SwitchStep
) -> tuple[Rollout | None, SwitchAnswer | None, Freeze | None]:
    """Return the rollout that asks, the refusal that this decision was answered with, and the freeze that holds."""
    keys = {"rollout": step.rollout, "deployment": lock.name, "decision": step.decision}
    row = (await tx.execute(_asked, keys)).one_or_none()
    if row is None:
        return None, None, None
    rollout, answer, freeze = row
    refused = None if answer is None else SwitchAnswer.model_validate(answer, strict=False)
    return rollout, refused, None if freeze is None else freeze_of(freeze)


async def _keep_refused(tx: AsyncSession, step: SwitchStep, answer: SwitchAnswer) -> None:
    """Write down that a decision did not switch; a rollout that has ended decides nothing more anyway."""
    has_switched = answer.refusal is None and not answer.recorded and answer.growth is None
    has_ended = answer.refusal is not None and answer.refusal.code is RefusalCode.NOT_OWNER
    if not step.decision or has_switched or has_ended:
        return
    is_new = await tx.scalar(
        insert(RefusedDecision)
        .values(rollout=step.rollout, decision=step.decision, answer=answer.model_dump(mode="json"))
        .on_conflict_do_nothing()
        .returning(RefusedDecision.rollout),
    )
    if is_new is None or answer.refusal is None or answer.message_refused:
        return
    # Closed windows end by themselves; what a hold that was there before waits for stays asked for.
    if answer.refusal.code is not RefusalCode.WINDOW_CLOSED:
        await _ask_for_signal(tx, step, answer.refusal)


async def _ask_for_signal(tx: AsyncSession, step: SwitchStep, refusal: Refusal) -> None:
    """Let the rollout be told when a step that was refused for the moment is worth another attempt."""
    rollout = await tx.get(Rollout, step.rollout)
    if rollout is not None and rollout.outcome is None:
        # Every rollout before its switch is told of freezes, whether it asks or not.
        rollout.awaits_signal = None if refusal.code is RefusalCode.FROZEN else CURED_BY.get(refusal.code)
        if refusal.code is not RefusalCode.NO_HEALTHY_BLUE:
            rollout.pending_abort = None
        await tx.flush()


async def _switch(
    tx: AsyncSession,
    locked: LockedDeployment,
    done: Rollout | None,
    step: SwitchStep,
    authority: Authority,
    freeze: Freeze | None,
) -> SwitchAnswer:
    deployment = locked.row
    if done is not None and done.switch_epoch is not None and done.green_set == step.green_set:
        return SwitchAnswer(epoch=Epoch(done.switch_epoch), at=done.switched_at)
    try:
        rollout = owning(done, locked, step.rollout)
    except RefusedError as error:
        return SwitchAnswer(refusal=error.refusal)
    asker = await _find_asker(tx, locked, rollout, step, authority)
    if isinstance(asker, SwitchAnswer):
        return asker
    if freeze is not None and not (freeze.rollbacks and _rolls_back_ungated(rollout)):
        return SwitchAnswer(refusal=_frozen(step, freeze))
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
    stayed = await _stay(tx, locked, rollout, green, step, asker)
    if stayed is not None:
        return stayed.model_copy(update={"healthy_green": healthy, "required": required})

    await write_notes(tx, step)
    rollout.growth, green.preview = None, False
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


async def _find_asker(
    tx: AsyncSession, locked: LockedDeployment, rollout: Rollout, step: SwitchStep, authority: Authority
) -> Asker | SwitchAnswer:
    """Return who asks for the switch, which for a green that has grown is who has decided before, or the refusal."""
    if step.grown:
        return read_growth(rollout) or SwitchAnswer(refusal=refuse_lost_growth(step))
    asker = await _judge_promotion(tx, locked, rollout, step, authority)
    if isinstance(asker, Refusal):
        return SwitchAnswer(refusal=asker, message_refused=True)
    if step.message is None and not switches_by_itself(read_policy(rollout.policy), gated=rollout.gated):
        return SwitchAnswer(refusal=_not_by_itself(step))
    return asker


async def _stay(
    tx: AsyncSession, locked: LockedDeployment, rollout: Rollout, green: RouteSet, step: SwitchStep, asker: Asker
) -> SwitchAnswer | None:
    """Return why a healthy green is not switched to yet: windows, room, approvals, or that it grows first."""
    # With growth the decision's moment counts, and the windows were open then.
    closed = None if step.grown else await refuse_closed(tx, locked, rollout, step, asker)
    if closed is not None:
        return closed
    lacking, no_room = await refuse_growth(tx, locked, rollout, green)
    if no_room is not None and not waits_for_room(rollout):
        return SwitchAnswer(refusal=no_room)
    unapproved = await _ask_for_approvals(tx, locked, rollout, step, asker)
    if unapproved is not None:
        return unapproved
    return await grow(tx, locked, rollout, green, step, asker, no_room=no_room) if lacking > 0 else None


async def _ask_for_approvals(
    tx: AsyncSession,
    locked: LockedDeployment,
    rollout: Rollout,
    step: SwitchStep,
    asker: Asker,
) -> SwitchAnswer | None:
    """Return why nothing is switched yet, or ``None`` when enough people have approved or no one has to.

    A promotion is recorded as an approval, the last of them too. It stands behind all other preconditions: one that is
    refused by them is not counted.
    """
    rule = approval_rule(rollout)
    if rule is None:
        return None
    if step.grown:
        # They were given to a green that waited; now it grows, which is no matter of force.
        approvals = await read_approvals(tx, rollout)
        missing = len(approvals) < rule.count
        return SwitchAnswer(refusal=missing_approvals(rule, locked.name, approvals)) if missing else None
    if step.message is None:
        approvals = await count_approvals(tx, locked, rollout)
        if len(approvals) < rule.count:
            return SwitchAnswer(refusal=missing_approvals(rule, locked.name, approvals))
        return None
    await write_notes(tx, step)
    approvals = await record_approval(tx, locked, rollout, asker, step.message)
    return SwitchAnswer(recorded=True) if len(approvals) < rule.count else None


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
            crowded = await _keep_pending(tx, rollout, step, asker, way_back)
            if crowded is not None:
                return SwitchAnswer(refusal=crowded, message_refused=True)
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
) -> Refusal | None:
    """Write down that an abort counts and that blue cannot take the traffic for the moment; the first is told of."""
    is_first = rollout.pending_abort is None
    crowded = keep_pending(rollout, step, asker)
    if crowded is not None:
        return crowded
    await write_notes(tx, step)
    if not is_first:
        return None
    await write_event(
        tx,
        step.deployment,
        step.rollout,
        "abort_pending",
        author=asker,
        evidence={"healthy": str(way_back.healthy), "required": str(way_back.required), "of": str(way_back.wanted)},
    )
    return None


async def _judge_promotion(
    tx: AsyncSession,
    lock: DeploymentLock,
    rollout: Rollout,
    step: SwitchStep,
    authority: Authority,
) -> Asker | Refusal:
    """Return who asks for the switch, or why the message does not count, which may be that it is no approval."""
    asker = await _judge(tx, lock, rollout, step, authority, _SWITCHES)
    if isinstance(asker, Refusal) or step.message is None:
        return asker
    return refuse_asker(rollout, asker) or asker


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
    return asker_of(verdict, by=message.command.by, reason=message.command.reason)


def _rolls_back_ungated(rollout: Rollout) -> bool:
    """Whether a rollout is a rollback inside its window, which ``begin`` has judged: it passes most freezes."""
    return rollout.rollback_window is not None and not rollout.gated


def _frozen(step: SwitchStep, freeze: Freeze) -> Refusal:
    return Refusal(
        code=RefusalCode.FROZEN,
        message=freeze_told(freeze, step.deployment),
        next_step="promote again when the freeze has ended",
    )


def _not_by_itself(step: SwitchStep) -> Refusal:
    return Refusal(
        code=RefusalCode.FORBIDDEN,
        message=f"the policy of rollout {step.rollout} leaves the switch to a person",
        next_step=f"promote it with 'celadon promote {step.deployment}'",
    )


async def _lock_green(tx: AsyncSession, deployment: Deployment, rollout: Rollout, step: SwitchStep) -> RouteSet:
    """Return the green set, locked, when both colours are the ones that the promotion was about."""
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
