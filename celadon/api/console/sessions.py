"""Who looks at the console: a cookie that holds a token, or the session that a one-time link has opened."""

import hashlib
import hmac
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from celadon.api.authentication import BearerScheme
from celadon.api.principal import Principal, Scheme
from celadon.domain.states import Door
from celadon.table.console_logins import SESSION_PREFIX, end_session, find_session, redeem_login
from celadon.table.engine import Table

COOKIE: Final = "celadon_console"
SECURE_COOKIE: Final = "__Host-celadon_console"
"""Where the console is reached over TLS, browsers accept it from this very host only."""

_CSRF_PURPOSE: Final = b"celadon console form"


class Sessions:
    """Knows who looks by the cookie, and opens and ends what stands in it.

    A script cannot read the cookie, and another site's form is not sent with it; a form of the console also carries a
    digest of it, which no other site knows.
    """

    def __init__(self, table: Table, bearer: BearerScheme, *, over_tls: bool) -> None:
        """Look sessions up in ``table`` and tokens with ``bearer``."""
        self._table = table
        self._bearer = bearer
        self._over_tls = over_tls

    async def principal(self, request: HTTPConnection) -> Principal | None:
        """Return who looks; nothing without a cookie, or with one that no longer counts."""
        text = self.text(request)
        return None if not text else await self.principal_of(text)

    async def principal_of(self, text: str) -> Principal | None:
        """Return whose token or session ``text`` is."""
        if not text.startswith(f"{SESSION_PREFIX}_"):
            found = await self._bearer.principal_of(text)
            return None if found is None else found.model_copy(update={"door": Door.CONSOLE})
        async with self._table.transaction() as tx:
            session = await find_session(tx, text)
        if session is None:
            return None
        return Principal(
            name=session.name,
            roles=session.roles,
            scope=session.scope,
            scheme=Scheme.SESSION,
            door=Door.CONSOLE,
        )

    async def redeem(self, code: str) -> str | None:
        """Return the session that a link's code opens; nothing when it does not, or no longer."""
        async with self._table.transaction() as tx:
            return await redeem_login(tx, code)

    def text(self, request: HTTPConnection) -> str:
        """Return what stands in the cookie."""
        return request.cookies.get(self._name, "")

    def begin(self, response: Response, text: str) -> None:
        """Put a token or a session into the cookie; the browser forgets it when it is closed."""
        response.set_cookie(self._name, text, path="/", httponly=True, samesite="lax", secure=self._over_tls)

    async def end(self, request: HTTPConnection, response: Response) -> None:
        """Take the cookie back, and end the session that stands in it."""
        async with self._table.transaction() as tx:
            await end_session(tx, self.text(request))
        response.delete_cookie(self._name, path="/", httponly=True, samesite="lax", secure=self._over_tls)

    @property
    def _name(self) -> str:
        return SECURE_COOKIE if self._over_tls else COOKIE


def csrf_of(text: str) -> str:
    """Return what the forms of a session carry."""
    return hmac.new(text.encode(), _CSRF_PURPOSE, hashlib.sha256).hexdigest()


def is_own_form(text: str, sent: str) -> bool:
    """Whether a form was made for the session that it comes with."""
    return bool(text) and hmac.compare_digest(csrf_of(text).encode(), sent.encode())
