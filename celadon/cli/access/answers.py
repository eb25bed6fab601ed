"""What commands are told beyond the answers that the API defines."""

from typing import Final

from celadon.domain.language.errors import RefusalCode, RefusedError, refuse

NO_KEEPER: Final = "no keeper is at work, so probably no worker either; the answer may take until one runs"


def no_such_rollout(name: str, rollout: int) -> RefusedError:
    """Return the refusal of a rollout that a deployment never had."""
    return refuse(
        RefusalCode.NO_SUCH_ROLLOUT,
        f"{name} has no rollout {rollout}",
        f"list them with 'celadon rollout history {name}'",
    )
