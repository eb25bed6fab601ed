"""Probes: one HTTP request, one gRPC call or one TCP connection to a replica."""

import asyncio
import errno
import json
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Final, Self, assert_never

import aiohttp
from yarl import URL

from celadon.domain.decisions.probe_answer import MOST_BODY, is_expected_status, why_unexpected
from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.probe import GrpcProbe, HttpProbe, Probe, TcpProbe
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

    async def probe(self, address: Address, probe: Probe) -> ProbeResult:
        """Probe a replica once; what goes wrong is the result, never raised."""
        refusal = self._reach.refuse(address.host, address.port)
        if refusal:
            return ProbeResult(refusal)
        match probe:
            case HttpProbe():
                return await self._request(address, probe)
            case GrpcProbe():
                # It takes a while to load, and most revisions need none of it.
                from celadon.keeper.grpc_probes import call  # noqa: PLC0415

                return ProbeResult(await call(address, probe))
            case TcpProbe():
                return await connect(address, probe.timeout)
            case _:
                assert_never(probe)

    async def _request(self, address: Address, probe: HttpProbe) -> ProbeResult:
        if self._session is None:
            raise RuntimeError("the prober is not open")
        url = URL(f"http://{address}{probe.path}", encoded=True)
        asked = f"{probe.method} {probe.path}"
        headers, body = _as_sent(probe)
        try:
            async with (
                asyncio.timeout(probe.timeout.total_seconds()),
                self._session.request(
                    probe.method, url, headers=headers, data=body, allow_redirects=False, timeout=UNTIMED
                ) as response,
            ):
                if not is_expected_status(probe.expect, response.status):
                    answer = await _begin_of(response)
                    return ProbeResult(f"{asked}: answered {response.status}" + (f": {answer}" if answer else ""))
                why = await _why_unexpected(probe, response) if probe.expect.needs_body else ""
        except TimeoutError:
            return ProbeResult(f"{asked}: no answer within {probe.timeout.total_seconds():g}s")
        except aiohttp.ClientConnectorError as error:
            return ProbeResult(f"{asked}: {_describe(error.os_error)}")
        except (aiohttp.ClientError, OSError) as error:
            return ProbeResult(f"{asked}: {error or type(error).__name__}")
        return ProbeResult(f"{asked}: {why}" if why else "")


def _as_sent(probe: HttpProbe) -> tuple[dict[str, str], bytes | None]:
    """Return the headers and the body of a request."""
    headers = dict(probe.headers)
    if probe.expect.needs_body:
        headers.setdefault("Accept-Encoding", "identity")
    if probe.body is None:
        return headers, None
    if isinstance(probe.body, str):
        return headers, probe.body.encode()
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return headers, json.dumps(probe.body).encode()


async def _why_unexpected(probe: HttpProbe, response: aiohttp.ClientResponse) -> str:
    """Read the body of an answer of an expected status, and return what is wrong with it; empty for nothing."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        return f"the answer is encoded as {encoding}, so its body cannot be looked at"
    try:
        body = await response.content.readexactly(MOST_BODY + 1)
    except asyncio.IncompleteReadError as error:
        body = error.partial
    return why_unexpected(probe.expect, body)


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
