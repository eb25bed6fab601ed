"""What a request must be before anybody looks at it: text in UTF-8, of a sane length, for a host that is ours.

A parameter of a path or a query that is no UTF-8, or holds a character that no name and no reason has, would be
replaced, refused by the database, or shown to somebody. So it is refused here, for every route alike.
"""

import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from celadon.api.hosts import host_name, is_loopback
from celadon.api.problems import HttpRefusal, response_of

LONGEST_PATH: Final = 2048
LONGEST_QUERY: Final = 8192
"""In bytes; a reason for the audit log has room in it."""

LONGEST_HEADERS: Final = 32 * 1024

PROBES: Final = frozenset({"/healthz", "/readyz"})
"""What asks after the process itself knows no host name."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class RequestGuard:
    """Refuses what no part of the API could make sense of."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        """Guard ``app``; ``hosts`` are the names that it answers to, in lower case, or nothing for any.

        Where names are given, loopback addresses and ``localhost`` are answered too: no other site has them, while a
        name can be made to lead to this machine by whoever owns it (DNS rebinding).
        """
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            refused = _malformed(scope) or self._elsewhere(scope)
            if refused is not None:
                await response_of(refused.problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _elsewhere(self, scope: Scope) -> HttpRefusal | None:
        if self._hosts is None or scope["path"] in PROBES:
            return None
        named = Headers(scope=scope).getlist("host")
        if len(named) == 1 and _is_one_of(host_name(named[0]), self._hosts):
            return None
        return HttpRefusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            "UNKNOWN_HOST",
            "the API does not answer under the host name of this request",
            "ask for a name that it has, or let an operator add this one to CELADON_API_HOSTS or CELADON_CONSOLE_URL",
        )


def _is_one_of(name: str, hosts: Collection[str]) -> bool:
    return name in hosts or is_loopback(name)


def _malformed(scope: Scope) -> HttpRefusal | None:
    path, query = scope["raw_path"], scope["query_string"]
    if len(path) > LONGEST_PATH or len(query) > LONGEST_QUERY:
        return HttpRefusal(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            "ADDRESS_TOO_LONG",
            f"the path is longer than {LONGEST_PATH} bytes, or the query than {LONGEST_QUERY}",
            "send less",
        )
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEADERS:
        return HttpRefusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "HEADERS_TOO_LONG",
            f"the headers of the request are longer than {LONGEST_HEADERS} bytes",
            "send less",
        )
    if not (_is_text(path) and _is_text(query.replace(b"+", b" "))):
        return HttpRefusal(
            HTTPStatus.BAD_REQUEST,
            "MALFORMED_ADDRESS",
            "the path or the query is no text in UTF-8, or has control characters in it",
            "escape each byte of the text in UTF-8 as %XX",
        )
    return None


def _is_text(escaped: bytes) -> bool:
    if _BAD_ESCAPE.search(escaped):
        return False
    try:
        text = unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(text) is None
