"""Who looks at the console: a cookie with the secret of a session that stands in the table."""

import hashlib
import hmac
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from celadon.domain.language.console_cookies import HOST_PREFIX, NOTICE_COOKIE, SESSION_COOKIE
from celadon.domain.language.identity import OWN_ISSUERS
from celadon.domain.language.states import Channel
from celadon.service.principal import Principal, Proof, Scheme
from celadon.table.access.console_logins import redeem_login
from celadon.table.access.console_sessions import NewSession, end_session, find_session, has_shape, open_session
from celadon.table.core.engine import Table

_CSRF_PURPOSE: Final = b"celadon console form"
_NOTICE_PURPOSE: Final = b"celadon console notice"


class Sessions:
    """Knows who looks by the cookie, and opens and ends sessions.

    A script cannot read the cookie, and no other site's link or form is sent with it; a form of the console also
    carries a digest of it, which no other site knows.
    """

    def __init__(self, table: Table, jwt_issuer: str | None, *, over_tls: bool) -> None:
        """Keep sessions in ``table``; those of another issuer than ``jwt_issuer`` or our own count no longer."""
        self._table = table
        self._issuers = OWN_ISSUERS | ({jwt_issuer} if jwt_issuer else set())
        self._over_tls = over_tls

    async def principal(self, request: HTTPConnection) -> Principal | None:
        """Return who looks; nothing without a cookie, or with one that no longer counts."""
        return await self.principal_of(self.text(request))

    async def principal_of(self, text: str) -> Principal | None:
        """Return whose session ``text`` is."""
        if not has_shape(text):
            return None
        async with self._table.transaction() as tx:
            session = await find_session(tx, text)
        if session is None or session.issuer not in self._issuers:
            return None
        return Principal(
            name=session.name,
            issuer=session.issuer,
            roles=session.roles,
            scope=session.scope,
            scheme=Scheme.SESSION,
            door=Channel.CONSOLE,
        )

    async def redeem(self, code: str) -> str | None:
        """Return the session that a link's code opens; nothing when it does not, or no longer."""
        async with self._table.transaction() as tx:
            return await redeem_login(tx, code)

    async def open(self, proof: Proof) -> str:
        """Open a session for whoever has shown a token, which it does not outlive."""
        who = proof.principal
        wanted = NewSession(
            name=who.name,
            issuer=who.issuer,
            roles=who.roles,
            scope=who.scope,
            token=proof.token,
            expires_at=proof.expires_at,
        )
        async with self._table.transaction() as tx:
            return await open_session(tx, wanted)

    def text(self, request: HTTPConnection) -> str:
        """Return what stands in the cookie; nothing when there are several, of which another site may have set one."""
        return self._cookie(request, SESSION_COOKIE)

    async def begin(self, request: HTTPConnection, response: Response, text: str) -> None:
        """Put a session into the cookie, which the browser forgets when it is closed; end what stood there before."""
        async with self._table.transaction() as tx:
            await end_session(tx, self.text(request))
        self._set(response, SESSION_COOKIE, text)

    async def end(self, request: HTTPConnection, response: Response) -> None:
        """Take the cookie back, and end the session that stands in it."""
        async with self._table.transaction() as tx:
            await end_session(tx, self.text(request))
        self.forget(response)

    def forget(self, response: Response) -> None:
        """Take the cookie back."""
        self._delete(response, SESSION_COOKIE)

    def keep_notice(self, request: HTTPConnection, response: Response, notice: str, seconds: int) -> None:
        """Let the browser bring ``notice``, in ASCII, back to the next page of this session."""
        self._set(response, NOTICE_COOKIE, f"{self._seal(request, notice)}.{notice}", seconds)

    def notice(self, request: HTTPConnection) -> str:
        """Return the notice that this session has kept; nothing when somebody else has written it."""
        seal, _, notice = self._cookie(request, NOTICE_COOKIE).partition(".")
        return notice if hmac.compare_digest(seal.encode(), self._seal(request, notice).encode()) else ""

    def forget_notice(self, response: Response) -> None:
        """Take the notice back."""
        self._delete(response, NOTICE_COOKIE)

    def _seal(self, request: HTTPConnection, notice: str) -> str:
        purpose = _NOTICE_PURPOSE + notice.encode(errors="replace")
        return hmac.new(self.text(request).encode(), purpose, hashlib.sha256).hexdigest()

    def _cookie(self, request: HTTPConnection, name: str) -> str:
        wanted = self._name(name)
        pairs = (pair.partition("=") for header in request.headers.getlist("cookie") for pair in header.split(";"))
        values = {value.strip() for key, _, value in pairs if key.strip() == wanted}
        return values.pop() if len(values) == 1 else ""

    def _set(self, response: Response, name: str, value: str, seconds: int | None = None) -> None:
        response.set_cookie(
            self._name(name),
            value,
            path="/",
            max_age=seconds,
            httponly=True,
            samesite="strict",
            secure=self._over_tls,
        )

    def _delete(self, response: Response, name: str) -> None:
        response.delete_cookie(self._name(name), path="/", httponly=True, samesite="strict", secure=self._over_tls)

    def _name(self, name: str) -> str:
        return f"{HOST_PREFIX}{name}" if self._over_tls else name


def csrf_of(text: str) -> str:
    """Return what the forms of a session carry."""
    return hmac.new(text.encode(), _CSRF_PURPOSE, hashlib.sha256).hexdigest()


def is_own_form(text: str, sent: str) -> bool:
    """Whether a form was made for the session that it comes with."""
    return bool(text) and hmac.compare_digest(csrf_of(text).encode(), sent.encode(errors="replace"))
