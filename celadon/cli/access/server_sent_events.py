"""Reading server-sent events, as the HTML standard defines their stream."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event."""

    kind: str
    data: str
    identity: str
    """By which a stream that broke is resumed; empty when the event has none."""


async def read_events(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerSentEvent]:
    """Yield the events of a stream until it ends; comments and an event that is not whole are left out."""
    kind, identity, data = "", "", list[str]()
    async for line in _lines(chunks):
        if not line:
            if data:
                yield ServerSentEvent(kind=kind or "message", data="\n".join(data), identity=identity)
            kind, identity, data = "", "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                kind = value
            case "id":
                identity = value
            case "data":
                data.append(value)
            case _:
                pass


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Yield whole lines of any length: an event holds a deployment with all its replicas in one."""
    parts: list[bytes] = []
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        for begun in rest:
            yield b"".join(parts).decode(errors="replace").removesuffix("\r")
            parts = [begun]
