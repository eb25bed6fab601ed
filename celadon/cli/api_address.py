"""The address of an API, and whether a token may travel there."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from celadon.cli.faults import CommandError

ALLOW_HTTP_VARIABLE: Final = "CELADON_ALLOW_HTTP"

_EXAMPLE: Final = "write https://HOST or https://HOST:PORT"


def check_url(given: str, *, allow_http: bool) -> str:
    """Return an API's address without a slash at its end.

    Raises:
        CommandError: it is none, or a token would travel to it in the clear and that was not allowed.

    """
    try:
        url = urlsplit(given.strip())
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise CommandError(f"{given} is no address of an API: {error}; {_EXAMPLE}") from error
    if url.scheme not in {"http", "https"} or not host:
        raise CommandError(f"{given!r} is no address of an API; {_EXAMPLE}")
    if url.username is not None or url.query or url.fragment:
        raise CommandError(f"the address of {host} holds more than scheme, host, port and path; {_EXAMPLE}")
    if url.scheme == "http" and not allow_http and not is_loopback(host):
        raise CommandError(
            f"a token would travel to {host} in the clear: use https, or say --insecure (or {ALLOW_HTTP_VARIABLE}=1) "
            "when nobody can listen on the way",
        )
    return url.geturl().rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether what is sent to ``host`` stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
