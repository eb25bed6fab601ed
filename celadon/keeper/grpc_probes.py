"""Probes over gRPC: one call over a connection of its own.

The two questions and their answers have one field each, of the same shape, so no generated messages are needed.
"""

import asyncio
import os
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Final

# gRPC's handlers of a fork restart its threads in the child, and the worker starts replicas without forking itself.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import grpc
import grpc.aio

from celadon.domain.language.probe import GrpcProbe, GrpcQuestion
from celadon.provisioners.protocol import Address

_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    # Else the pause after a refused connection would be shared with the next probe, which then makes none.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 65_536),
    ("grpc.primary_user_agent", "celadon-keeper"),
)
_WELL: Final = 1
_HEALTH: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_NAME_FIELD: Final = b"\x0a"
_MORE: Final = 0x80
"""Set in each byte of a number but for the last."""

_VARINT: Final = 0
_FIXED_64: Final = 1
_BYTES: Final = 2
_FIXED_32: Final = 5


async def call(address: Address, probe: GrpcProbe) -> str:
    """Ask a replica once; return what is wrong, empty for nothing."""
    asked = f"{probe.question.value.removeprefix('/')} of {probe.name!r}"
    try:
        async with asyncio.timeout(probe.timeout.total_seconds()):
            answer = await _call(address, probe)
    except TimeoutError:
        return f"{asked}: no answer within {probe.timeout.total_seconds():g}s"
    except grpc.aio.AioRpcError as error:
        details = error.details()
        return f"{asked}: {error.code().name}" + (f": {details}" if details else "")
    except ValueError:
        return f"{asked}: the answer cannot be read"
    if answer == _WELL:
        return ""
    return f"{asked}: answered {_describe(probe.question, answer)}"


def _describe(question: GrpcQuestion, answer: int) -> str:
    return _HEALTH.get(answer, str(answer)) if question is GrpcQuestion.HEALTH else "that it is not ready"


async def _call(address: Address, probe: GrpcProbe) -> int:
    async with grpc.aio.insecure_channel(_target(address), options=_OPTIONS) as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(probe.question.value)
        answer = await ask(_with_name(probe.name))
    return _number_of(answer)


def _target(address: Address) -> str:
    """Return the address so that no name is looked up."""
    kind = "ipv6" if isinstance(ip_address(address.host), IPv6Address) else "ipv4"
    return f"{kind}:{address}"


def _with_name(name: str) -> bytes:
    """Return a message whose first field is a text, of less than 16,384 bytes."""
    text = name.encode()
    if not text:
        return b""
    length = bytes([len(text)]) if len(text) < _MORE else bytes([len(text) % _MORE | _MORE, len(text) // _MORE])
    return _NAME_FIELD + length + text


def _number_of(message: bytes) -> int:
    """Return the first field of a message, a number; 0 when it is left out.

    Raises:
        ValueError: it is no message.

    """
    rest, number = iter(message), 0
    while (key := next(rest, None)) is not None:
        kind, field = key & 7, key >> 3
        if kind == _VARINT:
            value = _varint(rest)
            number = value if field == 1 else number
        elif kind in {_FIXED_64, _FIXED_32}:
            _skip(rest, 8 if kind == _FIXED_64 else 4)
        elif kind == _BYTES:
            _skip(rest, _varint(rest))
        else:
            raise ValueError(f"there is no field of kind {kind}")
    return number


def _varint(rest: Iterator[int]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = next(rest, None)
        if byte is None:
            break
        value |= (byte % _MORE) << shift
        if byte < _MORE:
            return value
    raise ValueError("a number does not end")


def _skip(rest: Iterator[int], count: int) -> None:
    for _ in range(count):
        if next(rest, None) is None:
            raise ValueError("a field does not end")
