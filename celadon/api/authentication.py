"""Who calls: bearer tokens, static or of an issuer."""

from http import HTTPStatus
from typing import Final

from starlette.requests import HTTPConnection

from celadon.api.guessing import Guessing
from celadon.api.jwt_tokens import JwtCheck
from celadon.api.limits import Rate
from celadon.api.metrics import ApiMetrics
from celadon.api.problems import HttpRefusal
from celadon.api.settings import ApiSettings
from celadon.domain.language.identity import TOKEN_ISSUER
from celadon.domain.language.states import Channel
from celadon.service.principal import Principal, Proof, Scheme
from celadon.table.access.tokens import PREFIX, find_token, has_shape
from celadon.table.core.engine import Table

DOOR_HEADER: Final = "x-celadon-door"
"""A client of the API may say that it is the command line."""


class BearerScheme:
    """``Authorization: Bearer``, with a static token or a JWT."""

    def __init__(self, table: Table, jwt_check: JwtCheck | None) -> None:
        """Look static tokens up in ``table``, and check others with ``jwt_check`` if there is one."""
        self._table = table
        self._jwt_check = jwt_check

    async def proof(self, token: str) -> Proof | None:
        """Return whose token it is; nothing when it is none that is known."""
        if not token.startswith(f"{PREFIX}_"):
            return None if self._jwt_check is None else await self._jwt_check.proof(token)
        if not has_shape(token):
            return None
        async with self._table.transaction() as tx:
            record = await find_token(tx, token)
        if record is None:
            return None
        return Proof(
            principal=Principal(
                name=record.name,
                issuer=TOKEN_ISSUER,
                roles=record.roles,
                scope=record.scope,
                scheme=Scheme.TOKEN,
            ),
            token=record.id,
            expires_at=record.expires_at,
        )


class Authenticator:
    """Lets callers in, each at its own rate."""

    def __init__(self, bearer: BearerScheme, guessing: Guessing, settings: ApiSettings, metrics: ApiMetrics) -> None:
        """Let those in whom ``bearer`` knows; ``guessing`` counts those whom it does not."""
        self._bearer = bearer
        self._guessing = guessing
        self._metrics = metrics
        self._callers = Rate(settings.api_requests_per_second, settings.api_burst)

    async def principal(self, request: HTTPConnection) -> Principal:
        """Return who calls.

        Raises:
            HttpRefusal: nobody who is known, or somebody who asks too often.

        """
        token = _bearer_token(request)
        if not token:
            self._metrics.refused.labels("unknown").inc()
            raise _unknown()
        proof = await self._guessing.check(request, token, self._bearer.proof)
        if proof is None:
            raise _unknown()
        return self.admit(_through(request, proof.principal))

    def admit(self, found: Principal) -> Principal:
        """Let in whoever is known.

        Raises:
            HttpRefusal: it asks too often.

        """
        # A name has no line break in it, so no other issuer and name are joined to the same text.
        waits = self._callers.wait_for("\n".join(found.identity))
        if waits:
            self._metrics.refused.labels("rate").inc()
            raise HttpRefusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                "RATE_LIMITED",
                f"{found.name} asks too often",
                f"try again in {max(1, round(waits))} s",
                retry_after=max(1.0, waits),
            )
        return found

    async def known(self, request: HTTPConnection) -> Principal | None:
        """Return who calls, without a word about how often; nothing when nobody who is known does.

        A stream asks again and again: a token may be revoked or expire while it is open.
        """
        proof = await self._bearer.proof(_bearer_token(request))
        return None if proof is None else _through(request, proof.principal)


def _bearer_token(request: HTTPConnection) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _unknown() -> HttpRefusal:
    return HttpRefusal(
        HTTPStatus.UNAUTHORIZED,
        "UNAUTHENTICATED",
        "the request does not show who asks, or its token is unknown, expired or revoked",
        "send 'Authorization: Bearer TOKEN'; an operator makes one with 'celadon token create'",
    )


def is_command_line(request: HTTPConnection) -> bool:
    """Whether the command line asks, by what it says itself."""
    return request.headers.get(DOOR_HEADER, "").strip().lower() == Channel.CLI.value


def _through(request: HTTPConnection, found: Principal) -> Principal:
    return found.model_copy(update={"door": Channel.CLI}) if is_command_line(request) else found
