"""HTTP/1.1 as uvicorn speaks it, with an end to clients that only hold a connection.

Uvicorn has no time-out for a head that is never finished, for a body that comes byte by byte after its request was
answered, and for a client that reads nothing of what it is sent. A sweep once a second looks at every connection.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from celadon.api.client_address import counted_as, is_trusted
from celadon.domain.decisions.reachable import Network

SPARE_DESCRIPTORS: Final = 64
"""Left for Postgres, Temporal, keys and logs where the process may open fewer files than connections are allowed."""

_PROGRESS_BYTES: Final = 64 * 1024
"""Whoever reads so many while time is given reads slowly, and is left in peace."""

_BUSY: Final = (
    # A browser asks again by itself.
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 2\r\nrefresh: 3\r\n"
    b"connection: close\r\n"
    b"content-length: 30\r\n\r\ntoo many connections are open\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How long a client may take, in seconds, and how many connections there may be."""

    head_seconds: float
    """For the head of a request, from when the connection is free for one."""
    body_seconds: float
    """For the rest of a request after its head, also one that was answered before it was whole."""
    unread_seconds: float
    """For reading 64 KiB of what it is sent, or all of it."""
    connections: int
    """At the same time."""
    connections_per_address: int
    """At the same time from one address, an IPv6 one by its /64 network."""
    trusted: Sequence[Network]
    """Proxies, behind which many callers are: they may hold as many as there are."""


def possible_connections(wanted: int) -> int:
    """Return how many connections the process can hold with the files that it may open, at most ``wanted``."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - SPARE_DESCRIPTORS))


class Connections:
    """The connections of a server: how many there may be, and which has held one for too long."""

    def __init__(self, limits: ConnectionLimits) -> None:
        """Keep to ``limits``."""
        self.limits = limits
        self._open: set[GuardedProtocol] = set()
        self._by_address: Counter[str] = Counter()

    def admit(self, connection: "GuardedProtocol") -> bool:
        """Count a new connection; false when there is no room for it.

        One that waits for a request makes room, the one that has waited longest first.
        """
        address = connection.address
        alone = not is_trusted(connection.peer, self.limits.trusted)
        if alone and self._by_address[address] >= self.limits.connections_per_address:
            return False
        if len(self._open) >= self.limits.connections:
            idle = min((one for one in self._open if one.is_idle), key=lambda one: one.waits_since, default=None)
            if idle is None:
                return False
            idle.drop()
        self._open.add(connection)
        self._by_address[address] += 1
        return True

    def forget(self, connection: "GuardedProtocol") -> None:
        """Make room for another one."""
        if connection in self._open:
            self._open.discard(connection)
            self._by_address -= Counter((connection.address,))

    def sweep(self) -> None:
        """End what has taken too long."""
        now = asyncio.get_running_loop().time()
        for one in tuple(self._open):
            one.look(now)

    def end_all(self) -> None:
        """End every connection, whatever waits to be sent."""
        for one in tuple(self._open):
            one.drop()


class GuardedProtocol(H11Protocol):
    """One connection that is not held for ever."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        """Serve as uvicorn does, among ``connections``."""
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self.peer = self.address = ""
        self.waits_since = self.loop.time()
        """Since when the client owes the head, or the rest, of a request; 0 when it owes nothing."""
        self._unread_since = 0.0
        self._unread_bytes = 0
        self._owes_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Serve a connection, unless there are too many."""
        super().connection_made(transport)
        self.peer = "" if self.client is None else self.client[0]
        self.address = counted_as(self.peer)
        if not self._connections.admit(self):
            transport.write(_BUSY)
            self.server_state.connections.discard(self)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        self._connections.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what has come, and note whether more of the request is to come."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of the one that is answered."""
        super().on_response_complete()
        self._note()

    def resume_writing(self) -> None:
        """Note that the client has read nearly all."""
        self._unread_since = 0.0
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether no request runs."""
        return self.cycle is None or self.cycle.response_complete

    def look(self, now: float) -> None:
        """End the connection when the client has taken too long."""
        limits = self._connections.limits
        unread = self.transport.get_write_buffer_size()
        if unread == 0:
            self._unread_since = 0.0
        elif not self._unread_since or unread <= self._unread_bytes - _PROGRESS_BYTES:
            self._unread_since, self._unread_bytes = now, unread
        elif now - self._unread_since > limits.unread_seconds:
            self.drop()
            return
        longest = limits.body_seconds if self._owes_body else limits.head_seconds
        if self.waits_since and now - self.waits_since > longest:
            self.drop()

    def drop(self) -> None:
        """End the connection at once, and forget what waits to be sent."""
        self._connections.forget(self)
        self.transport.abort()

    def _note(self) -> None:
        """Note what the client owes."""
        state = self.conn.their_state
        owes_body = state is h11.SEND_BODY
        owes_head = state is h11.IDLE and self.is_idle
        if not (owes_body or owes_head):
            self.waits_since = 0.0
        elif owes_body is not self._owes_body or not self.waits_since:
            self.waits_since = self.loop.time()
        self._owes_body = owes_body
