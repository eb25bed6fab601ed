"""One attempt: an HTTP POST to a target, within bounds, and never where Celadon must not connect to."""

import asyncio
import email.utils
import json
import socket
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

import aiohttp

from celadon.domain.decisions.delivery import Attempt, Trouble
from celadon.domain.decisions.notification_text import (
    CLOUD_EVENTS_MEDIA_TYPE,
    Event,
    Places,
    cloud_event,
    slack_message,
)
from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.notification import TargetKind
from celadon.domain.language.shown_text import escape_json
from celadon.domain.language.targets import check_url
from celadon.domain.language.webhook_signature import parse_signing_key, signature_headers
from celadon.notifications.secrets import SecretError, Secrets
from celadon.table.notifications.targets import NotifyTargetRecord
from celadon.untimed import UNTIMED

_ANSWER_BYTES: Final = 4096
"""As much of an answer's body is read; the rest is dropped with the connection."""

_SHOWN: Final = 200


class ForbiddenAddressError(OSError):
    """The address is one that Celadon does not connect to."""


class Sender:
    """Sends notifications to targets, each over a connection of its own."""

    def __init__(
        self,
        *,
        secrets: Secrets,
        places: Places,
        timeout: timedelta,
        reach: Reach = Reach(),  # noqa: B008 - it is frozen
    ) -> None:
        """Prepare; the client is opened with the context.

        Args:
            secrets: looks up signing keys and secret URLs.
            places: what events link to.
            timeout: for one attempt as a whole.
            reach: what may be connected to.

        """
        self._secrets = secrets
        self._places = places
        self._timeout = timeout
        self._reach = reach
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the HTTP client."""
        connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=self._open_socket)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "celadon-notifications"},
            timeout=UNTIMED,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    async def send(self, target: NotifyTargetRecord, event: Event) -> Attempt:
        """Attempt one delivery; every way in which it can fail is a way in which it ends."""
        try:
            url = self._url(target)
            body, headers = self._request(target, event)
        except SecretError as error:
            return Attempt(trouble=Trouble.NETWORK, error=str(error))
        except ValueError as error:
            return Attempt(trouble=Trouble.FORBIDDEN, error=str(error))
        return await self._post(url, body, headers)

    def _url(self, target: NotifyTargetRecord) -> str:
        if target.url_secret is not None:
            return check_url(self._secrets.read(target.url_secret))
        if target.url is None:
            raise ValueError("the target has no URL")
        return check_url(target.url)

    def _request(self, target: NotifyTargetRecord, event: Event) -> tuple[bytes, dict[str, str]]:
        match target.kind:
            case TargetKind.SLACK:
                return _encode(slack_message(event, self._places)), {"Content-Type": "application/json"}
            case TargetKind.WEBHOOK:
                keys = [parse_signing_key(self._secrets.read(name)) for name in target.signing_secrets]
                body = _encode(cloud_event(event, self._places))
                return body, {
                    "Content-Type": f"{CLOUD_EVENTS_MEDIA_TYPE}; charset=utf-8",
                    **signature_headers(event.id, datetime.now(UTC), body, keys),
                }

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Attempt:
        if self._session is None:
            raise RuntimeError("the sender has not been opened: enter it with `async with`")
        try:
            async with (
                asyncio.timeout(self._timeout.total_seconds()),
                self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                said = await answer.content.read(_ANSWER_BYTES)
                return Attempt(
                    status=answer.status,
                    error=_explain(answer.status, said, url),
                    retry_after=_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC)),
                )
        except TimeoutError:
            return Attempt(trouble=Trouble.NETWORK, error=f"no answer within {self._timeout.total_seconds():g} s")
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, ForbiddenAddressError):
                return Attempt(trouble=Trouble.FORBIDDEN, error=str(error.os_error))
            return Attempt(trouble=Trouble.NETWORK, error=f"cannot be reached: {_reason(error.os_error)}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Texts of the client's errors may hold the URL, which may be a secret.
            return Attempt(trouble=Trouble.NETWORK, error=f"no answer that can be read ({type(error).__name__})")

    def _open_socket(self, address: aiohttp.connector.AddrInfoType) -> socket.socket:
        """Open the socket for the very address that will be connected to, unless it is a forbidden one."""
        family, kind, protocol, _, where = address
        refusal = self._reach.refuse(str(where[0]), int(where[1]))
        if refusal:
            raise ForbiddenAddressError(refusal)
        return socket.socket(family, kind, protocol)


def _encode(content: object) -> bytes:
    return escape_json(json.dumps(content, ensure_ascii=False, separators=(",", ":"))).encode()


def _explain(status: int, said: bytes, url: str) -> str:
    """Return what an answer that is no success says, in a line that does not show the target's URL."""
    if 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return ""
    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirects
        return "a redirect, which is not followed"
    words = " ".join(said.decode(errors="replace").replace(url, "[url]").split())
    return words[:_SHOWN]


def _retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read ``Retry-After``: seconds or a date; what is neither says nothing."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return timedelta(seconds=min(int(value), 86_400 * 365))
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return max(at - now, timedelta(0))


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its name does not resolve"
    return error.strerror or type(error).__name__
