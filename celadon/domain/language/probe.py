"""One question to a replica, as the keeper asks it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from pydantic import JsonValue

from celadon.domain.language.expectation import Expectation


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """One HTTP/1.1 request; a redirect is an answer and is not followed."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: JsonValue = None
    """Text as it is sent, or what is sent as JSON; ``None`` for no body."""
    expect: Expectation = field(default_factory=Expectation)
    timeout: timedelta = timedelta(seconds=1)
    port: str | None = None
    """The name of the port; ``None`` for the one that the revision says."""


class GrpcQuestion(StrEnum):
    """What is asked over gRPC; each takes a name and answers with one number, which is 1 when all is well."""

    HEALTH = "/grpc.health.v1.Health/Check"
    MODEL_READY = "/inference.GRPCInferenceService/ModelReady"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcProbe:
    """One call over HTTP/2 without TLS."""

    question: GrpcQuestion = GrpcQuestion.HEALTH
    name: str = ""
    """Of the service, or of the model."""
    timeout: timedelta = timedelta(seconds=1)
    port: str | None = None
    """The name of the port; ``None`` for the one that the revision says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    """One connection, which is closed at once."""

    timeout: timedelta = timedelta(seconds=1)
    port: str | None = None
    """The name of the port; ``None`` for the one that the revision says."""


Probe = HttpProbe | GrpcProbe | TcpProbe
