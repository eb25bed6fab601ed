"""What commands are told beyond the answers that the API defines."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from celadon.domain.language.errors import RefusalCode, RefusedError, refuse

if TYPE_CHECKING:
    from celadon.table.records.rollouts import RolloutRecord

NO_KEEPER: Final = "no keeper is at work, so probably no worker either; the answer may take until one runs"


def no_such_rollout(name: str, rollout: int) -> RefusedError:
    """Return the refusal of a rollout that a deployment never had."""
    return refuse(
        RefusalCode.NO_SUCH_ROLLOUT,
        f"{name} has no rollout {rollout}",
        f"list them with 'celadon rollout history {name}'",
    )


async def rollout_of(name: str, reading: "Awaitable[RolloutRecord]") -> "RolloutRecord | None":
    """Return the rollout that is read; ``None`` when there is none, or when it is another deployment's."""
    try:
        record = await reading
    except RefusedError as error:
        if error.refusal.code is RefusalCode.NO_SUCH_ROLLOUT:
            return None
        raise
    return record if record.deployment == name else None
