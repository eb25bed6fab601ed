"""Messages of the xDS API in a descriptor pool of the gateway's own.

Nothing is registered in protobuf's default pool, so whatever else lives in the process (OpenTelemetry's exporters,
Temporal's SDK) may bring descriptors of the same names. Messages are written as plain mappings with the field names of
Envoy's documentation; durations are ``timedelta``. (Constructing from mappings costs a twentieth of parsing JSON.)
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Final, TypeAlias

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

DESCRIPTORS: Final = "descriptors.binpb"
TYPE_URL_PREFIX: Final = "type.googleapis.com/"

_LENGTH_DELIMITED: Final = 2
_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80
"""The encoding of protobuf: how a message's field begins, and how its number and length are written."""

Value: TypeAlias = "str | bytes | bool | int | timedelta | Message | Fields | Sequence[Value]"
Fields: TypeAlias = Mapping[str, "Value"]


class DescriptorsMissingError(RuntimeError):
    """The package was put on the path without being built, so the xDS descriptors are not there."""

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(
            f"celadon/gateway/{DESCRIPTORS} is missing: it is written when the package is built. "
            "Install Celadon (pip install -e . from a source tree) and start again.",
        )


@cache
def _pool() -> DescriptorPool:
    """Return the pool, filled once; raises :class:`DescriptorsMissingError`."""
    try:
        serialised = (files("celadon.gateway") / DESCRIPTORS).read_bytes()
    except FileNotFoundError as missing:
        raise DescriptorsMissingError from missing
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(serialised).file:
        pool.Add(file)
    return pool


@cache
def message_class(name: str) -> type[Message]:
    """Return the class of the message with this full name; raises ``KeyError`` for one that was not shipped."""
    return GetMessageClass(_pool().FindMessageTypeByName(name))


def message(name: str, fields: Fields) -> Message:
    """Return a message; raises ``ValueError`` or ``TypeError`` for a field that it does not have."""
    return message_class(name)(**fields)


def serialise(name: str, fields: Fields) -> bytes:
    """Return a message on the wire: the same fields always give the same bytes."""
    return message(name, fields).SerializeToString(deterministic=True)


def pack(name: str, fields: Fields) -> Fields:
    """Return the fields of an ``Any`` that holds the message."""
    return {"type_url": TYPE_URL_PREFIX + name, "value": serialise(name, fields)}


def embed(name: str, field: str, value: bytes) -> bytes:
    """Return a message on the wire that has one field alone, which is the message that ``value`` is on the wire.

    Serialised messages of one type, joined, are one message with all their fields; so a large message is put together
    of parts that are serialised already, without parsing them.
    """
    descriptor = message_class(name).DESCRIPTOR.fields_by_name[field]
    return _varint(descriptor.number << 3 | _LENGTH_DELIMITED) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > _SEVEN_BITS:
        encoded.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
