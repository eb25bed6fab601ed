"""Ending a rollout whichever way there is, for a deployment that is to go."""

from typing import Final

import structlog

from celadon.client.rollouts import RolloutClient
from celadon.domain.language.commands import AbortCommand, AbortState, BakeCommand
from celadon.domain.language.contracts import FINISH
from celadon.domain.language.errors import RefusalCode, RefusedError

_ENDS_ANYWAY: Final = frozenset(
    {
        RefusalCode.ROLLOUT_ENDED,
        RefusalCode.NO_SUCH_ROLLOUT,
        RefusalCode.ROLLING_BACK,
        RefusalCode.WRONG_ROLLOUT,
        RefusalCode.NOT_BAKING,
    },
)
"""An abort that is refused so has nothing left to do: the rollout ends by itself, or a keeper ends it."""

log = structlog.get_logger()


async def end_rollout(rollouts: RolloutClient, deployment: str, command: AbortCommand) -> None:
    """Abort a rollout or, where there is no way back, cancel it, which lets it end; waits for neither's end.

    A way back that waits for blue is given up: nobody needs blue any more.

    Raises:
        NoAnswerError: nobody answered.

    """
    try:
        answer = await rollouts.abort(deployment, command)
        if answer.state is AbortState.RECORDED:
            finish = {"reason", "by", "rollout", "door", "issuer", "rights"}
            await rollouts.ask(deployment, FINISH, BakeCommand(**command.model_dump(include=finish)))
    except RefusedError as error:
        if error.refusal.code in _ENDS_ANYWAY:
            return
        log.info("abort_refused_so_cancelled", deployment=deployment, rollout=command.rollout, refused=str(error))
        await rollouts.cancel(deployment)
