"""The gateway's settings, read from the environment."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from celadon.domain.language.domains import LOCAL_DOMAINS, Domains
from celadon.domain.language.durations import Duration
from celadon.domain.language.sizes import Size, bytes_of, size_of
from celadon.gateway.addresses import GatewayAddress, SocketAddress, parse_gateway_address
from celadon.gateway.listening import plain_tcp_refused
from celadon.gateway.routing import MAX_HEADERS_KIB, Routing

SHORTEST_PREVIEW_KEY: Final = 16
MOST_TRUSTED_HOPS: Final = 10
KIB: Final = 1 << 10
MAX_HEADERS: Final = range(KIB, 8192 * KIB + 1, KIB)
"""Sizes of headers that Envoy can be told, in bytes."""

Address = Annotated[SocketAddress, NoDecode]


class GatewaySettings(BaseSettings):
    """``DATABASE_URL`` and ``CELADON_*``; addresses are ``host:port`` and on loopback unless set otherwise.

    The gateway's own may be a Unix socket, ``unix:/path``; a TCP address needs certificates.
    """

    model_config = SettingsConfigDict(
        env_prefix="CELADON_", extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    database_url: Annotated[str, Field(validation_alias="DATABASE_URL")]
    gateway_address: Annotated[GatewayAddress, NoDecode, BeforeValidator(parse_gateway_address)] = SocketAddress(
        host="127.0.0.1", port=18000
    )
    """Where routers reach the gateway: with mutual TLS, or ``unix:/path`` for routers of the same user."""
    gateway_tls_dir: Annotated[Path | None, Field(validate_default=True)] = None
    """Has ``tls.crt`` and ``tls.key`` of the gateway, and ``ca.crt`` of routers; read again when they change."""
    gateway_metrics_address: Address | None = None
    """Where Prometheus scrapes the gateway; nowhere when not set."""
    router_address: Address = SocketAddress(host="127.0.0.1", port=8000)
    """Where every router listens for live traffic."""
    preview_router_address: Address | None = None
    """Where every router listens for traffic to green; nowhere when not set."""
    preview_key: Annotated[SecretStr, Field(min_length=SHORTEST_PREVIEW_KEY)] | None = None
    """Requests with this value in ``x-celadon-preview`` reach green on the live listener; none do when not set."""
    stream_idle_timeout: Duration = timedelta(hours=1)
    """How long a request may pass without a byte either way, a model that thinks included; ``0s`` means for ever."""
    domains: Annotated[Domains, NoDecode] = LOCAL_DOMAINS
    """Domains of the routers, separated by commas: a deployment has the host names ``NAME`` and ``NAME.DOMAIN``."""
    trusted_hops: Annotated[int, Field(ge=0, le=MOST_TRUSTED_HOPS)] = 0
    """How many proxies stand before the routers, whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed."""
    keep_request_ids: bool = False
    """Whether replicas get the ``X-Request-Id`` of clients; otherwise each request gets a new one."""
    return_request_ids: bool = False
    """Whether answers have the ``X-Request-Id`` that the replica got."""
    accept_http_10: bool = False
    """Whether clients may speak HTTP/1.0."""
    max_headers: Size = size_of(MAX_HEADERS_KIB * KIB)
    """How large the headers of a request may be, from ``1KiB`` to ``8MiB``."""

    @field_validator("gateway_tls_dir")
    @classmethod
    def _no_plain_tcp(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        address = info.data.get("gateway_address")
        if isinstance(address, SocketAddress) and value is None:
            raise ValueError(str(plain_tcp_refused(address)))
        return value

    @field_validator("max_headers")
    @classmethod
    def _can_be_told(cls, value: str) -> str:
        if bytes_of(value) not in MAX_HEADERS:
            raise ValueError(f"{value} of headers cannot be told to routers: write whole KiB, from 1KiB to 8MiB")
        return value

    def routing(self) -> Routing:
        """Return what routers are told of listeners and routes."""
        return Routing(
            live=self.router_address,
            preview=self.preview_router_address,
            preview_key=None if self.preview_key is None else self.preview_key.get_secret_value(),
            stream_idle_timeout=self.stream_idle_timeout,
            domains=self.domains,
            trusted_hops=self.trusted_hops,
            keep_request_ids=self.keep_request_ids,
            return_request_ids=self.return_request_ids,
            accept_http_10=self.accept_http_10,
            max_headers_kib=bytes_of(self.max_headers) // KIB,
        )
