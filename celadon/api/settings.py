"""What the API is told by its environment."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, HttpUrl, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from celadon.api.hosts import is_loopback
from celadon.client.signatures import SigningSettings
from celadon.domain.decisions.reachable import Networks
from celadon.domain.language.durations import Duration
from celadon.domain.language.identity import OWN_ISSUERS
from celadon.gateway.addresses import SocketAddress


def _parse_names(value: object) -> object:
    """Read names separated by commas, in lower case; nothing else is touched."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip().lower().removesuffix(".") for part in value.split(",") if part.strip())


class ApiSettings(SigningSettings):
    """``DATABASE_URL`` and ``CELADON_*``; Temporal's own variables are read by its SDK."""

    model_config = SettingsConfigDict(
        env_prefix="CELADON_", extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    database_url: Annotated[str, Field(validation_alias="DATABASE_URL")]
    api_address: Annotated[SocketAddress, NoDecode] = SocketAddress(host="127.0.0.1", port=18080)
    """Where callers reach the API, over HTTP: put what ends TLS before it."""
    console_url: HttpUrl | None = None
    """Where people reach the console, when that is another address; with ``https`` its cookie is sent over TLS only."""
    temporal_ui_url: HttpUrl | None = None
    """Where people reach Temporal's UI; the console links to workflows there."""
    api_requests_per_second: Annotated[float, Field(gt=0)] = 20.0
    """What each caller may ask for in the long run."""
    api_burst: Annotated[int, Field(ge=1)] = 60
    """What each caller may ask for at once."""
    api_failures_per_minute: Annotated[int, Field(ge=1)] = 20
    """How often an address may fail to show who it is."""
    trusted_proxies: Annotated[Networks, NoDecode] = ()
    """Networks of the proxies before the API, whose ``X-Forwarded-For`` says from which address a request comes."""
    api_max_body: Annotated[int, Field(ge=1024)] = 1024 * 1024
    """Bytes of a request's body."""
    api_head_timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=10)
    """How long a client may take for the head of a request."""
    api_body_timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=60)
    """How long a client may take for the body of a request; below 1 KiB a second its time is up before."""
    api_unread_timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=60)
    """How long a client may take to read 64 KiB of what it is sent."""
    api_max_connections: Annotated[int, Field(ge=2)] = 1000
    """Connections at the same time; half of them from one address that is no trusted proxy."""
    api_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_names)] = ()
    """Host names under which the API answers besides that of the console's URL and loopback ones, separated by commas.

    With none given, an API that listens on loopback answers no other, and one that does not answers any.
    """
    api_max_depth: Annotated[int, Field(ge=3)] = 12
    api_max_cost: Annotated[int, Field(ge=10)] = 20_000
    """Fields that a GraphQL query may ask for, each counted as often as the lists around it are long."""
    api_max_streams: Annotated[int, Field(ge=1)] = 200
    """Live streams at the same time."""
    api_max_streams_per_caller: Annotated[int, Field(ge=1)] = 20
    """Live streams of one caller at the same time; when three quarters of all are open, one."""
    oidc_issuer: str | None = None
    """Callers with a JWT of this issuer are let in; none are when not set."""
    oidc_audience: str | None = None
    oidc_jwks_url: HttpUrl | None = None
    oidc_algorithms: Annotated[tuple[str, ...], Field(min_length=1)] = ("RS256", "ES256", "EdDSA")
    oidc_name_claim: str = "sub"
    """The claim that names the caller in the audit log."""
    oidc_roles_claim: str = "roles"
    """The claim with the caller's roles; a dot leads into an object (``realm_access.roles``)."""
    oidc_role_prefix: str = ""
    """What stands before a role's name in that claim, for example ``celadon-``."""
    oidc_scope_claim: str = "celadon_scope"
    """The claim with the labels that the caller is scoped to; without it, to all deployments."""
    oidc_leeway: Duration = timedelta(seconds=30)
    """How far clocks may be apart."""

    @property
    def answered_hosts(self) -> frozenset[str] | None:
        """The host names that the API answers to besides loopback ones; nothing for any name."""
        if not self.api_hosts and not is_loopback(self.api_address.host):
            return None
        console = self.console_url.host if self.console_url is not None else None
        return frozenset(self.api_hosts) | ({console.lower()} if console else set())

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        oidc = (self.oidc_issuer, self.oidc_audience, self.oidc_jwks_url)
        if any(oidc) and not all(oidc):
            raise ValueError(
                "CELADON_OIDC_ISSUER, CELADON_OIDC_AUDIENCE and CELADON_OIDC_JWKS_URL belong together: set all or none"
            )
        if self.oidc_issuer in OWN_ISSUERS:
            raise ValueError(
                f"CELADON_OIDC_ISSUER is {self.oidc_issuer!r}, a word of Celadon's own: give the issuer's URL"
            )
        forbidden = [name for name in self.oidc_algorithms if name.lower() == "none" or name.upper().startswith("HS")]
        if forbidden:
            raise ValueError(
                f"CELADON_OIDC_ALGORITHMS names {', '.join(forbidden)}: only public-key algorithms are safe"
            )
        return self
