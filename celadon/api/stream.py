"""Live changes as server-sent events: lines of the audit log by their number, and how deployments stand.

Three kinds of event: ``audit`` (a line of the audit log; its ``id`` resumes a stream that broke), ``deployment`` (how
one deployment stands, when that has changed) and ``deployments`` (the list, in a stream of all).
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Final

from starlette.responses import StreamingResponse
from starlette.types import Send

from celadon.api.desk import Desk
from celadon.api.principal import Principal
from celadon.api.streams import Streams
from celadon.domain.errors import RefusalCode, RefusedError, refuse
from celadon.table.notify import ACKS_CHANNEL, EVENTS_CHANNEL, ROUTES_CHANNEL, Listener, Subscription
from celadon.table.records.events import DeploymentEvent

HEARTBEAT_SECONDS: Final = 15.0
"""A comment at least so often, so that a proxy does not take the stream for dead."""

LOOK_SECONDS: Final = 2.0
"""Replicas may become healthy without anything that routers or the audit log must be told."""

CHECK_CALLER_SECONDS: Final = 5.0
"""How long a stream may outlive its caller's token."""

WORKFLOW_SECONDS: Final = 15.0
"""Timers run down by themselves; each question to a workflow is billed where Temporal is rented."""

_PAGE: Final = 200
_OVERLAP: Final = 200
"""Lines are numbered before they are committed: one with a lower number may be seen later."""


class ChangeStream:
    """One caller's stream of one deployment, or of all that it may see."""

    def __init__(
        self,
        desk: Desk,
        listener: Listener,
        who: Principal,
        deployment: str | None,
        known: Callable[[], Awaitable[Principal | None]],
    ) -> None:
        """Follow ``deployment``, or all, while ``known`` says that the caller is who it was."""
        self._known = known
        self._checked_at = 0.0
        self._desk = desk
        self._listener = listener
        self._who = who
        self._deployment = deployment
        self._sent: deque[int] = deque(maxlen=_OVERLAP * 2)
        self._shown = ""
        self._asked_at = 0.0

    async def events(self, after: int | None, streams: Streams) -> AsyncGenerator[str]:
        """Yield events until the caller goes away or may no longer see the deployment.

        Args:
            after: the number of the last line that the caller has; nothing to begin with what comes now.
            streams: counts open streams.

        Raises:
            DoorError: before the first event; too many streams are open.

        """
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as held:
            held.enter_context(streams.one_more())
            heard = [
                await held.enter_async_context(self._listener.subscribe(channel))
                for channel in (EVENTS_CHANNEL, ROUTES_CHANNEL, ACKS_CHANNEL)
            ]
            begun_at = await self._desk.last_event(self._who) if after is None else after
            last = begun_at
            yield f"retry: 2000\n: celadon, from line {last}\n\n"
            said_at = loop.time()
            while True:
                told = False
                try:
                    await self._check_caller()
                    while lines := await self._new_lines(last, begun_at):
                        told = True
                        for event in lines:
                            last = max(last, event.id)
                            self._sent.append(event.id)
                            yield _event("audit", event.model_dump_json(), event.id)
                    state = await self._state(ask=told)
                except RefusedError as error:
                    yield _event("gone", error.refusal.model_dump_json())
                    return
                if state is not None:
                    told = True
                    yield state
                if told:
                    said_at = loop.time()
                elif loop.time() - said_at >= HEARTBEAT_SECONDS:
                    said_at = loop.time()
                    yield ": alive\n\n"
                await _first_news(heard, LOOK_SECONDS)

    async def _check_caller(self) -> None:
        """End the stream of a caller whose token was revoked, has expired, or may something else by now.

        Raises:
            RefusedError: it is so.

        """
        now = asyncio.get_running_loop().time()
        if self._checked_at == 0.0:
            self._checked_at = now
        if now - self._checked_at < CHECK_CALLER_SECONDS:
            return
        self._checked_at = now
        if await self._known() != self._who:
            raise refuse(
                RefusalCode.FORBIDDEN,
                "the caller's token was revoked, has expired, or may something else by now",
                "follow again with a good token",
            )

    async def _new_lines(self, last: int, begun_at: int) -> tuple[DeploymentEvent, ...]:
        page = await self._desk.events(
            self._who,
            self._deployment,
            after=max(begun_at, last - _OVERLAP),
            limit=_PAGE + _OVERLAP,
        )
        return tuple(event for event in page.events if event.id not in self._sent)

    async def _state(self, *, ask: bool) -> str | None:
        """Return how things stand as an event, when that is another way than last time."""
        if self._deployment is None:
            listed = await self._desk.deployments(self._who)
            return self._if_new("deployments", listed.model_dump_json(exclude={"at"}), listed.model_dump_json())
        now = asyncio.get_running_loop().time()
        view = await self._desk.table_view(self._who, self._deployment)
        compared = view.model_dump(mode="json", exclude={"deployment": {"at", "events"}})
        if view.deployment is not None:
            # A router is seen every few seconds, which is nobody's news.
            for router in compared["deployment"]["routers"]:
                router.pop("seen_at", None)
        canonical = json.dumps(compared, sort_keys=True)
        if canonical == self._shown and not ask and now - self._asked_at < WORKFLOW_SECONDS:
            return None
        self._shown, self._asked_at = canonical, now
        whole = await self._desk.deployment(self._who, self._deployment)
        return _event("deployment", whole.model_dump_json())

    def _if_new(self, kind: str, compared: str, data: str) -> str | None:
        if compared == self._shown:
            return None
        self._shown = compared
        return _event(kind, data)


class ChangeResponse(StreamingResponse):
    """A stream whose head is sent when its first event is there.

    So a stream that is refused is answered as any request is, and who has the head misses nothing that comes after it.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str]) -> None:
        """Send ``events``, unbuffered by proxies."""
        super().__init__(events, headers={"x-accel-buffering": "no"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        """Send the head and the events; close them however the caller went away."""
        async with aclosing(self._events) as events:
            self.body_iterator = _led_by(await anext(events), events)
            await super().stream_response(send)


async def _led_by(first: str, events: AsyncGenerator[str]) -> AsyncGenerator[str]:
    yield first
    async for event in events:
        yield event


async def _first_news(heard: list[Subscription], timeout_seconds: float) -> None:
    """Wait for a notification on any channel."""
    waiting = {asyncio.create_task(one.get(timeout_seconds)) for one in heard}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _event(kind: str, data: str, identity: int | None = None) -> str:
    head = "" if identity is None else f"id: {identity}\n"
    return f"{head}event: {kind}\ndata: {data}\n\n"
