"""Commands that were meant for another moment."""

from datetime import datetime

from celadon.domain.language.commands import Command
from celadon.domain.language.errors import Refusal, RefusalCode


def refuse_late(command: Command, now: datetime) -> Refusal | None:
    """Return a refusal when nobody waits for ``command`` any more, so that it is not carried out as a surprise."""
    if command.valid_until is None or now <= command.valid_until:
        return None
    return Refusal(
        code=RefusalCode.TOO_LATE,
        message=f"the command was valid until {command.valid_until:%Y-%m-%d %H:%M:%S %Z}, its sender has given up",
        next_step="look at the rollout and send it again if it is still meant",
    )
