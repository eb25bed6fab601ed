"""What a router says of its own listeners, in the metadata with which it introduces itself to a gateway."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Protocol

from celadon.gateway.addresses import SocketAddress

ADDRESSES: Final = "celadon.listens"
"""Names the addresses of listeners, by their names."""

CERTIFICATE_SECRET: Final = "celadon.certificate_secret"  # noqa: S105 - a key of metadata
"""Names the file by which Envoy finds the certificate that it shows to clients."""

LONGEST_PATH_BYTES: Final = 1024


class Value(Protocol):
    """A value of ``google.protobuf.Struct``."""

    string_value: str
    struct_value: "Metadata"


class Metadata(Protocol):
    """A ``google.protobuf.Struct``."""

    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class OwnListeners:
    """What a router's listeners have of their own, where all others are as the gateway says."""

    addresses: Mapping[str, SocketAddress] = field(default_factory=dict)
    """By the name of the listener."""
    certificate_secret: str | None = None
    """Path, on the router's machine, of the file by which Envoy finds the certificate for clients; they speak TLS."""

    def __bool__(self) -> bool:
        """Whether anything is of its own."""
        return bool(self.addresses) or self.certificate_secret is not None

    def metadata(self) -> dict[str, str | dict[str, str]]:
        """Return what the router's bootstrap says of it."""
        said: dict[str, str | dict[str, str]] = {}
        if self.addresses:
            said[ADDRESSES] = {name: str(address) for name, address in self.addresses.items()}
        if self.certificate_secret is not None:
            said[CERTIFICATE_SECRET] = self.certificate_secret
        return said


AS_ALL_OTHERS: Final = OwnListeners()


def read_own_listeners(metadata: Metadata) -> OwnListeners:
    """Return what a router's metadata says.

    Raises:
        ValueError: an address is none, or the certificate's file is not named by an absolute path of at most
            :data:`LONGEST_PATH_BYTES` bytes.

    """
    fields = metadata.fields
    addresses = fields[ADDRESSES].struct_value.fields if ADDRESSES in fields else {}
    path = fields[CERTIFICATE_SECRET].string_value if CERTIFICATE_SECRET in fields else None
    if path is not None and not (PurePosixPath(path).is_absolute() and len(path.encode()) <= LONGEST_PATH_BYTES):
        raise ValueError("the file of a router's certificate is not named by an absolute path")
    return OwnListeners(
        {name: SocketAddress.model_validate(value.string_value) for name, value in addresses.items()}, path
    )
