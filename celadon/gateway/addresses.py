"""``host:port`` as settings and the command line write it."""

from ipaddress import ip_address
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, model_validator

MAX_PORT: Final = 65535


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
