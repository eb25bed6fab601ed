"""The one place behind the rollout of a deployment that is under way: who takes it, and when it is whose turn.

Everything here happens under the deployment's lock, so that of two newer requests one takes the other's place, and what
waits begins once.
"""

from typing import Self

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Authority
from celadon.domain.decisions.successors import (
    held_by,
    nothing_waits,
    replaces_now,
    waits_for_retry,
    what_it_waits_for,
)
from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import SUCCESSOR_WAITS
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.next_rollout import NextRollout, Successor, SuccessorRead, SuccessorWaits, WaitingRollout
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import OnNewRevision
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase
from celadon.domain.language.steps import Step
from celadon.table.core.author import Asker, Author
from celadon.table.core.clock import database_now
from celadon.table.core.epoch import wake_up
from celadon.table.core.listen import NEXT_CHANNEL, notification
from celadon.table.core.locks import DeploymentLock, lock_deployment, own_rollout
from celadon.table.core.models import NextRolloutRow, Rollout
from celadon.table.core.owed_signals import owe_signal
from celadon.table.rollouts.audit import write_event, write_notes

WAITS = "successor_waits"
REPLACED = "successor_replaced"
HELD = "successor_held"
DROPPED = "successor_dropped"
RETRIED = "successor_retried"
"""How the audit log calls what becomes of what waits."""


class AskedStart(Record):
    """What somebody asked for, as it was judged then."""

    request: RolloutRequest
    """The revision by its number."""
    door: Channel | None
    verified: bool
    issuer: str
    rights: tuple[Verb, ...]
    """What whoever asked was allowed to do; of one whom nobody vouches for, what the installation allows counts."""

    @classmethod
    def of_stored(cls, stored: object) -> Self:
        """Read what the table keeps."""
        return cls.model_validate(stored, strict=False)

    def stored(self) -> dict[str, object]:
        """Return what the table keeps: of the request what was given alone."""
        request = self.request.model_dump(mode="json", exclude_unset=True)
        return self.model_dump(mode="json", exclude={"request"}) | {"request": request}

    @classmethod
    def of(
        cls,
        request: RolloutRequest,
        number: RevisionNumber,
        asker: Asker,
        rights: frozenset[Verb],
    ) -> Self:
        """Return what is kept of a request whose revision has this number."""
        return cls(
            request=request.model_copy(update={"revision": number}),
            door=asker.door,
            verified=asker.verified,
            issuer=asker.issuer,
            rights=tuple(sorted(rights)),
        )


class Wanted(Record):
    """What is to wait for its turn."""

    asked: AskedStart
    mode: OnNewRevision
    """Whether it ends the rollout under way, or waits for its end."""
    request_id: str
    """A repeat with the same one finds it; empty for none."""


class Placed(Record):
    """The answer to a request that waits for its turn."""

    waiting: WaitingRollout
    replaced: WaitingRollout | None
    """What waited before, and waits no more."""


async def waiting_row(tx: AsyncSession, deployment: str) -> NextRolloutRow | None:
    """Return what waits behind the rollouts of a deployment; ``None`` when nothing does."""
    row: NextRolloutRow | None = await tx.scalar(
        select(NextRolloutRow).where(NextRolloutRow.deployment == deployment).execution_options(populate_existing=True),
    )
    return row


async def read_waiting(tx: AsyncSession, deployment: str) -> WaitingRollout | None:
    """Return the same as everybody is shown it."""
    row = await waiting_row(tx, deployment)
    if row is None:
        return None
    phase = await tx.scalar(
        select(Rollout.phase).where(Rollout.deployment == deployment, Rollout.outcome.is_(None)),
    )
    return shown(row, phase)


def shown(row: NextRolloutRow, under_way: RolloutPhase | None) -> WaitingRollout:
    """Return what waits as everybody is shown it; ``under_way`` is the phase of the rollout under way, if one is."""
    mode, after = OnNewRevision(row.mode), None if row.after is None else RolloutId(row.after)
    asked = AskedStart.of_stored(row.asked)
    return WaitingRollout(
        id=row.id,
        revision=RevisionNumber(row.revision),
        replicas=asked.request.replicas,
        mode=mode,
        requested_by=row.requested_by,
        verified=row.verified,
        reason=row.reason,
        since=row.created_at,
        after=after,
        held=row.held,
        waits_for=what_it_waits_for(row.deployment, mode, after, row.held, under_way=under_way),
    )


async def place(tx: AsyncSession, lock: DeploymentLock, under_way: Rollout, wanted: Wanted, author: Author) -> Placed:
    """Let a rollout wait for its turn; what waited before waits no more, and both are told.

    Args:
        tx: the transaction, in which every rule of its begin was asked.
        lock: the deployment's lock.
        under_way: the rollout that has not ended.
        wanted: what is to wait.
        author: who asks.

    """
    asked, mode = wanted.asked, wanted.mode
    before = await waiting_row(tx, lock.name)
    replaced = None if before is None else shown(before, under_way.phase)
    if before is not None:
        await tx.delete(before)
        await tx.flush()
    row = NextRolloutRow(
        deployment=lock.name,
        revision=asked.request.revision,
        mode=mode.value,
        asked=asked.stored(),
        requested_by=author.by,
        issuer=author.issuer,
        verified=author.verified,
        reason=author.reason,
        request_id=wanted.request_id,
        after=under_way.id,
    )
    tx.add(row)
    await tx.flush()
    await tx.refresh(row)
    if replaced is not None:
        await _tell_replaced(tx, lock.name, under_way.id, replaced, author, f"number {row.id}, {author.by}")
    evidence = {"next": str(row.id), "revision": f"r{row.revision}", "mode": mode.value}
    await write_event(tx, lock.name, under_way.id, WAITS, author=author, evidence=evidence)
    await _tell_rollout(tx, lock.name, under_way, row.id)
    return Placed(waiting=shown(row, under_way.phase), replaced=replaced)


async def take_place_of(tx: AsyncSession, row: NextRolloutRow, rollout: Rollout, asker: Asker) -> None:
    """Let a rollout that begins take the place of what waits, which is told."""
    replaced = shown(row, None)
    await tx.delete(row)
    await tx.flush()
    await _tell_replaced(tx, row.deployment, rollout.id, replaced, asker, f"rollout {rollout.id}")


async def hold(tx: AsyncSession, row: NextRolloutRow, rollout: int | None, why: str) -> None:
    """Let what waits start no more by itself, until somebody retries it."""
    if row.held:
        return
    row.held, row.due_at = why, None
    await tx.flush()
    evidence = {"next": str(row.id), "revision": f"r{row.revision}", "requested_by": row.requested_by}
    await write_event(tx, row.deployment, rollout, HELD, actor="celadon", reason=why, evidence=evidence)


class HeldError(RefusedError):
    """What waits is not begun, because it is held."""

    def __init__(self, deployment: str, held: str) -> None:
        """Carry in ``held`` why it is held; the refusal says it too."""
        super().__init__(waits_for_retry(deployment, held))
        self.held = held


async def hold_refused(tx: AsyncSession, request: NextRollout, error: RefusedError) -> None:
    """Hold what could not begin, so that nobody starts it again and again.

    A begin that ends the rollout before it holds it and is refused for that, in a transaction that comes to nothing.
    """
    lock = await lock_deployment(tx, request.deployment)
    row = await waiting_row(tx, lock.name)
    if row is not None and row.id == request.next:
        await hold(tx, row, row.after, error.held if isinstance(error, HeldError) else str(error))


async def release(
    tx: AsyncSession, lock: DeploymentLock, rollout: Rollout, outcome: RolloutOutcome, reason: str
) -> None:
    """Let what waited for a rollout start, or hold it when the rollout did not end well."""
    row = await waiting_row(tx, lock.name)
    if row is None or row.held:
        return
    why = held_by(RolloutId(rollout.id), outcome, reason)
    if why:
        await hold(tx, row, rollout.id, why)
    else:
        await _let_start(tx, row)


async def let_start(tx: AsyncSession, lock: DeploymentLock, author: Author, *, under_way: int | None) -> NextRolloutRow:
    """Let what was held start: at once, or at the end of the rollout that is under way.

    It waits under a new number: a workflow that was refused under the former one has ended, so an attempt of its begin
    that a worker has held back must not take the turn.

    Raises:
        RefusedError: nothing waits.

    """
    row = await waiting_row(tx, lock.name)
    if row is None:
        raise RefusedError(nothing_waits(lock.name))
    was_held, row.held = row.held, ""
    if was_held:
        row = await _number_anew(tx, row)
    if under_way is None:
        await _let_start(tx, row)
    else:
        row.after = under_way
    if was_held:
        await write_event(tx, lock.name, under_way, RETRIED, author=author, evidence={"next": str(row.id)})
    await tx.flush()
    return row


async def drop(tx: AsyncSession, lock: DeploymentLock, author: Asker) -> WaitingRollout | None:
    """Let nothing wait any more; return what waited, or ``None`` when nothing did."""
    row = await waiting_row(tx, lock.name)
    if row is None:
        return None
    under_way: Rollout | None = await tx.scalar(
        select(Rollout).where(Rollout.deployment == lock.name, Rollout.outcome.is_(None)),
    )
    dropped = shown(row, None if under_way is None else under_way.phase)
    await tx.delete(row)
    await tx.flush()
    evidence = {"next": str(row.id), "revision": f"r{row.revision}", "requested_by": row.requested_by}
    rollout = None if under_way is None else under_way.id
    await write_event(tx, lock.name, rollout, DROPPED, author=author, evidence=evidence)
    if under_way is not None:
        await _tell_rollout(tx, lock.name, under_way, row.id)
    return dropped


async def read_successor(tx: AsyncSession, step: Step, authority: Authority) -> SuccessorRead:
    """Return what waits behind a rollout, and whether the rollout ends for it in its present phase.

    Raises:
        RefusedError: the rollout no longer owns its deployment.

    """
    lock = await lock_deployment(tx, step.deployment)
    rollout = await own_rollout(tx, lock, step.rollout)
    await write_notes(tx, step)
    row = await waiting_row(tx, lock.name)
    if row is None or row.held:
        return SuccessorRead()
    asked = AskedStart.of_stored(row.asked)
    rights = frozenset(asked.rights) if asked.verified else authority.unsigned_rights
    return SuccessorRead(
        successor=Successor(
            id=row.id,
            revision=RevisionNumber(row.revision),
            by=row.requested_by,
            replaces=replaces_now(OnNewRevision(row.mode), rollout.phase, rights, verified=asked.verified),
        )
    )


async def _number_anew(tx: AsyncSession, row: NextRolloutRow) -> NextRolloutRow:
    """Return a row that says the same under a number that nobody has been told."""
    same = {name: getattr(row, name) for name in NextRolloutRow.__mapper__.columns.keys() if name != "id"}  # noqa: SIM118
    await tx.delete(row)
    await tx.flush()
    anew = NextRolloutRow(**same)
    tx.add(anew)
    await tx.flush()
    return anew


async def _let_start(tx: AsyncSession, row: NextRolloutRow) -> None:
    row.due_at = await database_now(tx)
    await tx.flush()
    await tx.execute(notification(NEXT_CHANNEL, row.deployment))


async def _tell_replaced(
    tx: AsyncSession, deployment: str, rollout: int, replaced: WaitingRollout, by: Asker, place: str
) -> None:
    evidence = {
        "next": str(replaced.id),
        "revision": f"r{replaced.revision}",
        "requested_by": replaced.requested_by,
        "replaced_by": place,
    }
    await write_event(tx, deployment, rollout, REPLACED, author=by, evidence=evidence)


async def _tell_rollout(tx: AsyncSession, deployment: str, under_way: Rollout, number: int) -> None:
    """Owe the rollout under way the news; the keeper tells it."""
    news = SuccessorWaits(rollout=RolloutId(under_way.id), id=number)
    await owe_signal(tx, under_way.workflow_id, SUCCESSOR_WAITS, news)
    await tx.execute(wake_up(deployment, 0, owes=True))
