"""How many replicas green has before its promotion is decided, and what its growth afterwards waits for."""

from datetime import datetime

from celadon.domain.language.durations import format_duration
from celadon.domain.language.growth import Growth
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.progress import HoldKind, Progress
from celadon.domain.language.states import Channel


def opens_as_preview(policy: BlueGreenPolicy, *, gated: bool) -> bool:
    """Whether green is opened with fewer replicas, to be looked at: one that waits for no promotion is not."""
    return policy.preview_replicas is not None and gated


def size_of_green(policy: BlueGreenPolicy, replicas: int, *, is_preview: bool) -> int:
    """Return how many replicas a green wants of which ``replicas`` are wanted once it is live."""
    if not is_preview or policy.preview_replicas is None:
        return replicas
    return min(policy.preview_replicas, replicas)


def is_ready_to_go_on(progress: Progress) -> bool:
    """Whether a green whose switch is decided has grown and is verified, or there may be room for its growth now."""
    growth = progress.growth
    if growth is None:
        return False
    return not awaits_room(progress) if growth.no_room else progress.green_is_ready


def awaits_room(progress: Progress) -> bool:
    """Whether nothing is worth trying until there is room."""
    return progress.hold is not None and progress.hold.kind is HoldKind.NO_ROOM


def was_decided_by_timer(growth: Growth) -> bool:
    """Whether no person has taken the decision: then it stands still while the rollout is paused."""
    return growth.door in {Channel.TIMER, Channel.POLICY}


def why_not_grown(progress: Progress, growth: Growth, told: str) -> str:
    """Return why a rollout ends whose green did not grow in time."""
    span = format_duration(progress.policy.provisioning_deadline)
    why = growth.no_room or told
    return f"green did not grow to {growth.wanted} healthy replicas within {span}" + (f" ({why})" if why else "")


def growing_since(progress: Progress, growth: Growth, now: datetime) -> Progress:
    """Return a rollout whose green grows, or waits for room to grow.

    The time that growth may take counts from the decision, and anew once there is room: replicas that are started later
    have as long to start as any.
    """
    first = progress.growth is None
    green = progress.green
    is_of_growth = green is not None and (green.seq >= growth.seq or progress.green_failed)
    begins = first or not growth.no_room
    return progress.with_changes(
        growth=growth,
        green=green if is_of_growth else None,
        unverified_since=now if begins else progress.unverified_since,
        regressed_since_verified=False,
        regressed_by_itself=False,
    )
