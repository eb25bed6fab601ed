"""What the API is told by its environment."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, HttpUrl, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from celadon.domain.durations import Duration
from celadon.gateway.addresses import SocketAddress


class ApiSettings(BaseSettings):
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
    signing_key_file: Path | None = None
    """An Ed25519 private key in PEM; without it the worker shows callers as declared, not as verified."""
    api_requests_per_second: Annotated[float, Field(gt=0)] = 20.0
    """What each caller may ask for in the long run."""
    api_burst: Annotated[int, Field(ge=1)] = 60
    """What each caller may ask for at once."""
    api_failures_per_minute: Annotated[int, Field(ge=1)] = 20
    """How often an address may fail to show who it is."""
    api_max_body: Annotated[int, Field(ge=1024)] = 1024 * 1024
    """Bytes of a request's body."""
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

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        given = (self.oidc_issuer, self.oidc_audience, self.oidc_jwks_url)
        if any(given) and not all(given):
            raise ValueError(
                "CELADON_OIDC_ISSUER, CELADON_OIDC_AUDIENCE and CELADON_OIDC_JWKS_URL belong together: set all or none"
            )
        forbidden = [name for name in self.oidc_algorithms if name.lower() == "none" or name.upper().startswith("HS")]
        if forbidden:
            raise ValueError(
                f"CELADON_OIDC_ALGORITHMS names {', '.join(forbidden)}: only public-key algorithms are safe"
            )
        return self
