"""Growth: a green that was opened as a preview gets all its replicas, once its switch is decided.

Who decided is kept in the rollout's row, as it was judged then. The switch that follows carries no message: to judge
it anew would end the decision with the message's ``valid_until``, and refuse it as spent.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.contracts import ROOM_CHANGED
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.growth import Growth
from celadon.domain.language.policy import OnNoRoom
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import SwitchAnswer, SwitchStep
from celadon.table.core.author import Asker
from celadon.table.core.clock import database_now
from celadon.table.core.epoch import raise_epoch, wake_up
from celadon.table.core.locks import LockedDeployment
from celadon.table.core.models import Rollout, RouteSet
from celadon.table.core.policies import read_policy
from celadon.table.rollouts.admission import find_room, wanted_at_last
from celadon.table.rollouts.audit import write_event, write_notes
from celadon.table.rollouts.condition import tell_rollout
from celadon.table.rollouts.scale_down import cancel_scale_down


class StoredGrowth(Asker):
    """Who has decided, with what the rollout is told of it."""

    at: datetime
    wanted: int
    seq: int = 0
    no_room: str = ""


def read_growth(rollout: Rollout) -> StoredGrowth | None:
    """Return the decision by which green grows, or ``None`` when none waits."""
    return None if rollout.growth is None else StoredGrowth.model_validate(rollout.growth, strict=False)


def told_growth(rollout: Rollout) -> Growth | None:
    """Return that decision as the rollout is told of it."""
    stored = read_growth(rollout)
    if stored is None:
        return None
    return Growth(
        by=stored.by,
        door=stored.door or Channel.POLICY,
        reason=stored.reason,
        at=stored.at,
        wanted=stored.wanted,
        seq=stored.seq,
        no_room=stored.no_room,
    )


def refuse_lost_growth(step: SwitchStep) -> Refusal:
    """Return the refusal of a step that carries out a decision which counts no more."""
    return Refusal(
        code=RefusalCode.NOT_AWAITING_PROMOTION,
        message=f"the decision by which green of rollout {step.rollout} was to grow counts no more",
        next_step="promote again when it waits for a promotion",
    )


async def refuse_growth(
    tx: AsyncSession, locked: LockedDeployment, rollout: Rollout, green: RouteSet
) -> tuple[int, Refusal | None]:
    """Return how many replicas green lacks for the switch, and why there is no room for them now."""
    more = wanted_at_last(rollout) - green.wanted if green.preview else 0
    return more, await find_room(tx, locked, rollout, more)


def waits_for_room(rollout: Rollout) -> bool:
    """Whether a decision waits for room instead of being refused."""
    return rollout.growth is not None or read_policy(rollout.policy).on_no_room is OnNoRoom.WAIT


async def grow(  # noqa: PLR0913 - the sets under their locks, who decided and what room there is
    tx: AsyncSession,
    locked: LockedDeployment,
    rollout: Rollout,
    green: RouteSet,
    step: SwitchStep,
    asker: Asker,
    *,
    no_room: Refusal | None,
) -> SwitchAnswer:
    """Let green grow to all its replicas, or wait for room, and keep the decision until the switch."""
    await write_notes(tx, step)
    known = read_growth(rollout) if step.grown else None
    wanted = wanted_at_last(rollout)
    if no_room is None:
        before, green.wanted, green.preview, green.growing = green.wanted, wanted, False, True
        await cancel_scale_down(tx, locked, green)
        epoch = await raise_epoch(tx, locked.name)
        await tell_rollout(tx, locked, green, scaled=True)
        await tx.execute(wake_up(locked.name, epoch, owes=True))
        rollout.awaits_signal = None
    else:
        before, rollout.awaits_signal = green.wanted, ROOM_CHANGED
    stored = StoredGrowth(
        **asker.model_dump(include=set(Asker.model_fields)),
        at=await database_now(tx) if known is None else known.at,
        wanted=wanted,
        seq=green.seq,
        no_room="" if no_room is None else no_room.message,
    )
    rollout.growth = stored.model_dump(mode="json")
    await tx.flush()
    if known is None or no_room is None:
        evidence = {"from": str(before), "to": str(wanted), **({} if no_room is None else {"waits": stored.no_room})}
        await write_event(tx, locked.name, rollout.id, "growing", author=asker, evidence=evidence)
    return SwitchAnswer(growth=told_growth(rollout))
