"""Aborts that count and that blue cannot take for the moment: who asked, kept as they were judged when they came."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.decisions.authority import Verdict
from celadon.domain.language.contracts import BLUE_CHANGED
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import Message, PendingAsker, SwitchStep
from celadon.table.core.author import Asker
from celadon.table.core.models import Rollout

MOST_ASKERS: Final = 20
"""How many people's aborts wait for blue at once."""
_NAMED: Final = 3


class _StoredAsker(Asker):
    message: str
    """The digest of the message; empty for a cancellation, which has none."""


class _Stored(_StoredAsker):
    """The first who asked, with those who asked for the same later."""

    others: tuple[_StoredAsker, ...] = ()


def read_pending(rollout: Rollout, step: SwitchStep) -> Asker | None:
    """Return who asked for the way back that is pending, when it is one of these that is tried again.

    It counted when it came. To judge it anew would end it with its ``valid_until``, which says until when a message may
    be taken, and not for how long an abort that was taken may wait for blue. A rollout that no longer has the message,
    because who sent it has withdrawn or because it was reset, asks by the policy, for whoever asked first.
    """
    askers = _askers(rollout)
    if step.message is None and step.door is Channel.POLICY:
        return _asker(askers[0]) if askers else None
    for stored in askers:
        if stored.message == _digest(step) and (step.message is not None or stored.door is step.door):
            return _asker(stored)
    return None


def keep_pending(rollout: Rollout, step: SwitchStep, asker: Asker) -> Refusal | None:
    """Keep who asked until blue can take the traffic, once a person; return why not, when too many have asked."""
    askers = _askers(rollout)
    if askers and (step.door is Channel.POLICY or any(_is_same(one, asker) for one in askers)):
        return None
    if len(askers) >= MOST_ASKERS:
        return Refusal(
            code=RefusalCode.TOO_MANY_MESSAGES,
            message=f"aborts by {len(askers)} people are pending already",
            next_step="there is nothing to do: traffic goes back as soon as blue can take it",
        )
    _store(rollout, (*askers, _StoredAsker(**asker.model_dump(), message=_digest(step))))
    return None


def pending_asker(rollout: Rollout) -> PendingAsker | None:
    """Return who asked first for the way back that is pending, or ``None`` when none is."""
    askers = _askers(rollout)
    if not askers:
        return None
    first = askers[0]
    return PendingAsker(by=first.by, issuer=first.issuer, door=first.door or Channel.POLICY, reason=first.reason)


def give_up_pending(rollout: Rollout) -> None:
    """Forget the aborts that are pending, if any are: blue may drain."""
    rollout.pending_abort = None
    if rollout.awaits_signal == BLUE_CHANGED:
        rollout.awaits_signal = None


async def forget_lost_green(tx: AsyncSession, rollout: int) -> None:
    """Take back the abort that the policy asked for because green was lost, if that is pending; people's stay."""
    row = await tx.get_one(Rollout, rollout, with_for_update=True)
    askers = _askers(row)
    left = tuple(one for one in askers if not _is_of_policy(one))
    if left == askers:
        return
    if left:
        _store(row, left)
    else:
        give_up_pending(row)


def _is_of_policy(stored: _StoredAsker) -> bool:
    """Whether nobody asked: who asks sends a message, or cancels the workflow."""
    return stored.door is Channel.POLICY and not stored.message


def withdraw_pending(rollout: Rollout, message: Message, verdict: Verdict) -> Refusal | None:
    """Take back the pending abort of who asks, and nobody else's; return why there is none to take back.

    What a door has verified is not taken back by a message for which nobody vouches. A cancellation is nobody's.
    """
    askers = _askers(rollout)
    if not askers:
        return Refusal(
            code=RefusalCode.NO_PENDING_ABORT,
            message=f"no abort of rollout {rollout.id} is pending",
            next_step=f"look at it with 'celadon rollout status {rollout.deployment}'",
        )
    left = tuple(one for one in askers if not _is_own(one, message, verdict))
    if len(left) == len(askers):
        names = ", ".join(dict.fromkeys(one.by for one in askers[:_NAMED]))
        others = " and others" if len(askers) > _NAMED else ""
        return Refusal(
            code=RefusalCode.FORBIDDEN,
            message=f"what is pending are aborts by {names}{others}, and only who asked takes an own abort back",
            next_step="ask them, or finish the bake",
        )
    if left:
        _store(rollout, left)
    else:
        give_up_pending(rollout)
    return None


def _is_own(stored: _StoredAsker, message: Message, verdict: Verdict) -> bool:
    is_own = (stored.by, stored.issuer) == (message.command.by, verdict.issuer)
    return is_own and bool(stored.message) and stored.verified <= verdict.verified


def _is_same(stored: _StoredAsker, asker: Asker) -> bool:
    is_same = (stored.by, stored.issuer) == (asker.by, asker.issuer)
    return (
        is_same
        and stored.verified >= asker.verified
        and (stored.door is Channel.CANCEL) == (asker.door is Channel.CANCEL)
    )


def _askers(rollout: Rollout) -> tuple[_StoredAsker, ...]:
    """Return who asked, in the order in which they did."""
    if rollout.pending_abort is None:
        return ()
    stored = _Stored.model_validate(rollout.pending_abort, strict=False)
    return (stored, *stored.others)


def _store(rollout: Rollout, askers: Sequence[_StoredAsker]) -> None:
    # The first one stands where earlier releases kept the only one.
    first, *others = askers
    fields = first.model_dump(include=set(_StoredAsker.model_fields))
    rollout.pending_abort = _Stored(**fields, others=tuple(others)).model_dump(mode="json")


def _asker(stored: _StoredAsker) -> Asker:
    return Asker(**stored.model_dump(include=set(Asker.model_fields)))


def _digest(step: SwitchStep) -> str:
    return "" if step.message is None else sha256(step.message.model_dump_json().encode()).hexdigest()
