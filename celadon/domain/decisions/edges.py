"""What a rollout makes of the signals that the keeper sends: which of them are news, and for whom."""

from celadon.domain.language.messages import GreenChanged
from celadon.domain.language.names import RolloutId
from celadon.domain.language.progress import Progress


def means_other_rollout(progress: Progress, rollout: RolloutId | None) -> bool:
    """Whether a signal was meant for another rollout: signals go by workflow id, and the next rollout has the same."""
    return rollout is not None and progress.rollout is not None and rollout != progress.rollout


def is_news_of_green(progress: Progress, edge: GreenChanged) -> bool:
    """Whether an edge tells of this rollout's green, and more than is known.

    Green may be known to the keeper before the rollout hears of its own set; then the last set that was told of counts,
    and the rollout looks again when it knows.
    """
    if means_other_rollout(progress, edge.rollout):
        return False
    if progress.green_set is not None and edge.route_set != progress.green_set:
        return False
    known = progress.green
    return known is None or known.route_set != edge.route_set or edge.seq > known.seq
