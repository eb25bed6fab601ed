"""Change notifications: one LISTEN connection a process fans out to all who wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Select, func, select

from celadon.table.core.connecting import connect
from celadon.table.core.trouble_log import TroubleLog

ROUTES_CHANNEL: Final = "celadon_routes"
ACKS_CHANNEL: Final = "celadon_acks"
ALL_DEPLOYMENTS: Final = "*"
"""The payload of an acknowledgement of many deployments at once."""
NOTIFICATIONS_CHANNEL: Final = "celadon_notifications"
ENROLMENTS_CHANNEL: Final = "celadon_enrolments"
"""Names the router that was enrolled or forgotten; what a gateway believes changes with it."""
NEXT_CHANNEL: Final = "celadon_next"
"""Names the deployment of a rollout that has waited, and whose turn it is."""
EVENTS_CHANNEL: Final = "celadon_events"
"""Names the deployment of every line that the audit log gets; a trigger tells it."""

_CHANNELS: Final = (
    ROUTES_CHANNEL,
    ACKS_CHANNEL,
    NOTIFICATIONS_CHANNEL,
    ENROLMENTS_CHANNEL,
    NEXT_CHANNEL,
    EVENTS_CHANNEL,
)

LISTENER_LOST: Final = "listener_lost"
"""What is logged when the connection is lost, or cannot be made."""

MOST_PAYLOADS: Final = 1_000
"""Different payloads that are kept for a waiter who does not ask for them."""

_RECONNECT_SECONDS = 0.5
_PING_SECONDS = 5.0


def notification(channel: str, payload: str) -> Select[tuple[None]]:
    """Return the statement that notifies ``channel`` when its transaction commits; at most 8,000 bytes of payload."""
    return select(func.pg_notify(channel, payload))


class ChannelSubscription:
    """What one waiter has not heard yet, each payload once.

    After a reconnect, and in place of more than :data:`MOST_PAYLOADS`, it hears an empty payload: reread everything.
    """

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self._payloads: dict[str, None] = {}
        self._heard = asyncio.Event()

    def put(self, payload: str) -> None:
        """Wake the waiter with one payload."""
        self._payloads[payload] = None
        if len(self._payloads) > MOST_PAYLOADS:
            self._payloads = {"": None}
        self._heard.set()

    async def get(self, timeout_seconds: float) -> list[str]:
        """Wait for payloads, at most ``timeout_seconds``; return those that came, an empty list at the timeout."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._heard.wait()
        self._heard.clear()
        payloads, self._payloads = self._payloads, {}
        return list(payloads)


class Listener:
    """Holds the LISTEN connection, reconnects for ever, and tells every subscriber to reread after a gap."""

    def __init__(self, database_url: str, application_name: str, trouble: TroubleLog | None = None) -> None:
        """Prepare; the connection is made when the context is entered. What goes wrong is told by ``trouble``."""
        self._database_url = database_url
        self._application_name = application_name
        self._subscriptions: dict[str, set[ChannelSubscription]] = {channel: set() for channel in _CHANNELS}
        self._task: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()
        self._trouble = trouble or TroubleLog(LISTENER_LOST)

    async def __aenter__(self) -> Self:
        """Start to listen in the background."""
        self._task = asyncio.create_task(self._listen(), name="celadon-listener")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop to listen."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextlib.asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[ChannelSubscription]:
        """Hear ``channel`` from now on.

        Raises:
            KeyError: there is no such channel.

        """
        subscription = ChannelSubscription()
        self._subscriptions[channel].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[channel].discard(subscription)

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except Exception as error:  # noqa: BLE001 - it is told; a wrong password may be put right meanwhile
                self._trouble.tell(error)
            self.connected.clear()
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        """Listen until the connection is lost."""
        connection = await connect(self._database_url, self._application_name, timeout=_PING_SECONDS)
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        try:
            for channel in self._subscriptions:
                await connection.add_listener(channel, self._tell)
            self.connected.set()
            self._trouble.is_over()
            for subscriptions in self._subscriptions.values():
                for subscription in subscriptions:
                    subscription.put("")
            while not closed.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PING_SECONDS):
                        await closed.wait()
                if not closed.is_set():
                    await connection.execute("select 1", timeout=_PING_SECONDS)
        finally:
            connection.terminate()

    def _tell(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        for subscription in self._subscriptions[channel]:
            subscription.put(str(payload))
