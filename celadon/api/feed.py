"""The change feed of a process: one listener for all its live streams, and one read a change for all of a scope.

Changes that come together are read together. Silent changes, such as a replica that becomes healthy, are found by
looking at every topic again, one after another, so that looking takes no more than a small share of the process.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from celadon.api.times import USUAL_TIMES
from celadon.api.topics import DeploymentTopic, ScopeTopic, Topic
from celadon.client.rollouts import RolloutClient
from celadon.logs import trace_of
from celadon.table.core.engine import Table
from celadon.table.core.listen import ACKS_CHANNEL, ALL_DEPLOYMENTS, EVENTS_CHANNEL, ROUTES_CHANNEL, Listener
from celadon.table.core.outages import TableAwayError
from celadon.table.core.trouble_log import TroubleLog
from celadon.table.read.event_order import Place, newest_place

MOST_LOOKS: Final = 2
"""Topics that are read at the same time; each leaves its place free for as long again as it took."""

GATHER_SECONDS: Final = 0.05
"""Changes that come within are read together."""

HELD_BACK_SECONDS: Final = 0.1
"""Nobody tells when a transaction has ended for which lines are held back."""

_CHANNELS: Final = (EVENTS_CHANNEL, ROUTES_CHANNEL, ACKS_CHANNEL)
_LISTENING_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 1.0
_LOOKING_SHARE: Final = 0.2
_LONGEST_REST_SECONDS: Final = 1.0

log = structlog.get_logger()

_Key = tuple[str | None, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class _Followed:
    topic: Topic
    task: asyncio.Task[None]
    followers: int = 0


class ChangeFeed:
    """Reads changes for all streams of a process, while there are any."""

    def __init__(
        self,
        table: Table,
        rollouts: RolloutClient,
        listener: Listener,
        trouble: TroubleLog | None = None,
        look: timedelta = USUAL_TIMES.look,
    ) -> None:
        """Read ``table`` when ``listener`` hears of changes; workflows are asked through ``rollouts``.

        What keeps it from hearing is told by ``trouble``. Each ``look`` everything is read again.
        """
        self._look_seconds = look.total_seconds()
        self._trouble = trouble or TroubleLog("changes_not_heard")
        self._table = table
        self._rollouts = rollouts
        self._listener = listener
        self._followed: dict[_Key, _Followed] = {}
        self._looks = asyncio.Semaphore(MOST_LOOKS)
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def follow_deployment(self, name: str) -> AsyncIterator[DeploymentTopic]:
        """Follow one deployment; whoever may see it follows the same topic."""
        async with self._follow((name, ())) as topic:
            assert isinstance(topic, DeploymentTopic)  # noqa: S101 - by its key
            yield topic

    @asynccontextmanager
    async def follow_scope(self, scope: Mapping[str, str]) -> AsyncIterator[ScopeTopic]:
        """Follow all deployments within a scope; callers of the same scope follow the same topic."""
        async with self._follow((None, tuple(sorted(scope.items())))) as topic:
            assert isinstance(topic, ScopeTopic)  # noqa: S101 - by its key
            yield topic

    async def newest(self) -> Place:
        """Return the place of the newest line that can be read."""
        async with self._table.transaction() as tx:
            return await newest_place(tx)

    @asynccontextmanager
    async def _follow(self, key: _Key) -> AsyncIterator[Topic]:
        # The place is read before anything is promised: who has the head of a stream misses nothing after it.
        place = None if key in self._followed else await self.newest()
        followed = self._followed.get(key)
        if followed is None or followed.topic.failed:
            name, scope = key
            first = place if place is not None else await self.newest()
            topic: Topic = (
                ScopeTopic(first, dict(scope)) if name is None else DeploymentTopic(first, name, self._rollouts)
            )
            # Somebody else may have begun while this one read.
            followed = self._followed.get(key)
            if followed is None or followed.topic.failed:
                followed = _Followed(topic, asyncio.create_task(self._keep(topic), name="celadon-topic"))
                self._followed[key] = followed
                topic.due.set()
        followed.followers += 1
        self._begin()
        try:
            yield followed.topic
        finally:
            followed.followers -= 1
            if not followed.followers:
                if self._followed.get(key) is followed:
                    del self._followed[key]
                ending = [followed.task]
                if not self._followed:
                    ending += self._tasks
                    self._tasks = []
                await _end(ending)

    def _begin(self) -> None:
        if not self._tasks:
            self._tasks = [
                *(asyncio.create_task(self._hear(channel), name="celadon-feed") for channel in _CHANNELS),
                asyncio.create_task(self._look_again(), name="celadon-feed-looks"),
            ]

    async def _hear(self, channel: str) -> None:
        """Let every topic be read that a notification concerns, whatever one of them says."""
        while True:
            try:
                await self._hear_once(channel)
            except Exception as error:  # noqa: BLE001 - it is told, and everything is read again
                self._trouble.tell(error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _hear_once(self, channel: str) -> None:
        async with self._listener.subscribe(channel) as heard:
            # What came before this was subscribed is read now.
            self._tell(channel, {""})
            while True:
                payloads = await heard.get(_LISTENING_SECONDS)
                self._tell(channel, {_deployment_of(channel, payload) for payload in payloads})
                await asyncio.sleep(GATHER_SECONDS)

    def _tell(self, channel: str, deployments: set[str]) -> None:
        for followed in self._followed.values():
            for deployment in deployments:
                if followed.topic.concerns(channel, deployment):
                    followed.topic.due.set()

    async def _look_again(self) -> None:
        """Look at every topic from time to time, at all within ``look`` where that takes a small share."""
        while True:
            topics = [followed.topic for followed in self._followed.values()]
            for topic in topics:
                if isinstance(topic, ScopeTopic):
                    topic.sweeps = True
                topic.due.set()
                await asyncio.sleep(max(self._look_seconds / len(topics), topic.took_seconds / _LOOKING_SHARE))
            if not topics:
                await asyncio.sleep(self._look_seconds)

    async def _keep(self, topic: Topic) -> None:
        """Read a topic whenever it is due."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await topic.due.wait()
                topic.due.clear()
                try:
                    more = await self._read(topic)
                    more = await topic.ask() or more
                except TableAwayError as error:
                    log.warning("feed_lost", why=str(error))
                    loop.call_later(_RETRY_SECONDS, topic.due.set)
                    continue
                if more:
                    loop.call_later(HELD_BACK_SECONDS, topic.due.set)
        except Exception as error:  # noqa: BLE001 - a bug ends the streams that follow, not those of other topics
            log.error("feed_fault", trace=trace_of(error))  # noqa: TRY400 - without local variables
            topic.failed = True
            topic.publish()

    async def _read(self, topic: Topic) -> bool:
        loop = asyncio.get_running_loop()
        async with self._looks:
            began_at = loop.time()
            async with self._table.transaction() as tx:
                more = await topic.read(tx)
            topic.took_seconds = loop.time() - began_at
            await asyncio.sleep(min(topic.took_seconds, _LONGEST_REST_SECONDS))
        return more


def _deployment_of(channel: str, payload: str) -> str:
    """Return which deployment a notification is about; empty when it may be any."""
    if channel == EVENTS_CHANNEL or not payload:
        return payload
    name = json.loads(payload).get("deployment", "")
    return "" if name == ALL_DEPLOYMENTS else str(name)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
