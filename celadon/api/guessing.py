"""What keeps somebody from guessing tokens, sessions and codes, and from being in the way of those who have them.

What is shown is always looked up first: a good credential is never refused because others failed. Failures alone are
counted, by address, and answered with 429 once there are too many. An address that fails too often is looked up in a
narrow lane of its own, so that a flood of guesses does not take the database from anybody else; whoever has been let in
before does not wait in that lane.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

import structlog
from starlette.requests import HTTPConnection

from celadon.api.client_address import client_address, counted_as
from celadon.api.limits import Rate
from celadon.api.metrics import ApiMetrics
from celadon.api.problems import HttpRefusal
from celadon.api.settings import ApiSettings
from celadon.api.times import USUAL_TIMES

LONGEST_CREDENTIAL: Final = 8192

_LANE: Final = 2
"""So many credentials from addresses that fail too often are looked up at the same time."""

_REMEMBERED: Final = 10_000
_MINUTE_SECONDS: Final = 60.0

FoundT = TypeVar("FoundT")

log = structlog.get_logger()


class Guessing:
    """Counts credentials that were none."""

    def __init__(
        self, settings: ApiSettings, metrics: ApiMetrics, clock: Callable[[], float] = USUAL_TIMES.failure_clock
    ) -> None:
        """Allow each address as many failures as the settings say, by a ``clock`` in seconds."""
        self._trusted = settings.trusted_proxies
        self._metrics = metrics
        self._failures = Rate(
            settings.api_failures_per_minute / _MINUTE_SECONDS, settings.api_failures_per_minute, clock
        )
        self._lane = asyncio.Semaphore(_LANE)
        self._good: OrderedDict[bytes, None] = OrderedDict()

    async def check(
        self,
        request: HTTPConnection,
        credential: str,
        look: Callable[[str], Awaitable[FoundT | None]],
    ) -> FoundT | None:
        """Return what ``look`` finds for a credential; nothing when it finds nothing, which counts as a failure.

        Raises:
            HttpRefusal: it finds nothing, and the request's address has failed too often.

        """
        address = client_address(request, self._trusted)
        counted = counted_as(address)
        holder = await self._look(credential, look, slow=self._failures.wait_for(counted, take=False) > 0)
        if holder is not None:
            return holder
        waits = self._failures.wait_for(counted)
        self._metrics.refused.labels("failures" if waits else "unknown").inc()
        if waits:
            raise HttpRefusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                "RATE_LIMITED",
                "too many requests from this address failed to show who asks",
                f"try again in {max(1, round(waits))} s, or with a credential that is known",
                retry_after=max(1.0, waits),
            )
        log.info("caller_unknown", address=address)
        return None

    async def _look(
        self,
        credential: str,
        look: Callable[[str], Awaitable[FoundT | None]],
        *,
        slow: bool,
    ) -> FoundT | None:
        if not credential or len(credential) > LONGEST_CREDENTIAL:
            return None
        digest = hashlib.sha256(credential.encode(errors="surrogateescape")).digest()
        known = self._good.pop(digest, False) is None
        if slow and not known:
            async with self._lane:
                holder = await look(credential)
        else:
            holder = await look(credential)
        if holder is not None:
            self._good[digest] = None
            if len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)
        return holder
