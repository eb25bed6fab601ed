"""Opening and closing a rollout's sets."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority
from celadon.domain.language.contracts import ABORT, FINISH, PAUSE, RESUME, ROLLBACK, WITHDRAW
from celadon.domain.language.errors import Refusal, RefusalCode, refuse
from celadon.domain.language.names import RouteSetId
from celadon.domain.language.states import RolloutPhase, RouteSetState, SetCondition
from celadon.domain.language.steps import CloseStep, DrainEnd, GreenOpened, Judged, JudgeStep, PhaseStep, Step
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.epoch import raise_epoch_now, wake_up
from celadon.table.core.locks import lock_deployment, own_rollout
from celadon.table.core.models import Rollout, RouteSet
from celadon.table.rollouts.audit import write_event, write_notes
from celadon.table.rollouts.judging import judge_message
from celadon.table.rollouts.pending_aborts import give_up_pending, refuse_withdrawal

_JUDGED: Final = frozenset({ABORT, ROLLBACK, FINISH, WITHDRAW, PAUSE, RESUME})


async def open_green(tx: AsyncSession, step: Step) -> GreenOpened:
    """Open the rollout's green set; the keeper fills it. A second attempt finds the first one's set.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    created = await tx.scalar(
        insert(RouteSet)
        .values(
            deployment=step.deployment,
            revision=rollout.to_revision,
            rollout=step.rollout,
            wanted=rollout.replicas if rollout.scaled_to is None else rollout.scaled_to,
            state=RouteSetState.OPEN,
            condition=SetCondition.STARTING,
        )
        .on_conflict_do_nothing(index_elements=["rollout"])
        .returning(RouteSet.id),
    )
    row = (await tx.execute(select(RouteSet.id, RouteSet.wanted).where(RouteSet.rollout == step.rollout))).one()
    if created is not None:
        rollout.green_set = created
        await tx.execute(wake_up(step.deployment, locked.row.epoch))
        await write_event(tx, step.deployment, step.rollout, "green_opened", evidence={"replicas": str(row.wanted)})
    return GreenOpened(route_set=RouteSetId(row.id), wanted=row.wanted)


async def enter_phase(tx: AsyncSession, step: PhaseStep) -> None:
    """Write down the phase that a rollout is in.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    rollout.phase, rollout.phase_since = step.phase, step.at


async def judge(tx: AsyncSession, step: JudgeStep, authority: Authority) -> Judged:
    """Judge messages that lead to no step of their own.

    With the first abort that counts, before the switch, the rollout is rolling back. With a ``finish`` or a
    ``withdraw`` that counts, no abort is pending any more.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    locked = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, locked, step.rollout)
    await write_notes(tx, step)
    verdicts = [
        await judge_message(tx, locked, authority, rollout, message, run=step.run, asks=_JUDGED)
        for message in step.messages
    ]
    refusals: list[Refusal | None] = []
    for message, verdict in zip(step.messages, verdicts, strict=True):
        refusal = verdict if isinstance(verdict, Refusal) else None
        if not isinstance(verdict, Refusal) and message.verb == WITHDRAW:
            refusal = refuse_withdrawal(rollout, message, verdict)
        refusals.append(refusal)
        if refusal is not None:
            continue
        if message.verb in {FINISH, WITHDRAW}:
            give_up_pending(rollout)
        elif message.verb in {ABORT, ROLLBACK} and rollout.switch_epoch is None:
            rollout.phase, rollout.phase_since = RolloutPhase.ROLLING_BACK, step.at
    return Judged(refusals=tuple(refusals))


async def ask_for_edge(tx: AsyncSession, step: Step) -> None:
    """Let the keeper tell green's condition anew, although it may not have changed.

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
            silent = ", ".join(acknowledgement.silent)
            return DrainEnd(
                silent=acknowledgement.silent,
                refusal=Refusal(
                    code=RefusalCode.ROUTERS_SILENT,
                    message=f"routers have not acknowledged epoch {step.needs_acknowledgement}: {silent}",
                    next_step="bring them back, or 'celadon router forget NODE' for one that is gone for good",
                ),
            )
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
