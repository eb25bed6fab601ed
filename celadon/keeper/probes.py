"""Probes: one HTTP GET or one TCP connection to a replica."""

import asyncio
import errno
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.health_check import HealthCheck
from celadon.provisioners.protocol import Address
from celadon.untimed import UNTIMED

_ANSWER_BYTES: Final = 4_000
"""Of an answer that is no success. Less is shown, so that no half of a secret is, which would not be known as one."""

_ANSWER_SECONDS: Final = 0.5
"""How long the rest of such an answer is waited for."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one probe has found; no error means that it passed."""

    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether the replica answered as it should."""
        return not self.error


class Prober:
    """Asks replicas how they are, each time over a connection of its own."""

    def __init__(self, reach: Reach = Reach()) -> None:  # noqa: B008 - it is frozen
        """Prepare; the client is opened with the context. What ``reach`` refuses is not probed."""
        self._reach = reach
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the HTTP client."""
        # A connection that is used again may just be closed by an idle server, which would look like a sick one.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "celadon-keeper"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the HTTP client."""
        if self._session is not None:
            await self._session.close()

    async def probe(self, address: Address, check: HealthCheck) -> ProbeResult:
        """Probe a replica once; what goes wrong is the result, never raised."""
        refusal = self._reach.refuse(address.host, address.port)
        if refusal:
            return ProbeResult(refusal)
        if check.path is None:
            return await connect(address, check.timeout)
        return await self._get(address, check.path, check.timeout)

    async def _get(self, address: Address, path: str, patience: timedelta) -> ProbeResult:
        if self._session is None:
            raise RuntimeError("the prober is not open")
        url = URL(f"http://{address}{path}", encoded=True)
        try:
            async with (
                asyncio.timeout(patience.total_seconds()),
                self._session.get(url, allow_redirects=False, timeout=UNTIMED) as response,
            ):
                status = response.status
                answer = "" if _passes(status) else await _begin_of(response)
        except TimeoutError:
            return ProbeResult(f"GET {path}: no answer within {patience.total_seconds():g}s")
        except aiohttp.ClientConnectorError as error:
            return ProbeResult(f"GET {path}: {_describe(error.os_error)}")
        except (aiohttp.ClientError, OSError) as error:
            return ProbeResult(f"GET {path}: {error or type(error).__name__}")
        if _passes(status):
            return ProbeResult()
        return ProbeResult(f"GET {path}: answered {status}" + (f": {answer}" if answer else ""))


def _passes(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


async def _begin_of(response: aiohttp.ClientResponse) -> str:
    """Return the begin of what a replica answered, which often says what is wrong; its status alone when that fails."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return ""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            begin = await response.content.readexactly(_ANSWER_BYTES)
    except asyncio.IncompleteReadError as error:
        begin = error.partial
    except (TimeoutError, aiohttp.ClientError, OSError):
        return ""
    return begin.decode(errors="replace").strip()


async def connect(address: Address, patience: timedelta) -> ProbeResult:
    """Open and close one TCP connection."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except TimeoutError:
        return ProbeResult(f"connect to {address}: no answer within {patience.total_seconds():g}s")
    except OSError as error:
        return ProbeResult(f"connect to {address}: {_describe(error)}")
    writer.close()
    return ProbeResult()


def _describe(error: OSError) -> str:
    return "connection refused" if error.errno == errno.ECONNREFUSED else str(error)
