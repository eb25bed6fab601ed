"""Addresses as settings and the command line write them: ``host:port``, or ``unix:/path`` for a Unix socket."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, model_validator

MAX_PORT: Final = 65535

MAX_SOCKET_PATH: Final = 107
"""Bytes that Linux takes in the path of a Unix socket."""

UNIX_SCHEME: Final = "unix:"


class SocketAddress(BaseModel):
    """A TCP address; parsed from ``host:port``, with brackets around an IPv6 host."""

    model_config = ConfigDict(frozen=True)

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(gt=0, le=MAX_PORT)]

    @model_validator(mode="wrap")
    @classmethod
    def _parse(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(value, str):
            return handler(value)
        host, separator, port = value.rpartition(":")
        if not separator or not port.isdecimal():
            raise ValueError(f"{value!r} is no address: write host:port, for example 127.0.0.1:18000")
        return handler({"host": host.removeprefix("[").removesuffix("]"), "port": int(port)})

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address rather than a name to be resolved."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        """Return ``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(BaseModel):
    """A Unix socket; parsed from ``unix:/path``."""

    model_config = ConfigDict(frozen=True)

    path: Path

    @model_validator(mode="wrap")
    @classmethod
    def _parse(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, str):
            if not value.startswith(UNIX_SCHEME):
                raise ValueError(f"{value!r} is no Unix socket: write unix:/path")
            value = {"path": value.removeprefix(UNIX_SCHEME)}
        address = handler(value)
        check_socket_path(address.path)
        return address

    def __str__(self) -> str:
        """Return ``unix:/path``."""
        return f"{UNIX_SCHEME}{self.path}"


GatewayAddress: TypeAlias = SocketAddress | UnixAddress
"""Where a gateway listens, and where a router reaches it."""


def parse_gateway_address(value: object) -> object:
    """Return the address that a text means, and anything else as it is; raises ``ValueError`` for no address."""
    if not isinstance(value, str):
        return value
    return (UnixAddress if value.startswith(UNIX_SCHEME) else SocketAddress).model_validate(value)


def check_socket_path(path: Path) -> None:
    """Raise ``ValueError`` when no Unix socket can have this path."""
    if not path.is_absolute():
        raise ValueError(
            f"{str(path)!r} is no path of a Unix socket: write it from the root on, for example /run/a.sock"
        )
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise ValueError(
            f"the path of the Unix socket {path} has {length} bytes, at most {MAX_SOCKET_PATH} are possible"
        )
