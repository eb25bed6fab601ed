"""Calls of Celadon's API over HTTP: what it answers, what it refuses, and what it means when it says nothing."""

# ruff: noqa: PLC0415 - most commands follow no stream, and log nothing

import asyncio
import json
import os
import ssl
import time
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import BaseModel, ValidationError

from celadon.cli.access.http_requests import AnswerBrokenError, HttpAnswer, HttpRequests, NotConnectedError
from celadon.cli.access.server_sent_events import ServerSentEvent
from celadon.cli.faults import OUTAGE_STATUSES, ApiError, CommandError, OutageError
from celadon.cli.log_lines import log_warning
from celadon.cli.target import CA_VARIABLE, ApiTarget
from celadon.cli.token_expiry import has_expired
from celadon.client.patience import UPDATE_PATIENCE, NoAnswerError
from celadon.domain.language.base_models import Record
from celadon.domain.language.error_words import problems_of
from celadon.domain.language.errors import Refusal, RefusalCode, RefusedError
from celadon.domain.language.states import Channel

READING: Final = timedelta(seconds=30)
CHANGING: Final = UPDATE_PATIENCE + timedelta(seconds=15)
"""A decision is answered when the routers have acknowledged."""
CONNECTING: Final = timedelta(seconds=5)
STREAM_SILENCE: Final = timedelta(seconds=45)
"""The API says something every 15 s, so a stream that is silent for so long is dead."""

FIRST_PAUSE: Final = timedelta(seconds=0.5)
LONGEST_PAUSE: Final = timedelta(seconds=10)
OUTAGE_PATIENCE: Final = timedelta(seconds=30)
"""How long a request is repeated while the API, or what stands before it, is away: longer than a restart takes."""
FIRST_PATIENCE: Final = timedelta(seconds=5)
"""How long the first request is repeated where the connection is refused: an API that is restarted listens again by
then, and whoever has mistyped the port is told soon."""
_LONGEST_RATE_PAUSE: Final = 5.0

ModelT = TypeVar("ModelT", bound=BaseModel)


class _Problem(Record):
    """An error as the API tells it (RFC 9457)."""

    detail: str
    code: str
    next_step: str = ""


class UnreachedError(OutageError):
    """Nobody was there to take a request."""

    is_refused = False
    """Whether the machine answered that nothing listens at the port, as while an API is restarted."""


class AnswerLostError(NoAnswerError):
    """A request was taken, or may have been, and its answer was lost: it can be repeated under the same id."""


class ApiCalls:
    """Calls one API as one caller; ``calling`` opens it.

    A request that meets an outage is repeated for ``OUTAGE_PATIENCE``, under the same id. An address at which nobody
    has answered this command yet is rather a mistake: it is told at once, or after ``FIRST_PATIENCE`` where the
    connection is refused, which an API that is restarted does for a moment.
    """

    def __init__(
        self, target: ApiTarget, patience: timedelta = OUTAGE_PATIENCE, first_patience: timedelta = FIRST_PATIENCE
    ) -> None:
        """Call ``target``; last for ``patience`` in an outage, for ``first_patience`` before the first answer.

        Raises:
            CommandError: the authority's certificate cannot be read.

        """
        self._target = target
        self._patience = patience
        self._first_patience = min(patience, first_patience)
        self._has_answered = False
        self._headers = {
            "authorization": f"Bearer {target.token.get_secret_value()}",
            "x-celadon-door": Channel.CLI.value,
            "user-agent": "celadon-cli",
        }
        self._trust = _trust(target)
        self._proxy = _proxy_of(target.url)
        self._http = HttpRequests(
            target.url, self._headers, connecting=CONNECTING, trust=self._trust, proxy=self._proxy
        )

    def close(self) -> None:
        """Leave nothing open."""
        self._http.close()

    async def get(self, path: str, answer: type[ModelT], **query: object) -> ModelT:
        """Read something.

        Raises:
            CommandError: the API is away, or answers what cannot be understood.
            RefusedError: it refuses.

        """
        try:
            return await self._through_outages(lambda: self._call("GET", path, answer, query=query), repeats=True)
        except NoAnswerError as error:
            raise OutageError(f"{error}; {self._target.when_away}") from error

    async def change(
        self,
        method: str,
        path: str,
        answer: type[ModelT],
        *,
        body: BaseModel | Mapping[str, object] | None = None,
        request_id: str | None = None,
        twice_is_once: bool = False,
        **query: object,
    ) -> ModelT:
        """Change something; repeated in an outage when it has an id, or when to do it ``twice_is_once``.

        Raises:
            NoAnswerError: it is not known whether it was done.
            CommandError: the API is away, or answers what cannot be understood.
            RefusedError: it refuses.

        """
        return await self._through_outages(
            lambda: self._call(method, path, answer, query=query, body=body, request_id=request_id),
            repeats=request_id is not None or twice_is_once,
        )

    async def _through_outages(self, call: Callable[[], Awaitable[ModelT]], *, repeats: bool) -> ModelT:
        """Repeat a call until it is answered, or patience with an outage has ended."""
        pause, began, may_be_done, said = FIRST_PAUSE, None, False, False
        while True:
            try:
                return await call()
            except (UnreachedError, AnswerLostError, ApiError) as error:
                may_be_done |= isinstance(error, AnswerLostError)
                wait = self._pause_after(error, pause)
                if repeats and wait is not None and _is_rate_limit(error):
                    await asyncio.sleep(wait.total_seconds())
                    continue
                now = time.monotonic()
                began = now if began is None else began
                patience = self._patience_with(error)
                if wait is None or not repeats or now + wait.total_seconds() > began + patience.total_seconds():
                    if may_be_done and isinstance(error, UnreachedError):
                        raise AnswerLostError(str(error)) from error
                    raise
                if not said:
                    again = f"it is asked again for {patience.total_seconds():.0f} s"
                    log_warning("api_away", url=self._target.url, reason=str(error), next_step=again)
                said = True
            await asyncio.sleep(wait.total_seconds())
            pause = min(pause * 2, LONGEST_PAUSE)

    def _pause_after(self, error: Exception, pause: timedelta) -> timedelta | None:
        """Return how long to wait before a call is repeated; nothing when that is of no use."""
        match error:
            case UnreachedError():
                return pause if self._has_answered or error.is_refused else None
            case ApiError(status=HTTPStatus.TOO_MANY_REQUESTS, retry_after=seconds):
                return timedelta(seconds=seconds) if seconds <= _LONGEST_RATE_PAUSE else None
            case ApiError():
                return max(pause, timedelta(seconds=error.retry_after)) if error.status in OUTAGE_STATUSES else None
            case _:
                return pause

    def _patience_with(self, error: Exception) -> timedelta:
        """Return how long a call is repeated after the first such error."""
        is_first = isinstance(error, UnreachedError) and not self._has_answered
        return self._first_patience if is_first else self._patience

    async def events(self, path: str) -> AsyncGenerator[ServerSentEvent, None]:
        """Follow a live stream for ever; one that breaks is resumed after its last numbered event.

        Raises:
            CommandError: the API does not let the caller in.
            RefusedError: it refuses.

        """
        from celadon.cli.access.live_stream import StreamLostError

        last: str | None = None
        pause = FIRST_PAUSE
        lost = False
        while True:
            try:
                async with self._stream(path, last) as events:
                    async for event in events:
                        lost, pause = False, FIRST_PAUSE
                        last = event.identity or last
                        yield event
                reason = "it ended"
            except StreamLostError as error:
                reason = str(error)
            except AnswerLostError as error:
                reason = str(error)
            except ApiError as error:
                if not error.may_pass:
                    raise
                reason = str(error)
                pause = max(pause, timedelta(seconds=error.retry_after))
            if not lost:
                log_warning("stream_lost", url=self._target.url, reason=reason)
            lost = True
            await asyncio.sleep(pause.total_seconds())
            pause = min(pause * 2, LONGEST_PAUSE)

    @asynccontextmanager
    async def _stream(self, path: str, last: str | None) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        from celadon.cli.access.live_stream import open_stream

        async with open_stream(
            self._target.url + path,
            self._headers | ({} if last is None else {"last-event-id": last}),
            trust=self._trust,
            proxy=self._proxy,
            connecting=CONNECTING,
            silence=STREAM_SILENCE,
        ) as opened:
            if isinstance(opened, HttpAnswer):
                raise self._refusal(opened)
            yield opened

    async def _call(
        self,
        method: str,
        path: str,
        answer: type[ModelT],
        *,
        query: Mapping[str, object],
        body: BaseModel | Mapping[str, object] | None = None,
        request_id: str | None = None,
    ) -> ModelT:
        content = body.model_dump(mode="json", exclude_unset=True) if isinstance(body, BaseModel) else body
        asked = urlencode({name: _as_text(value) for name, value in query.items() if value is not None})
        headers = {} if content is None else {"content-type": "application/json"}
        try:
            response = await self._http.send(
                method,
                f"{path}?{asked}" if asked else path,
                headers=headers if request_id is None else headers | {"idempotency-key": request_id},
                content=None if content is None else json.dumps(content).encode(),
                within=READING if method == "GET" else CHANGING,
            )
        except NotConnectedError as error:
            if isinstance(error.cause, ssl.SSLCertVerificationError):
                raise CommandError(
                    f"the certificate of {self._target.url} is not trusted ({error.cause}); set {CA_VARIABLE} "
                    "to the file of the authority that has signed it",
                ) from error
            raise self._away(error.cause) from error
        except TimeoutError as error:
            # It has been waited for longer than any outage is.
            raise NoAnswerError(f"the API at {self._target.url} did not answer: {_reason(error)}") from error
        except AnswerBrokenError as error:
            raise AnswerLostError(f"the API at {self._target.url} did not answer: {error}") from error
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(response)
        self._has_answered = True
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise self._not_understood(problems_of(error).partition("; ")[0]) from error

    def _away(self, error: BaseException) -> UnreachedError:
        unreached = UnreachedError(
            f"the API does not answer at {self._target.url}: {_reason(error)}; {self._target.when_away}",
        )
        unreached.is_refused = isinstance(error, ConnectionRefusedError)
        return unreached

    def _not_understood(self, told: str) -> CommandError:
        return CommandError(
            f"{self._target.url} does not answer as Celadon's API of this version does ({told}); check the address "
            f"({self._target.described}) and that both are of the same version",
        )

    def _refusal(self, answer: HttpAnswer) -> Exception:
        """Return the error for an answer that is none."""
        try:
            problem = _Problem.model_validate_json(answer.content)
        except ValidationError:
            if answer.status in OUTAGE_STATUSES:
                return AnswerLostError(
                    f"the API at {self._target.url} did not answer: what stands before it, a proxy for example, "
                    f"answered {answer.status} {HTTPStatus(answer.status).phrase}",
                )
            return self._not_understood(f"status {answer.status}")
        self._has_answered = True
        if problem.code == RefusalCode.NO_ANSWER:
            return NoAnswerError(problem.detail)
        if problem.code in {code.value for code in RefusalCode}:
            code = RefusalCode(problem.code)
            return RefusedError(Refusal(code=code, message=problem.detail, next_step=problem.next_step))
        next_step = problem.next_step
        if answer.status == HTTPStatus.UNAUTHORIZED:
            if has_expired(self._target.token.get_secret_value()):
                return ApiError(
                    problem.code,
                    f"the token of {self._target.described} has expired",
                    self._target.when_expired,
                    status=answer.status,
                )
            next_step = f"the token is from {self._target.described}; an operator makes another: celadon token create"
        return ApiError(
            problem.code,
            problem.detail,
            next_step,
            status=answer.status,
            retry_after=_seconds(answer.headers.get("retry-after")),
        )


@asynccontextmanager
async def calling(
    target: ApiTarget, patience: timedelta = OUTAGE_PATIENCE, first_patience: timedelta = FIRST_PATIENCE
) -> AsyncIterator[ApiCalls]:
    """Open what calls an API, and lasts for ``patience`` in an outage, for ``first_patience`` before the first answer.

    Raises:
        CommandError: the authority's certificate cannot be read, or the token is none.

    """
    if not is_token(target.token.get_secret_value()):
        raise CommandError(f"the token of {target.described} is none: it is empty, or holds spaces or other signs")
    calls = ApiCalls(target, patience, first_patience)
    try:
        yield calls
    finally:
        calls.close()


def is_token(text: str) -> bool:
    """Whether ``text`` can be a token: what can travel in a header, without spaces."""
    return text.isascii() and text.isprintable() and text != "" and " " not in text


def segment(name: str) -> str:
    """Return a name as one segment of a path."""
    return quote(name, safe="")


def _trust(target: ApiTarget) -> ssl.SSLContext | None:
    if not target.ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=target.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise CommandError(
            f"the authority's certificate {target.ca_file} cannot be read: {error}; correct {CA_VARIABLE} or the "
            "profile's ca_file",
        ) from error


def _proxy_of(url: str) -> str | None:
    """Return the proxy of the environment; through it goes only what TLS keeps from its eyes."""
    parts = urlsplit(url)
    if parts.scheme != "https" or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get("https")


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "nothing came in time"
    # The numbers of TLS are not the system's.
    number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    return os.strerror(number) if number is not None and number > 0 else str(error) or type(error).__name__


def _is_rate_limit(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.status == HTTPStatus.TOO_MANY_REQUESTS


def _seconds(given: str | None) -> float:
    return float(given) if given is not None and given.isdecimal() else 0.0


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
