"""Opening and closing a rollout's sets."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority
from celadon.domain.decisions.preview import opens_as_preview
from celadon.domain.language.contracts import ABORT, FINISH, PAUSE, RESCHEDULE, RESUME, ROLLBACK, ROOM_CHANGED, WITHDRAW
from celadon.domain.language.errors import Refusal, RefusalCode, refuse
from celadon.domain.language.freeze import FreezesRead
from celadon.domain.language.names import RouteSetId
from celadon.domain.language.router_names import first_routers, told_routers
from celadon.domain.language.states import RolloutPhase, RouteSetState, SetCondition
from celadon.domain.language.steps import (
    AskedForEdge,
    CloseStep,
    DrainEnd,
    FreezesStep,
    GreenOpened,
    Judged,
    JudgeStep,
    PhaseStep,
    Step,
)
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.approval_rows import read_approvals
from celadon.table.core.epoch import raise_epoch_now, wake_up
from celadon.table.core.locks import lock_deployment, own_rollout
from celadon.table.core.models import Rollout, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.rollouts.admission import find_room, size_at_opening
from celadon.table.rollouts.approvals import (
    approval_rule,
    spend_approvals,
    takes_approvals,
    withdraw_approval,
)
from celadon.table.rollouts.audit import write_event, write_notes
from celadon.table.rollouts.freezes import read_freezes
from celadon.table.rollouts.growth import told_growth
from celadon.table.rollouts.judging import judge_message
from celadon.table.rollouts.pauses import keep_pause, read_pause
from celadon.table.rollouts.pending_aborts import give_up_pending, pending_asker, withdraw_pending
from celadon.table.rollouts.timers import counted_in_run, reschedule

_JUDGED: Final = frozenset({ABORT, ROLLBACK, FINISH, WITHDRAW, PAUSE, RESUME, RESCHEDULE})


async def open_green(tx: AsyncSession, step: Step) -> GreenOpened:
    """Open the rollout's green set; the keeper fills it. A second attempt finds the first one's set.

    Where there is no room for it, the rollout is told of room as soon as there is some.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    size = size_at_opening(rollout)
    no_room = None if rollout.green_set is not None else await find_room(tx, locked, rollout, size)
    if no_room is not None:
        rollout.awaits_signal = ROOM_CHANGED
        return GreenOpened(wanted=size, no_room=no_room.message)
    created = await tx.scalar(
        insert(RouteSet)
        .values(
            deployment=step.deployment,
            revision=rollout.to_revision,
            rollout=step.rollout,
            wanted=size,
            preview=opens_as_preview(read_policy(rollout.policy), gated=rollout.gated),
            state=RouteSetState.OPEN,
            condition=SetCondition.STARTING,
        )
        .on_conflict_do_nothing(index_elements=["rollout"])
        .returning(RouteSet.id),
    )
    row = (await tx.execute(select(RouteSet.id, RouteSet.wanted).where(RouteSet.rollout == step.rollout))).one()
    if created is not None:
        rollout.green_set = created
        rollout.awaits_signal = None
        await tx.execute(wake_up(step.deployment, locked.row.epoch))
        await write_event(tx, step.deployment, step.rollout, "green_opened", evidence={"replicas": str(row.wanted)})
    return GreenOpened(route_set=RouteSetId(row.id), wanted=row.wanted)


async def enter_phase(tx: AsyncSession, step: PhaseStep) -> FreezesRead | None:
    """Write down the phase that a rollout is in; approvals of a green that has regressed are spent.

    Returns:
        Freezes for a rollout that awaits its promotion; also that there is none, since the one by which its switch was
        refused may have ended meanwhile.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    # Another attempt finds the phase as the first has left it, and spends nothing that was given since.
    if step.spends_approvals and step.at > rollout.phase_since:
        await spend_approvals(tx, locked, rollout, "green regressed")
    rollout.phase, rollout.phase_since = step.phase, step.at
    if step.phase is not RolloutPhase.AWAITING_PROMOTION:
        return None
    return await read_freezes(tx, step.deployment, step.freezes_since)


async def read_own_freezes(tx: AsyncSession, step: FreezesStep) -> FreezesRead:
    """Return the freezes of the rollout's deployment that it does not know yet.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    return await read_freezes(tx, step.deployment, step.since)


async def judge(tx: AsyncSession, step: JudgeStep, authority: Authority) -> Judged:
    """Judge messages that lead to no step of their own.

    With the first abort that counts, before the switch, the rollout is rolling back. With a ``finish`` no abort is
    pending any more. With a ``withdraw`` the sender's own abort is not, or before the switch the sender's approval is
    gone.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    counted = await counted_in_run(tx, locked, step)
    verdicts = [
        await judge_message(tx, locked, authority, rollout, message, run=step.run, asks=_JUDGED)
        for message in step.messages
    ]
    refusals: list[Refusal | None] = []
    for message, verdict in zip(step.messages, verdicts, strict=True):
        refusal = verdict if isinstance(verdict, Refusal) else None
        if not isinstance(verdict, Refusal) and message.verb == WITHDRAW:
            refusal = (
                await withdraw_approval(tx, locked, rollout, message, verdict)
                if takes_approvals(rollout)
                else withdraw_pending(rollout, message, verdict)
            )
        if not isinstance(verdict, Refusal) and message.verb == RESCHEDULE and message.request_id not in counted:
            refusal = await reschedule(tx, rollout, message, verdict)
        refusals.append(refusal)
        if refusal is not None:
            continue
        if message.verb in {PAUSE, RESUME} and not isinstance(verdict, Refusal):
            await keep_pause(tx, rollout, message, verdict)
        if message.verb == FINISH:
            give_up_pending(rollout)
        elif message.verb in {ABORT, ROLLBACK} and rollout.switch_epoch is None:
            rollout.phase, rollout.phase_since = RolloutPhase.ROLLING_BACK, step.at
    asks_for_approvals = approval_rule(rollout) is not None
    asked_for_timers = any(message.verb == RESCHEDULE for message in step.messages)
    return Judged(
        refusals=tuple(refusals),
        approvals=await read_approvals(tx, rollout) if asks_for_approvals else None,
        policy=read_policy(rollout.policy) if asked_for_timers else None,
        pending=pending_asker(rollout),
    )


async def ask_for_edge(tx: AsyncSession, step: Step) -> AskedForEdge:
    """Let the keeper tell green's condition anew, although it may not have changed.

    A run that was reset may also have forgotten that somebody gave the rollout other timers, or paused it: the answer
    tells.

    A refused switch left the rollout believing something else than the table; without a new edge it would wait for
    ever.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    await tx.execute(
        update(RouteSet)
        .where(RouteSet.id == rollout.green_set, RouteSet.condition == SetCondition.READY)
        .values(condition=SetCondition.RUNNING),
    )
    await tx.execute(wake_up(step.deployment, locked.row.epoch))
    return AskedForEdge(
        policy=read_policy(rollout.policy),
        growth=told_growth(rollout),
        paused=await read_pause(tx, rollout.id),
        green_lost_since=await tx.scalar(select(RouteSet.lost_since).where(RouteSet.id == rollout.green_set)),
    )


async def close_set(tx: AsyncSession, step: CloseStep) -> DrainEnd | None:
    """Let a set drain: it gets no new request, and each replica stops when its running requests are zero.

    Returns:
        Nothing when the set drains now (or did already); why not, when live routers have not acknowledged yet or the
        set is live again.

    Raises:
        RefusedError: the rollout no longer owns its deployment, or the set is not one of its own.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    if step.route_set not in {rollout.blue_set, rollout.green_set}:
        raise refuse(
            RefusalCode.NOT_OWNER,
            f"set {step.route_set} belongs to neither colour of rollout {step.rollout}",
        )
    if locked.row.live_set == step.route_set:
        return DrainEnd(reopened=True)
    row = await tx.scalar(select(RouteSet).where(RouteSet.id == step.route_set).with_for_update())
    if row is None or row.state is not RouteSetState.OPEN:
        return None
    if rollout.pending_abort is not None and step.route_set == rollout.blue_set:
        return DrainEnd(refusal=_wanted_back(rollout))
    if step.needs_acknowledgement is not None:
        acknowledgement = await read_acknowledgement(tx, step.deployment, step.needs_acknowledgement)
        if acknowledgement.silent:
            rollout.awaits_epoch = step.needs_acknowledgement
            silent = told_routers(acknowledgement.silent)
            return DrainEnd(
                silent=first_routers(acknowledgement.silent),
                silent_count=len(acknowledgement.silent),
                refusal=Refusal(
                    code=RefusalCode.ROUTERS_SILENT,
                    message=f"routers have not acknowledged epoch {step.needs_acknowledgement}: {silent}",
                    next_step="bring them back, or 'celadon router forget NODE' for one that is gone for good",
                ),
            )
    if rollout.growth is not None and step.route_set == rollout.green_set:
        rollout.growth = None
        await spend_approvals(tx, locked, rollout, "green did not grow to its full size")
    rollout.phase, rollout.phase_since = step.phase, step.at
    epoch, now = await raise_epoch_now(tx, step.deployment)
    await drain_set(tx, row, epoch, now, timedelta(seconds=step.timeout_seconds))
    await write_event(tx, step.deployment, step.rollout, "draining", evidence={"route_set": str(step.route_set)})
    return None


def _wanted_back(rollout: Rollout) -> Refusal:
    return Refusal(
        code=RefusalCode.ABORT_REQUESTED,
        message=f"an abort of rollout {rollout.id} is pending, so blue is kept",
        next_step="it goes back as soon as blue can take the traffic",
    )


async def drain_set(tx: AsyncSession, row: RouteSet, epoch: int, now: datetime, within: timedelta) -> None:
    """Set a set to draining, from ``now`` by the database's clock."""
    row.state = RouteSetState.DRAINING
    row.drain_since, row.drain_epoch, row.drain_deadline = now, epoch, now + within
    await tx.flush()


async def read_drain(tx: AsyncSession, step: CloseStep) -> DrainEnd | None:
    """Return how a drain ended; nothing while it lasts."""
    row = (
        await tx.execute(
            select(RouteSet.state, RouteSet.requests_cut).where(
                RouteSet.id == step.route_set,
                RouteSet.deployment == step.deployment,
            ),
        )
    ).one()
    match row.state:
        case RouteSetState.GONE:
            return DrainEnd(requests_cut=row.requests_cut)
        case RouteSetState.OPEN:
            return DrainEnd(reopened=True)
        case _:
            return None


async def count_cut(tx: AsyncSession, rollout: Rollout) -> int:
    """Return the requests that ended because their replica did, over both colours of a rollout."""
    sets = [one for one in (rollout.blue_set, rollout.green_set) if one is not None]
    total = await tx.scalar(select(func.coalesce(func.sum(RouteSet.requests_cut), 0)).where(RouteSet.id.in_(sets)))
    return int(total or 0)
