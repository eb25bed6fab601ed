"""What commands are told beyond the answers that the API defines."""

from typing import Final

from celadon.domain.errors import RefusalCode, RefusedError, refuse
from celadon.domain.names import RevisionNumber, RolloutId
from celadon.domain.strictness import Record

NO_KEEPER: Final = "no keeper is at work, so probably no worker either; the answer may take until one runs"


class Meant(Record):
    """The rollout that a decision is about."""

    rollout: RolloutId | None
    revision: RevisionNumber | None
    note: str = ""
    """What a person should know before the answer comes."""


def no_such_rollout(name: str, rollout: int) -> RefusedError:
    """Return the refusal of a rollout that a deployment never had."""
    return refuse(
        RefusalCode.NO_SUCH_ROLLOUT,
        f"{name} has no rollout {rollout}",
        f"list them with 'celadon rollout history {name}'",
    )
