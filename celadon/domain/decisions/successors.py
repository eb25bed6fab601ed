"""What waits behind a rollout that is under way: whom it ends, what it takes, and when it starts by itself."""

from collections.abc import Callable, Collection
from typing import Final

from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.names import RolloutId
from celadon.domain.language.next_rollout import Successor
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy, OnNewRevision
from celadon.domain.language.progress import Progress
from celadon.domain.language.states import RolloutOutcome, RolloutPhase

BEFORE_SWITCH: Final = frozenset(
    {RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION, RolloutPhase.SWITCHING}
)
_RETRIED: Final = frozenset(
    {RolloutOutcome.FAILED, RolloutOutcome.ABORTED, RolloutOutcome.EXPIRED, RolloutOutcome.ROLLED_BACK}
)


def right_to_replace(phase: RolloutPhase) -> tuple[Verb, str] | None:
    """Return the right that it takes to end a rollout for another one, and what makes it necessary.

    Returns:
        ``None`` in a phase in which nothing ends a rollout sooner, so that a newer one waits for its end.

    """
    if phase in BEFORE_SWITCH:
        return Verb.ABORT, "it replaces the rollout under way, whose green is closed"
    if phase is RolloutPhase.BAKING:
        return Verb.PROMOTE, "it replaces the rollout under way, whose bake it ends"
    return None


def replaces_now(mode: OnNewRevision, phase: RolloutPhase, rights: Collection[Verb], *, verified: bool) -> bool:
    """Whether what waits ends the rollout under way in its present phase.

    Args:
        mode: of what waits.
        phase: of the rollout under way, as the table has it.
        rights: of whoever asked for what waits.
        verified: whether somebody vouches for whoever asked. To end a bake takes that, as ``finish`` does, unless
            everybody is believed.

    """
    needed = right_to_replace(phase)
    if mode is not OnNewRevision.REPLACE or needed is None or needed[0] not in rights:
        return False
    return phase is not RolloutPhase.BAKING or verified or frozenset(Verb) <= frozenset(rights)


def told_of_successor(progress: Progress, successor: Successor | None) -> Progress:
    """Return a rollout that knows what waits behind it; one that bakes ends its bake for what replaces it."""
    ends_bake = successor is not None and successor.replaces and progress.phase is RolloutPhase.BAKING
    return progress.with_changes(successor=successor, bake_is_over=progress.bake_is_over or ends_bake)


def waits_told(successor: Successor, quote: Callable[[str], str] = str) -> str:
    """Return in words that something waits behind a rollout; ``quote`` writes the words of people."""
    how = "and replaces this one" if successor.replaces else "for the end of this one"
    return f"r{successor.revision} by {quote(successor.by)} waits {how}"


def held_by(rollout: RolloutId, outcome: RolloutOutcome, reason: str) -> str:
    """Return why what waited for a rollout does not start by itself after its end; empty when it does."""
    if outcome in {RolloutOutcome.PROMOTED, RolloutOutcome.SUPERSEDED}:
        return ""
    why = f" ({reason})" if reason else ""
    return f"rollout {rollout}, for which it waited, ended as {outcome.value}{why}"


def held_by_rollback(deployment: str) -> str:
    """Return why what waits does not start by itself once somebody has rolled the deployment back."""
    return f"{deployment} was rolled back meanwhile"


def is_retried(outcome: RolloutOutcome) -> bool:
    """Whether a rollout that ended so can be tried again: it failed, or somebody or something gave it up."""
    return outcome in _RETRIED


def is_same_way(one: BlueGreenPolicy, other: BlueGreenPolicy) -> bool:
    """Whether two resolved policies let a rollout go the same way, whatever they do to one that is under way."""
    key = "on_new_revision"
    anyway = {key: OnNewRevision.REJECT}
    return one.model_copy(update=anyway) == other.model_copy(update=anyway)


def what_it_waits_for(
    deployment: str, mode: OnNewRevision, after: RolloutId | None, held: str, *, under_way: RolloutPhase | None
) -> str:
    """Return in words what a rollout waits for that has not begun.

    Args:
        deployment: its name.
        mode: whether it replaces what is under way.
        after: the rollout that it waits for.
        held: why it does not start by itself; empty when it does.
        under_way: the phase of the rollout under way; ``None`` when none is.

    """
    if held:
        return f"'celadon retry {deployment}': {held}"
    if under_way is None:
        return "its start, within moments"
    end = f"the end of rollout {after}"
    if mode is not OnNewRevision.REPLACE:
        return end
    if under_way in BEFORE_SWITCH:
        return f"{end}, which it replaces: green is being closed"
    return f"{end}, which it replaces" if under_way is RolloutPhase.BAKING else end


def nothing_waits(deployment: str) -> Refusal:
    """Return why nothing that waits can be dropped."""
    return Refusal(
        code=RefusalCode.NOTHING_WAITS,
        message=f"no rollout of {deployment} waits for its turn",
        next_step=f"a rollout that is under way is aborted with 'celadon abort {deployment}'",
    )


def already_taken(deployment: str, number: int) -> Refusal:
    """Return why what has waited cannot begin any more."""
    return Refusal(
        code=RefusalCode.ALREADY_TAKEN,
        message=f"what waited under the number {number} for {deployment} waits no more: it has begun, another one has "
        "taken its place, or it was dropped",
        next_step=f"see 'celadon rollout history {deployment}'",
    )


def waits_for_retry(deployment: str, held: str) -> Refusal:
    """Return why what waits does not begin by itself."""
    return Refusal(
        code=RefusalCode.WAITS_FOR_RETRY,
        message=f"what waits does not begin by itself: {held}",
        next_step=f"start it with 'celadon retry {deployment}', or drop it with 'celadon drop {deployment}'",
    )


def another_waits(deployment: str, number: int, by: str) -> Refusal:
    """Return why a rollout does not begin while another one waits, whose place its policy does not let it take."""
    return Refusal(
        code=RefusalCode.ANOTHER_WAITS,
        message=f"a rollout of {deployment} that {by} asked for waits for its turn (number {number}), and "
        "on_new_revision of this request is reject",
        next_step=f"'celadon retry {deployment}' starts the other one, 'celadon drop {deployment}' drops it; or set "
        "policy.on_new_revision to queue, which takes its place",
    )
