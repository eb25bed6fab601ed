"""What the page about traffic has from the code: the answers that a router gives itself, and files of ``deploy``."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from celadon.gateway import local_replies
from celadon.gateway.local_replies import LOCAL_REPLIES
from tests.docs.tables import REPOSITORY, code, table

PAGE: Final = REPOSITORY / "docs" / "traffic.md"

_WHEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        local_replies.NO_GREEN: "a preview, while the deployment has no healthy green",
        local_replies.NO_DEPLOYMENT: "the address is that of no deployment",
        local_replies.NO_GRPC_PORT: "a request of gRPC, where no revision of the deployment has a port of `h2c`",
        local_replies.NO_HTTP_PORT: "any other request, where no revision of the deployment has a port of `http1`",
        local_replies.NO_HEALTHY_REPLICA: "no replica of the deployment takes requests",
        local_replies.OVERLOADED: "as many requests of the deployment run, or wait, as its `max_requests` says",
        local_replies.REPLICA_UNREACHABLE: "no replica accepted a connection, after all retries",
        local_replies.REPLICA_DISCONNECTED: "the replica closed or reset the connection before its answer began",
        local_replies.REPLICA_ANSWER_INVALID: "what the replica sent is not HTTP",
        local_replies.IDLE_TIMEOUT: "no byte passed either way for the deployment's `idle_timeout`",
        local_replies.TIMEOUT: "the answer took longer than the deadline of a gRPC client (`grpc-timeout`)",
        local_replies.REQUEST_TIMEOUT: "the headers of the request did not arrive within 10 seconds",
        local_replies.BODY_TOO_LARGE: "the body of the request says that it is larger than the deployment's `max_body`",
        local_replies.HEADERS_TOO_LARGE: "the headers of the request are larger than `CELADON_MAX_HEADERS` (60 KiB)",
        local_replies.HTTP_VERSION_TOO_OLD: "the request came by HTTP/1.0, and `CELADON_ACCEPT_HTTP_10` is not set",
        local_replies.BAD_REQUEST: "the request is not valid HTTP, or asks for what the router does not do",
        local_replies.ROUTER_ERROR: "any other reason",
    },
)
"""When each answer is given, in words; an answer without words fails here."""


def replies_block() -> str:
    """Return the table of the answers."""
    rows = [
        (
            _WHEN[one.code],
            str(one.status),
            code(one.code),
            code(one.type),
            "" if one.retry_after is None else f"{one.retry_after.total_seconds():.0f}",
            code(one.grpc_status.name),
            one.message,
        )
        for one in LOCAL_REPLIES
    ]
    return table(("when", "status", "code", "type", "`retry-after`", "gRPC status", "message"), rows)


def file_block(name: str, language: str) -> str:
    """Return a file for a proxy before routers, as it is."""
    text = (REPOSITORY / "deploy" / "fronts" / name).read_text(encoding="utf-8")
    return f"```{language}\n{text}```\n"


BLOCKS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "replies": replies_block,
        "nginx": lambda: file_block("nginx.conf", "nginx"),
        "haproxy": lambda: file_block("haproxy.cfg", "haproxy"),
    },
)
