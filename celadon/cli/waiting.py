"""Waiting, on a command line, for a rollout that waits for its turn to begin."""

import asyncio

from celadon.cli.access.protocol import Access
from celadon.cli.faults import CommandError
from celadon.cli.patience import POLL_EVERY, outlasting
from celadon.domain.language.names import RolloutId
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.table.records.rollouts import RolloutFilter

_NEWEST = 10


async def until_its_turn(access: Access, name: str, waiting: WaitingRollout) -> RolloutId:
    """Return the rollout that something has become which waited for its turn.

    Raises:
        CommandError: it does not begin by itself any more: it waits for a retry, or waits no more.

    """
    while True:
        now = (await outlasting(lambda: access.deployment(name))).next
        if now is None or now.id != waiting.id:
            return await _become(access, name, waiting)
        if now.held:
            raise CommandError(
                f"r{waiting.revision} of {name} does not begin by itself: {now.held}; start it with "
                f"'celadon retry {name}', or drop it with 'celadon drop {name}'"
            )
        await asyncio.sleep(POLL_EVERY.total_seconds())


async def _become(access: Access, name: str, waiting: WaitingRollout) -> RolloutId:
    wanted = RolloutFilter(deployments=(name,))
    listed = await outlasting(lambda: access.rollouts(wanted, before=None, limit=_NEWEST))
    begun = next((one for one in listed.items if one.next == waiting.id), None)
    if begun is None:
        raise CommandError(
            f"r{waiting.revision} of {name} waits no more: another one has taken its place, or it was dropped; "
            f"see who and why with 'celadon rollout history {name}'"
        )
    return begun.rollout
