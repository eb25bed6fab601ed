"""Who calls: bearer tokens, static or of an issuer; room for other schemes, such as a console's session."""

from http import HTTPStatus
from typing import Final, Protocol

import structlog
from starlette.requests import HTTPConnection

from celadon.api.jwt_tokens import JwtCheck
from celadon.api.limits import Rate
from celadon.api.metrics import ApiMetrics
from celadon.api.principal import Principal, Scheme
from celadon.api.problems import DoorError
from celadon.api.settings import ApiSettings
from celadon.domain.states import Door
from celadon.table.engine import Table
from celadon.table.tokens import PREFIX, find_token

DOOR_HEADER: Final = "x-celadon-door"
"""A client of the API may say that it is the command line."""

_LONGEST: Final = 8192
_MINUTE_SECONDS: Final = 60.0

log = structlog.get_logger()


class AuthenticationScheme(Protocol):
    """One way to show who calls."""

    async def principal(self, request: HTTPConnection) -> Principal | None:
        """Return who calls; nothing when the request shows nothing of this scheme, or nothing that is true."""


class BearerScheme:
    """``Authorization: Bearer``, with a static token or a JWT."""

    def __init__(self, table: Table, jwt_check: JwtCheck | None) -> None:
        """Look static tokens up in ``table``, and check others with ``jwt_check`` if there is one."""
        self._table = table
        self._jwt_check = jwt_check

    async def principal(self, request: HTTPConnection) -> Principal | None:
        """Return whose token a request shows."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return await self.principal_of(token.strip()) if kind.lower() == "bearer" else None

    async def principal_of(self, token: str) -> Principal | None:
        """Return whose token it is; nothing when it is none that is known."""
        if not token or len(token) > _LONGEST:
            return None
        if token.startswith(f"{PREFIX}_"):
            async with self._table.transaction() as tx:
                record = await find_token(tx, token)
            if record is None:
                return None
            return Principal(name=record.name, roles=record.roles, scope=record.scope, scheme=Scheme.TOKEN)
        return None if self._jwt_check is None else await self._jwt_check.principal(token)


class Authenticator:
    """Lets callers in by the first scheme that knows them, each at its own rate."""

    def __init__(self, schemes: tuple[AuthenticationScheme, ...], settings: ApiSettings, metrics: ApiMetrics) -> None:
        """Try ``schemes`` in their order."""
        self._schemes = schemes
        self._metrics = metrics
        self._callers = Rate(settings.api_requests_per_second, settings.api_burst)
        self._failures = Rate(settings.api_failures_per_minute / _MINUTE_SECONDS, settings.api_failures_per_minute)

    async def principal(self, request: HTTPConnection) -> Principal:
        """Return who calls.

        Raises:
            DoorError: nobody who is known, or somebody who asks too often.

        """
        self._refuse_guessing(request)
        return self.admit(request, await self.known(request))

    def admit(self, request: HTTPConnection, found: Principal | None) -> Principal:
        """Let in whom a scheme has found.

        Raises:
            DoorError: it is nobody, or asks too often, or its address failed too often to show who asks.

        """
        self._refuse_guessing(request)
        if found is None:
            raise self._unknown(request)
        waits = self._callers.wait_for(f"{found.scheme.value}:{found.name}")
        if waits:
            self._metrics.refused.labels("rate").inc()
            raise _too_many(waits, f"{found.name} asks too often")
        return found

    async def known(self, request: HTTPConnection) -> Principal | None:
        """Return who calls, without a word about how often; nothing when nobody who is known does.

        A stream asks again and again: a token may be revoked or expire while it is open.
        """
        for scheme in self._schemes:
            found = await scheme.principal(request)
            if found is not None:
                return found.model_copy(update={"door": _door(request, found)})
        return None

    def _refuse_guessing(self, request: HTTPConnection) -> None:
        waits = self._failures.wait_for(_address(request), take=False)
        if waits:
            self._metrics.refused.labels("failures").inc()
            raise _too_many(waits, "too many requests from this address failed to show who asks")

    def _unknown(self, request: HTTPConnection) -> DoorError:
        address = _address(request)
        self._failures.wait_for(address)
        self._metrics.refused.labels("unknown").inc()
        log.info("caller_unknown", address=address, path=request.url.path)
        return DoorError(
            HTTPStatus.UNAUTHORIZED,
            "UNAUTHENTICATED",
            "the request does not show who asks, or its token is unknown, expired or revoked",
            "send 'Authorization: Bearer TOKEN'; an operator makes one with 'celadon token create'",
        )


def _address(request: HTTPConnection) -> str:
    return request.client.host if request.client is not None else ""


def _door(request: HTTPConnection, found: Principal) -> Door:
    said = request.headers.get(DOOR_HEADER, "").strip().lower()
    return Door.CLI if said == Door.CLI.value and found.door is Door.API else found.door


def _too_many(waits: float, detail: str) -> DoorError:
    return DoorError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "RATE_LIMITED",
        detail,
        f"try again in {max(1, round(waits))} s",
        retry_after=max(1.0, waits),
    )
