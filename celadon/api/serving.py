"""The service as the API gives it: its callers read in turn."""

from contextlib import AbstractAsyncContextManager

from celadon.api.reading import AnswerPieces, ReadTurns, share_of
from celadon.client.rollouts import RolloutClient
from celadon.domain.decisions.hosts import NO_HOSTS, ClaimableHosts
from celadon.service.principal import Principal
from celadon.service.service import Service
from celadon.table.core.engine import Table


class ApiService(Service):
    """Serves the callers of the API."""

    def __init__(
        self, table: Table, rollouts: RolloutClient, *, signs: bool, claimable: ClaimableHosts = NO_HOSTS
    ) -> None:
        """Serve as :class:`Service` does."""
        super().__init__(table, rollouts, signs=signs, claimable=claimable)
        self._turns = ReadTurns()
        self._queries = ReadTurns()
        self._pieces = AnswerPieces()

    def turn(self, who: Principal) -> AbstractAsyncContextManager[None]:
        """Wait for the caller's turn at reading, and hold it while the block runs.

        Raises:
            HttpRefusal: too many reads of this caller wait already.

        """
        return self._turns.turn(share_of(who))

    def whole_query(self, who: Principal) -> AbstractAsyncContextManager[None]:
        """Let queries of many reads wait for one another, those of the same caller; their reads take turns as well."""
        return self._queries.turn(share_of(who))

    async def piece(self, who: Principal) -> None:
        """Wait until another piece of a large answer to a caller may be made."""
        await self._pieces.piece(share_of(who))
