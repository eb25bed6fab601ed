"""What a router answers itself, when no replica does: a status, and a body that clients of OpenAI's API understand.

A gRPC client gets the status of gRPC and the message alone. The answers of replicas are never touched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from json import dumps
from typing import Final

from celadon.gateway.protobuf import Fields, Value

COLOUR_HEADER: Final = "x-celadon-colour"
"""Tells a green replica that a request is a preview, and the router's own replies too; clients cannot send it."""

NO_GREEN: Final = "no_green"
NO_DEPLOYMENT: Final = "no_deployment"
NO_GRPC_PORT: Final = "no_grpc_port"
NO_HTTP_PORT: Final = "no_http_port"
NO_HEALTHY_REPLICA: Final = "no_healthy_replica"
OVERLOADED: Final = "overloaded"
REPLICA_UNREACHABLE: Final = "replica_unreachable"
REPLICA_DISCONNECTED: Final = "replica_disconnected"
REPLICA_ANSWER_INVALID: Final = "replica_answer_invalid"
IDLE_TIMEOUT: Final = "idle_timeout"
TIMEOUT: Final = "timeout"
REQUEST_TIMEOUT: Final = "request_timeout"
BODY_TOO_LARGE: Final = "body_too_large"
HEADERS_TOO_LARGE: Final = "headers_too_large"
HTTP_VERSION_TOO_OLD: Final = "http_version_too_old"
BAD_REQUEST: Final = "bad_request"
ROUTER_ERROR: Final = "router_error"

NOT_FOUND: Final = "not_found_error"
INVALID_REQUEST: Final = "invalid_request_error"
SERVER_ERROR: Final = "server_error"
"""The types of errors; each is one that OpenAI's API has."""

NO_SUCH_PORT_STATUS: Final = 415
"""What routers answer where no replica speaks the request's protocol; Envoy gives this status to nothing else."""

_UNSET_KEY: Final = "celadon.local_replies"
"""A filter by status takes its figure from Envoy's runtime where this key is set; nobody sets it."""

_GRPC_CONTENT_TYPE: Final = r"application/grpc(\+.*)?"
"""What Envoy itself takes for gRPC; not gRPC-Web."""


@dataclass(frozen=True, slots=True)
class GrpcStatus:
    """A status of gRPC."""

    name: str
    number: int


_INVALID_ARGUMENT: Final = GrpcStatus("INVALID_ARGUMENT", 3)
_DEADLINE_EXCEEDED: Final = GrpcStatus("DEADLINE_EXCEEDED", 4)
_NOT_FOUND: Final = GrpcStatus("NOT_FOUND", 5)
_RESOURCE_EXHAUSTED: Final = GrpcStatus("RESOURCE_EXHAUSTED", 8)
_INTERNAL: Final = GrpcStatus("INTERNAL", 13)
_UNIMPLEMENTED: Final = GrpcStatus("UNIMPLEMENTED", 12)
_UNAVAILABLE: Final = GrpcStatus("UNAVAILABLE", 14)


@dataclass(frozen=True, slots=True)
class LocalReply:
    """One answer that a router gives itself."""

    code: str
    """Tells programs which answer it is."""
    status: int
    type: str
    message: str
    grpc_status: GrpcStatus
    when: Fields
    """The filter of Envoy's that finds the answer; of several replies the first counts."""
    retry_after: timedelta | None = None
    """After which time the same request may succeed; ``None`` where time alone changes nothing."""

    @property
    def body(self) -> str:
        """The answer's body in the shape in which OpenAI's API tells of errors."""
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        return dumps({"error": error})


def _flags(*flags: str) -> Fields:
    """Return the filter of requests that ended with one of Envoy's response flags."""
    return {"response_flag_filter": {"flags": flags}}


def _status(operator: str, status: int) -> Fields:
    """Return the filter of answers by their status."""
    value: Fields = {"default_value": status, "runtime_key": _UNSET_KEY}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _all_of(*filters: Fields) -> Fields:
    return {"and_filter": {"filters": filters}}


_IS_PREVIEW: Final[Fields] = {"header_filter": {"header": {"name": COLOUR_HEADER, "present_match": True}}}
_IS_GRPC: Final[Fields] = {
    "header_filter": {
        "header": {"name": "content-type", "string_match": {"safe_regex": {"regex": _GRPC_CONTENT_TYPE}}},
    },
}

LOCAL_REPLIES: Final = (
    LocalReply(
        NO_GREEN,
        404,
        NOT_FOUND,
        "This deployment has no healthy green replica to preview now. "
        "Ask again while a rollout verifies its green or awaits its promotion.",
        _NOT_FOUND,
        _all_of(_IS_PREVIEW, _flags("UH")),
    ),
    LocalReply(
        NO_DEPLOYMENT,
        404,
        NOT_FOUND,
        "No deployment has this address. Use its name as host name, or as the first part of the path.",
        _NOT_FOUND,
        _flags("NR"),
    ),
    LocalReply(
        NO_GRPC_PORT,
        NO_SUCH_PORT_STATUS,
        INVALID_REQUEST,
        "No replica of this deployment has a port for gRPC, which is one of the protocol h2c. "
        "Send the request by HTTP, or let the deployment's owner give its revision such a port.",
        _UNIMPLEMENTED,
        _all_of(_IS_GRPC, _status("EQ", NO_SUCH_PORT_STATUS)),
    ),
    LocalReply(
        NO_HTTP_PORT,
        NO_SUCH_PORT_STATUS,
        INVALID_REQUEST,
        "This deployment serves gRPC alone: no replica has a port of the protocol http1. "
        "Send the request by gRPC, or let the deployment's owner give its revision such a port.",
        _UNIMPLEMENTED,
        _status("EQ", NO_SUCH_PORT_STATUS),
    ),
    LocalReply(
        NO_HEALTHY_REPLICA,
        503,
        SERVER_ERROR,
        "This deployment has no replica that can take requests now. Send the request again in some seconds.",
        _UNAVAILABLE,
        _flags("UH", "NC"),
        timedelta(seconds=5),
    ),
    LocalReply(
        OVERLOADED,
        503,
        SERVER_ERROR,
        "As many requests as are allowed run on this deployment already. Send the request again in some seconds.",
        _RESOURCE_EXHAUSTED,
        _flags("UO"),
        timedelta(seconds=2),
    ),
    LocalReply(
        REPLICA_UNREACHABLE,
        503,
        SERVER_ERROR,
        "No connection to a replica of this deployment could be made, so no replica has seen the request. "
        "Send the request again.",
        _UNAVAILABLE,
        _flags("UF"),
        timedelta(seconds=2),
    ),
    LocalReply(
        REPLICA_DISCONNECTED,
        503,
        SERVER_ERROR,
        "The replica ended the connection before it answered, and may have begun to work on the request. "
        "Send the request again if it may run twice.",
        _UNAVAILABLE,
        _flags("UC", "UR", "LR"),
        timedelta(seconds=2),
    ),
    LocalReply(
        REPLICA_ANSWER_INVALID,
        502,
        SERVER_ERROR,
        "The answer of the replica is not valid HTTP. Tell the deployment's owner.",
        _INTERNAL,
        _flags("UPE"),
    ),
    LocalReply(
        IDLE_TIMEOUT,
        504,
        SERVER_ERROR,
        "No byte of the request or of its answer has passed for longer than the router waits. "
        "Ask for a streamed or a shorter answer, or let the operator raise the idle timeout.",
        _DEADLINE_EXCEEDED,
        _flags("SI"),
    ),
    LocalReply(
        TIMEOUT,
        504,
        SERVER_ERROR,
        "The answer took longer than the deadline allows. Ask for a shorter answer, or give it more time.",
        _DEADLINE_EXCEEDED,
        # A deadline of the client's own has no flag.
        {"or_filter": {"filters": [_flags("UT", "UMSDR", "DT"), _status("EQ", 504)]}},
    ),
    LocalReply(
        REQUEST_TIMEOUT,
        408,
        INVALID_REQUEST,
        "The request did not arrive completely in the time that the router waits for it. Send the request again.",
        _DEADLINE_EXCEEDED,
        _status("EQ", 408),
    ),
    LocalReply(
        BODY_TOO_LARGE,
        413,
        INVALID_REQUEST,
        "The body of the request is larger than this deployment allows. Send a smaller body.",
        _RESOURCE_EXHAUSTED,
        _status("EQ", 413),
    ),
    LocalReply(
        HEADERS_TOO_LARGE,
        431,
        INVALID_REQUEST,
        "The headers of the request are larger than the router accepts. Send fewer or shorter headers.",
        _RESOURCE_EXHAUSTED,
        _status("EQ", 431),
    ),
    LocalReply(
        HTTP_VERSION_TOO_OLD,
        426,
        INVALID_REQUEST,
        "The router does not accept HTTP/1.0. Send the request by HTTP/1.1 or HTTP/2.",
        _INVALID_ARGUMENT,
        _status("EQ", 426),
    ),
    LocalReply(
        BAD_REQUEST,
        400,
        INVALID_REQUEST,
        "The request is not a valid HTTP request that the router can pass on. Correct its method, path and headers.",
        _INVALID_ARGUMENT,
        _all_of(_status("GE", 400), _status("LE", 499)),
    ),
    LocalReply(
        ROUTER_ERROR,
        503,
        SERVER_ERROR,
        "The router could not pass the request on. Send the request again; if the error persists, tell the operator.",
        _UNAVAILABLE,
        _status("GE", 500),
        timedelta(seconds=2),
    ),
)
"""All of them, in the order in which they are looked for: what a flag tells exactly comes before a mere status."""


def local_reply_config() -> Fields:
    """Return the part of a listener that makes its own answers."""
    return {"mappers": [mapper for reply in LOCAL_REPLIES for mapper in _mappers(reply)]}


def _mappers(reply: LocalReply) -> Iterator[Fields]:
    """Return how one reply is answered to gRPC clients, and to all others.

    Envoy makes a gRPC client's answer of what is mapped: the body becomes the message, so it has to be plain text.
    """
    yield {
        "filter": _all_of(_IS_GRPC, reply.when),
        "status_code": {"value": reply.status},
        "headers_to_add": [_header("grpc-status", str(reply.grpc_status.number))],
        "body_format_override": {"text_format_source": {"inline_string": reply.message}},
    }
    answer: dict[str, Value] = {
        "filter": reply.when,
        "status_code": {"value": reply.status},
        "body_format_override": {
            "text_format_source": {"inline_string": reply.body},
            "content_type": "application/json",
        },
    }
    if reply.retry_after is not None:
        answer["headers_to_add"] = [_header("retry-after", str(round(reply.retry_after.total_seconds())))]
    yield answer


def _header(name: str, value: str) -> Fields:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
