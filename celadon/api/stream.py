"""Live changes as server-sent events: lines of the audit log by their number, and how deployments stand.

Four kinds of event: ``audit`` (a line of the audit log; its ``id`` resumes a stream that broke), ``deployment`` (how
one deployment stands, when that has changed), ``deployments`` (in a stream of all: the first page of the list, then
those that have changed) and ``gone`` (why the stream ends).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Final

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from celadon.api.feed import ChangeFeed
from celadon.api.problems import HttpRefusal
from celadon.api.reading import share_of
from celadon.api.serving import ApiService
from celadon.api.streams import Streams
from celadon.api.times import USUAL_TIMES, ApiTimes
from celadon.api.topics import DeploymentTopic, ScopeTopic, StreamLine, event_text, lines_of
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.service.principal import Principal
from celadon.service.views.deployments import read_deployments
from celadon.service.views.events import lines_after, place_of_line
from celadon.table.core.paging import LONGEST_PAGE
from celadon.table.read.event_order import BEGINNING

HEARTBEAT_SECONDS: Final = 15.0
"""A comment at least so often, so that a proxy does not take the stream for dead."""

FIRST_PAGE: Final = 100
"""How many deployments a stream of all begins with."""


log = structlog.get_logger()


class ChangeStream:
    """One caller's stream of one deployment, or of all that it may see."""

    def __init__(
        self,
        service: ApiService,
        feed: ChangeFeed,
        who: Principal,
        deployment: str | None,
        known: Callable[[], Awaitable[Principal | None]],
        times: ApiTimes = USUAL_TIMES,
    ) -> None:
        """Follow ``deployment``, or all, while ``known`` says that the caller is who it was."""
        self._check_seconds = times.caller_check.total_seconds()
        self._service = service
        self._feed = feed
        self._who = who
        self._deployment = deployment
        self._known = known
        self._checked_at = 0.0
        self._version = -1
        self._place = BEGINNING

    async def events(self, after: int | None, streams: Streams) -> AsyncGenerator[str]:
        """Yield events until the caller goes away or may no longer see the deployment.

        Args:
            after: the number of the last line that the caller has; nothing to begin with what comes now.
            streams: counts open streams.

        Raises:
            HttpRefusal: before the first event; too many streams are open.

        """
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as held:
            held.enter_context(streams.one_more(share_of(self._who)))
            topic: DeploymentTopic | ScopeTopic
            if self._deployment is None:
                topic = await held.enter_async_context(self._feed.follow_scope(self._who.scope))
            else:
                topic = await held.enter_async_context(self._feed.follow_deployment(self._deployment))
            self._place = topic.place if after is None else await place_of_line(self._service, self._who, after)
            yield f"retry: 2000\n: celadon, from line {self._place.line}\n\n"
            said_at = self._checked_at = loop.time()
            # A topic shows nothing before it was read for the first time.
            seen = 0
            while not topic.failed:
                await topic.news(seen, min(HEARTBEAT_SECONDS, self._check_seconds))
                seen = topic.turn
                try:
                    await self._check_caller()
                    if not seen:
                        continue
                    topic.refuse_unseen(self._who)
                    while lines := await self._next_lines(topic):
                        for line in lines:
                            self._place, said_at = line.place, loop.time()
                            yield line.event
                    state = await self._state(topic)
                except RefusedError as error:
                    yield event_text("gone", error.refusal.model_dump_json())
                    return
                except HttpRefusal:
                    # This caller's other reads are many: it is told when they are fewer.
                    await asyncio.sleep(1)
                    seen = -1
                    continue
                if state:
                    said_at = loop.time()
                    yield state
                elif loop.time() - said_at >= HEARTBEAT_SECONDS:
                    said_at = loop.time()
                    yield ": alive\n\n"

    async def _check_caller(self) -> None:
        """End the stream of a caller whose token was revoked, has expired, or may something else by now.

        Raises:
            RefusedError: it is so.

        """
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < self._check_seconds:
            return
        self._checked_at = now
        if await self._known() != self._who:
            raise refuse(
                RefusalCode.FORBIDDEN,
                "the caller's token was revoked, has expired, or may something else by now",
                "follow again with a good token",
            )

    async def _next_lines(self, topic: DeploymentTopic | ScopeTopic) -> list[StreamLine]:
        """Return the next lines: those that the topic keeps no more from the table, page after page."""
        while self._place < topic.kept_from:
            kept_from = topic.kept_from
            page = await lines_after(self._service, self._who, self._deployment, self._place, limit=LONGEST_PAGE)
            if page.events:
                return lines_of(page)
            # Between the two there is none that this caller sees.
            self._place = kept_from
        return topic.lines_after(self._place)

    async def _state(self, topic: DeploymentTopic | ScopeTopic) -> str | None:
        """Return how things stand as an event, when that is another way than last time."""
        if topic.version == self._version:
            return None
        seen, self._version = self._version, topic.version
        if isinstance(topic, DeploymentTopic):
            return topic.state or None
        changes = None if seen < 0 else topic.changes_after(seen)
        if changes is not None:
            return changes
        # At the beginning, and to whoever was too slow for what is kept.
        listed = await read_deployments(self._service, self._who, limit=FIRST_PAGE)
        return event_text("deployments", listed.model_dump_json())


class ChangeResponse(StreamingResponse):
    """A stream whose head is sent when its first event is there.

    So a stream that is refused is answered as any request is, and who has the head misses nothing that comes after it.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str], times: ApiTimes = USUAL_TIMES) -> None:
        """Send ``events``, unbuffered by proxies."""
        self._patience = times.send
        super().__init__(events, headers={"x-accel-buffering": "no"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        """Send the head and the events; close them however the caller went away, and when it takes nothing."""

        async def send_soon(message: Message) -> None:
            try:
                async with asyncio.timeout(self._patience.total_seconds()):
                    await send(message)
            except TimeoutError:
                log.info("stream_dropped", why="the reader takes nothing")
                raise

        async with aclosing(self._events) as events:
            self.body_iterator = _led_by(await anext(events), events)
            await super().stream_response(send_soon)


async def _led_by(first: str, events: AsyncGenerator[str]) -> AsyncGenerator[str]:
    yield first
    async for event in events:
        yield event
