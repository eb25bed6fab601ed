"""What a router itself counted: Envoy's statistics of one listener and of the clusters behind it."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

import aiohttp
from pydantic import BaseModel

from celadon.stack.router import ADMIN_URL
from celadon.untimed import UNTIMED

IDLE_POLL: Final = timedelta(milliseconds=50)
ADMIN_TIMEOUT: Final = timedelta(seconds=5)


class CountersUnavailableError(Exception):
    """The router's admin interface did not say what was asked."""


@dataclass(frozen=True, slots=True)
class RouterCounters:
    """Envoy's counters of one listener and some clusters, since the router started or over a time."""

    requests: int
    """Requests that clients sent (``downstream_rq_total``)."""
    answers_5xx: int
    """Answers with a status from 500 on, whoever gave them."""
    resets_to_client: int
    """Answers that the router broke off (``downstream_rq_tx_reset``)."""
    disconnects_of_client: int
    """Connections that clients closed with a request running (``downstream_cx_destroy_remote_active_rq``)."""
    requests_to_servers: int
    """Requests that the router sent on, retries included (``upstream_rq_total``)."""
    unconnected: int
    """Attempts that found no connection to a server (``upstream_rq_pending_failure_eject``)."""
    retries: int
    disconnects_of_server: int
    """Connections that servers closed with a request running (``upstream_cx_destroy_remote_with_active_rq``)."""
    resets_of_server: int
    """Streams that servers reset (``upstream_rq_rx_reset``)."""

    def __sub__(self, earlier: Self) -> "RouterCounters":
        """Return what was counted since ``earlier``; negative figures mean that the router has started anew."""
        return RouterCounters(
            **{field.name: getattr(self, field.name) - getattr(earlier, field.name) for field in fields(self)},
        )


class _Stat(BaseModel):
    """One line of the statistics; histograms have no name."""

    name: str = ""
    value: int | str = 0


class _Stats(BaseModel):
    stats: list[_Stat]


class RouterAdmin:
    """The admin interface of one Envoy."""

    def __init__(self, socket: Path, *, listener_prefix: str, clusters: Sequence[str]) -> None:
        """Name what is counted.

        ``socket`` is the interface's Unix socket; ``listener_prefix`` the ``stat_prefix`` of the listener's connection
        manager.
        """
        self._socket = socket
        self._listener = f"http.{listener_prefix}."
        self._clusters = tuple(f"cluster.{cluster}." for cluster in clusters)

    async def read(self) -> RouterCounters:
        """Read the counters. Raises ``CountersUnavailableError``."""
        return self._counters(await self._values())

    async def read_when_idle(self, timeout: timedelta) -> RouterCounters:
        """Read the counters once no request runs. Raises ``CountersUnavailableError`` when some still do."""
        deadline = asyncio.get_running_loop().time() + timeout.total_seconds()
        while (running := (values := await self._values()).get(f"{self._listener}downstream_rq_active", 0)) > 0:
            if asyncio.get_running_loop().time() > deadline:
                raise CountersUnavailableError(f"the router still runs {running} requests after the load has ended")
            await asyncio.sleep(IDLE_POLL.total_seconds())
        return self._counters(values)

    async def _values(self) -> dict[str, int]:
        names = f"^({'|'.join(map(re.escape, (self._listener, *self._clusters)))})"
        url = f"{ADMIN_URL}/stats"
        try:
            async with (
                asyncio.timeout(ADMIN_TIMEOUT.total_seconds()),
                aiohttp.ClientSession(timeout=UNTIMED, connector=aiohttp.UnixConnector(str(self._socket))) as session,
                session.get(url, params={"format": "json", "filter": names}, raise_for_status=True) as response,
            ):
                stats = _Stats.model_validate_json(await response.read()).stats
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise CountersUnavailableError(
                f"the router's statistics at {self._socket} cannot be read: {error}"
            ) from error
        return {stat.name: stat.value for stat in stats if isinstance(stat.value, int)}

    def _counters(self, values: dict[str, int]) -> RouterCounters:
        listener = self._listener

        def of_clusters(name: str) -> int:
            return sum(values[f"{cluster}{name}"] for cluster in self._clusters)

        try:
            return RouterCounters(
                requests=values[f"{listener}downstream_rq_total"],
                answers_5xx=values[f"{listener}downstream_rq_5xx"],
                resets_to_client=values[f"{listener}downstream_rq_tx_reset"],
                disconnects_of_client=values[f"{listener}downstream_cx_destroy_remote_active_rq"],
                requests_to_servers=of_clusters("upstream_rq_total"),
                unconnected=of_clusters("upstream_rq_pending_failure_eject"),
                retries=of_clusters("upstream_rq_retry"),
                disconnects_of_server=of_clusters("upstream_cx_destroy_remote_with_active_rq"),
                resets_of_server=of_clusters("upstream_rq_rx_reset"),
            )
        except KeyError as error:
            raise CountersUnavailableError(
                f"the router at {self._socket} has no counter {error}: it does not serve this deployment",
            ) from error
