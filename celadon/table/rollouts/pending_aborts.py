"""The abort that counts and that blue cannot take for the moment: who asked, kept as it was judged when it came."""

from hashlib import sha256

from celadon.domain.decisions.authority import Verdict
from celadon.domain.language.contracts import BLUE_CHANGED
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.steps import Message, SwitchStep
from celadon.table.core.author import Asker
from celadon.table.core.models import Rollout


class _StoredAsker(Asker):
    message: str
    """The digest of the message; empty for a cancellation, which has none."""


def read_pending(rollout: Rollout, step: SwitchStep) -> Asker | None:
    """Return who asked for the way back that is pending, when it is this one that is tried again.

    It counted when it came. To judge it anew would end it with its ``valid_until``, which says until when a message may
    be taken, and not for how long an abort that was taken may wait for blue.
    """
    if rollout.pending_abort is None:
        return None
    stored = _StoredAsker.model_validate(rollout.pending_abort, strict=False)
    if stored.message != _digest(step) or (step.message is None and stored.door is not step.door):
        return None
    return Asker(**stored.model_dump(exclude={"message"}))


def store_pending(rollout: Rollout, step: SwitchStep, asker: Asker) -> None:
    """Keep who asked until blue can take the traffic."""
    rollout.pending_abort = _StoredAsker(**asker.model_dump(), message=_digest(step)).model_dump(mode="json")


def give_up_pending(rollout: Rollout) -> None:
    """Forget the abort that is pending, if one is: blue may drain."""
    rollout.pending_abort = None
    if rollout.awaits_signal == BLUE_CHANGED:
        rollout.awaits_signal = None


def refuse_withdrawal(rollout: Rollout, message: Message, verdict: Verdict) -> Refusal | None:
    """Return why a message may not take the pending abort back, or ``None`` when it may: only who sent the abort may.

    What a door has verified is not taken back by a message for which nobody vouches.
    """
    if rollout.pending_abort is None:
        return Refusal(
            code=RefusalCode.NO_PENDING_ABORT,
            message=f"no abort of rollout {rollout.id} is pending",
            next_step=f"look at it with 'celadon rollout status {rollout.deployment}'",
        )
    stored = _StoredAsker.model_validate(rollout.pending_abort, strict=False)
    is_own = (stored.by, stored.issuer) == (message.command.by, verdict.issuer)
    if is_own and stored.verified <= verdict.verified:
        return None
    return Refusal(
        code=RefusalCode.FORBIDDEN,
        message=f"the abort that is pending is {stored.by}'s, and only who asked for it takes it back",
        next_step=f"ask {stored.by}, or finish the bake",
    )


def _digest(step: SwitchStep) -> str:
    return "" if step.message is None else sha256(step.message.model_dump_json().encode()).hexdigest()
