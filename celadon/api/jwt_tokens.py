"""Callers with a JWT of an OpenID Connect issuer, checked against the issuer's keys."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import aiohttp
import jwt
import structlog

from celadon.api.settings import ApiSettings
from celadon.api.times import USUAL_TIMES
from celadon.domain.language.identity import check_name
from celadon.domain.language.permissions import Role
from celadon.domain.language.shown_text import find_control
from celadon.service.principal import Principal, Proof, Scheme
from celadon.untimed import UNTIMED

KEYS_LAST_SECONDS: Final = 600.0
"""After so long the issuer's keys are read anew."""

UNKNOWN_KEY_PAUSE_SECONDS: Final = 10.0
"""A token with a key that nobody knows makes the keys be read at most so often, however many of them come."""

_LONGEST_SECONDS: Final = 365 * 24 * 3600.0
_LONGEST_ANSWER: Final = 1024 * 1024

log = structlog.get_logger()


class IssuerKeys:
    """The public keys of an issuer, by their id: read when they are first needed, anew when they rotate."""

    def __init__(
        self,
        url: str,
        *,
        pause_seconds: float = UNKNOWN_KEY_PAUSE_SECONDS,
        patience: timedelta = USUAL_TIMES.key_fetch,
    ) -> None:
        """Read keys from ``url``; at most every ``pause_seconds`` because of a token with an unknown key.

        The issuer may take as long as ``patience`` for an answer.
        """
        self._patience = patience
        self._url = url
        self._pause_seconds = pause_seconds
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._reading = asyncio.Lock()

    async def find(self, identity: str) -> jwt.PyJWK | None:
        """Return a key; nothing when the issuer does not have it."""
        if self._is_fresh() and identity in self._keys:
            return self._keys[identity]
        async with self._reading:
            if (identity not in self._keys or not self._is_fresh()) and self._may_read():
                await self._read()
        return self._keys.get(identity)

    def _is_fresh(self) -> bool:
        return self._read_at is not None and time.monotonic() - self._read_at < KEYS_LAST_SECONDS

    def _may_read(self) -> bool:
        return self._tried_at is None or time.monotonic() - self._tried_at >= self._pause_seconds

    async def _read(self) -> None:
        """Read the keys; those that were read last stay in use while the issuer does not answer."""
        self._tried_at = time.monotonic()
        try:
            async with (
                asyncio.timeout(self._patience.total_seconds()),
                aiohttp.ClientSession(timeout=UNTIMED) as session,
                session.get(self._url, allow_redirects=False, raise_for_status=True) as answer,
            ):
                body = await answer.content.read(_LONGEST_ANSWER)
            key_set = jwt.PyJWKSet.from_json(body.decode())
        except (aiohttp.ClientError, TimeoutError, OSError, jwt.PyJWTError, ValueError) as error:
            log.warning("issuer_keys_not_read", url=self._url, error=str(error) or type(error).__name__)
            return
        self._keys = {key.key_id: key for key in key_set.keys if key.key_id}
        self._read_at = time.monotonic()
        log.info("issuer_keys_read", keys=sorted(self._keys))


class JwtCheck:
    """Turns a JWT into a caller."""

    def __init__(self, settings: ApiSettings, keys: IssuerKeys) -> None:
        """Believe the issuer that the settings name."""
        self._settings = settings
        self._keys = keys

    async def proof(self, token: str) -> Proof | None:
        """Return whom ``token`` lets in; nothing when it proves nothing."""
        settings = self._settings
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in settings.oidc_algorithms:
                return None
            key = await self._keys.find(str(header.get("kid", "")))
            if key is None:
                return None
            claims: Mapping[str, object] = jwt.decode(
                token,
                key,
                algorithms=list(settings.oidc_algorithms),
                audience=settings.oidc_audience,
                issuer=settings.oidc_issuer,
                leeway=settings.oidc_leeway,
                options={"require": ["exp", "iss", "aud", settings.oidc_name_claim]},
            )
        except jwt.PyJWTError as error:
            log.info("jwt_refused", why=type(error).__name__)
            return None
        principal = self._of_claims(claims)
        return None if principal is None else Proof(principal=principal, expires_at=_expiry(claims))

    def _of_claims(self, claims: Mapping[str, object]) -> Principal | None:
        settings = self._settings
        name = claims.get(settings.oidc_name_claim)
        scope = _look(claims, settings.oidc_scope_claim)
        if not isinstance(name, str):
            return None
        try:
            check_name(name)
        except ValueError as error:
            log.warning("jwt_name_refused", claim=settings.oidc_name_claim, why=str(error))
            return None
        if character := find_control(name):
            log.warning("jwt_name_refused", claim=settings.oidc_name_claim, found=character)
            return None
        if scope is None:
            scope = {}
        if not isinstance(scope, dict) or not all(isinstance(value, str) for value in scope.values()):
            log.warning("jwt_scope_refused", claim=settings.oidc_scope_claim, next_step="it must be an object of texts")
            return None
        return Principal(
            name=name,
            issuer=str(settings.oidc_issuer),
            roles=_roles(_look(claims, settings.oidc_roles_claim), settings.oidc_role_prefix),
            scope={str(label): str(value) for label, value in scope.items()},
            scheme=Scheme.JWT,
        )


def _expiry(claims: Mapping[str, object]) -> datetime:
    """Return when a token expires, which was checked; no moment that a ``datetime`` cannot hold."""
    expires = claims["exp"]
    latest = time.time() + _LONGEST_SECONDS
    return datetime.fromtimestamp(min(float(expires), latest) if isinstance(expires, int | float) else latest, tz=UTC)


def _look(claims: Mapping[str, object], path: str) -> object:
    """Return what a claim holds; a claim whose own name has dots comes first."""
    if path in claims:
        return claims[path]
    value: object = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _roles(claimed: object, prefix: str) -> tuple[Role, ...]:
    """Return the roles that a claim names, a list or a text of several words; what is none of ours is left out."""
    words = claimed.split() if isinstance(claimed, str) else claimed if isinstance(claimed, list) else []
    named = {str(word).removeprefix(prefix) for word in words if str(word).startswith(prefix)}
    return tuple(role for role in Role if role.value in named)
