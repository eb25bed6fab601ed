"""Commands that were meant for another moment, and moments that no timer can have."""

from datetime import datetime

from celadon.domain.language.commands import Command, PauseCommand, RescheduleCommand
from celadon.domain.language.durations import LONGEST, format_duration
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.moments import utc


def refuse_late(command: Command, now: datetime) -> Refusal | None:
    """Return a refusal when nobody waits for ``command`` any more, so that it is not carried out as a surprise."""
    if command.valid_until is None or now <= command.valid_until:
        return None
    return Refusal(
        code=RefusalCode.TOO_LATE,
        message=f"the command was valid until {utc(command.valid_until)}, its sender has given up",
        next_step="look at the rollout and send it again if it is still meant",
    )


def refuse_far(key: str, moment: datetime | None, now: datetime) -> Refusal | None:
    """Return why ``moment`` is no end of a timer, or ``None`` when it is: it is as near as a duration can be long."""
    if moment is None or moment - now <= LONGEST:
        return None
    return Refusal(
        code=RefusalCode.INVALID_PAYLOAD,
        message=f"{key} is {utc(moment)}, more than {format_duration(LONGEST)} from now",
        next_step="give an earlier moment, or none",
    )


def refuse_moments(command: Command, now: datetime) -> Refusal | None:
    """Return why a rollout cannot have the timers of a command, or ``None`` when it can."""
    match command:
        case PauseCommand(until=until):
            return refuse_far("until", until, now)
        case RescheduleCommand(promote_at=promote_at):
            return refuse_far("promote_at", promote_at, now)
        case _:
            return None
