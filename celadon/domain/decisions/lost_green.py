"""A live green without a healthy replica during the bake: after a time the rollout goes back to blue by itself."""

from datetime import datetime, timedelta
from typing import Final

from celadon.domain.language.commands import AbortCommand
from celadon.domain.language.durations import format_duration
from celadon.domain.language.moments import utc
from celadon.domain.language.progress import AbortRequest, Progress
from celadon.domain.language.states import Channel

ROLLBACK_TIMER: Final = "rollback"


def rollback_timer(progress: Progress) -> tuple[str, datetime] | None:
    """Return the timer by which a rollout goes back whose green is lost; nothing when it is not, or people decide."""
    patience = progress.policy.failover_rollback
    if progress.green_lost_since is None or patience is None:
        return None
    return ROLLBACK_TIMER, progress.green_lost_since + patience


def way_back_due(progress: Progress, now: datetime) -> AbortRequest | None:
    """Return the abort that the policy asks for when green has been lost for long enough; nothing before."""
    since, patience = progress.green_lost_since, progress.policy.failover_rollback
    return None if since is None or patience is None or now < since + patience else way_back_after(patience, now)


def way_back_after(patience: timedelta, now: datetime) -> AbortRequest:
    """Return the abort that the policy asks for when green has been lost for as long as ``failover_rollback``."""
    command = AbortCommand(by="policy", reason=f"green has had no healthy replica for {format_duration(patience)}")
    return AbortRequest(command=command, door=Channel.POLICY, at=now, lost_green=True)


def may_be_given_up(progress: Progress) -> bool:
    """Whether the policy's own abort is pending although green is no longer lost."""
    return progress.pending is not None and progress.pending.request.lost_green and progress.green_lost_since is None


def told_of_loss(progress: Progress) -> str:
    """Return what people are told while green is lost, during the bake; empty when it is not."""
    since = progress.green_lost_since
    if since is None:
        return ""
    timer = rollback_timer(progress)
    takes = "blue takes the traffic" if progress.policy.failover else "blue is kept"
    back = f"the rollout goes back by itself at {utc(timer[1])}" if timer is not None else "nothing goes back by itself"
    return (
        f"no replica of green is healthy since {utc(since)}: {takes}, and {back}; the bake does not end meanwhile, "
        f"unless somebody ends it: celadon finish {progress.deployment}"
    )
