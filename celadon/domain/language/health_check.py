"""How the health of a replica is known: a preset, a probe of one's own, gRPC, or TCP in so many words."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from celadon.domain.language import presets
from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.durations import Duration
from celadon.domain.language.expectation import Expectation
from celadon.domain.language.limits import quoted
from celadon.domain.language.ports import PortName
from celadon.domain.language.presets import FIRST_TIMEOUT, PRESETS, Needs, Preset
from celadon.domain.language.probe import GrpcProbe, HttpProbe, Probe, TcpProbe
from celadon.domain.language.secret_names import is_secret_header

_SHORTEST_INTERVAL: Final = timedelta(milliseconds=100)
_SHORTEST_TIMEOUT: Final = timedelta(milliseconds=10)
_LONGEST_BODY: Final = 16_384
_LONGEST_HEADER: Final = 4_096
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "expect"})

STORED_KEYS: Final = frozenset({"path", "interval", "timeout", "success_threshold", "failure_threshold"})
"""Keys that every stored health check has, at their defaults too; a revision's digest counts on that."""


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{quoted(name)} is no name of an HTTP header")
        if name.lower() in _FRAMING:
            raise ValueError(f"header {quoted(name)} is set by the probe itself")
        if len(value) > _LONGEST_HEADER or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                f"the value of header {quoted(name)} is no line of printable ASCII, or has more than 4,096 bytes"
            )
    return headers


def _check_body(body: JsonValue) -> JsonValue:
    if len((body if isinstance(body, str) else json.dumps(body)).encode()) > _LONGEST_BODY:
        raise ValueError(f"a body has at most {_LONGEST_BODY:,} bytes")
    return body


def _check_timeout(timeout: timedelta) -> timedelta:
    if timeout < _SHORTEST_TIMEOUT:
        raise ValueError("timeout is at least 10ms")
    return timeout


Path = Annotated[str, Field(pattern=r"^/[\x21-\x7e]*$", max_length=2000)]
Method = Literal["GET", "HEAD", "POST"]
Headers = Annotated[dict[str, str], Field(max_length=20), AfterValidator(_check_headers)]
Body = Annotated[JsonValue, AfterValidator(_check_body)]
Timeout = Annotated[Duration, AfterValidator(_check_timeout)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$", max_length=200)]
ServiceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]*$", max_length=200)]


class GrpcCheck(StrictModel):
    """A call of `grpc.health.v1.Health/Check` over HTTP/2 without TLS; it must answer SERVING."""

    service: ServiceName = ""
    """The service that is asked for; empty asks for the server as a whole."""


class FirstProbe(StrictModel):
    """A real request, sent until the replica was healthy once."""

    path: Path
    """What is requested."""
    port: PortName | None = None
    """The name of the port; when not given, the one that `{port}` stands for."""
    method: Method | None = None
    """`GET`, `HEAD` or `POST`; when not given, `POST` with a body and `GET` without."""
    headers: Headers = Field(default_factory=dict)
    """HTTP headers of the request, at most 20."""
    body: Body = None
    """Text as it is sent, or an object or list that is sent as JSON; at most 16,384 bytes."""
    expect: Expectation = Field(default_factory=Expectation)
    """What the answer must be like."""
    timeout: Timeout = FIRST_TIMEOUT
    """How long the answer may take, at least 10ms."""

    @model_validator(mode="after")
    def _is_a_request(self) -> Self:
        _check_request(self.method, self.body, self.expect)
        return self

    def probe(self) -> HttpProbe:
        """Return the request."""
        return _request(self, self.path, self.timeout)


class HealthCheck(StrictModel):
    """How the health of a replica is known: exactly one of `preset`, `path`, `grpc` and `tcp` says it."""

    preset: Preset | None = None
    """The check of a known model server: openai, vllm, sglang, llama.cpp, kserve-v2, kserve-v2-grpc, bentoml, litserve,
    ray-serve or grpc."""
    model: ModelName | None = None
    """The model's name on the server, where the preset takes one."""
    path: Path | None = None
    """An HTTP request of this path must be answered as `expect` says."""
    port: PortName | None = None
    """The name of the port that is probed; when not given, the one of gRPC where gRPC is asked and there is one, and
    else the one that `{port}` stands for."""
    method: Method | None = None
    """`GET`, `HEAD` or `POST`; when not given, `POST` with a body and `GET` without."""
    headers: Headers = Field(default_factory=dict)
    """HTTP headers of the request, at most 20."""
    body: Body = None
    """Text as it is sent, or an object or list that is sent as JSON; at most 16,384 bytes."""
    expect: Expectation | None = None
    """What the answer must be like; when not given, a status of 200 to 299."""
    grpc: GrpcCheck | None = None
    """A call of grpc.health.v1 must answer SERVING."""
    tcp: bool = False
    """Whether it is enough that the port accepts connections. Real servers open it long before they can answer."""
    first: FirstProbe | None = None
    """A heavier request, sent after a probe that passed until the replica was healthy once, and never again."""
    interval: Duration = timedelta(seconds=1)
    """From the begin of one probe to the begin of the next, at least 100ms."""
    timeout: Timeout = timedelta(seconds=1)
    """How long an answer may take, at least 10ms; `first` has a timeout of its own."""
    success_threshold: Annotated[int, Field(ge=1, le=100)] = 1
    """How many probes in a row must pass before a replica is healthy."""
    failure_threshold: Annotated[int, Field(ge=1, le=100)] = 3
    """How many probes in a row must fail before a replica is unhealthy."""

    @field_validator("interval")
    @classmethod
    def _long_enough(cls, interval: timedelta) -> timedelta:
        if interval < _SHORTEST_INTERVAL:
            raise ValueError("interval is at least 100ms")
        return interval

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        ways = self._ways()
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} each say how health is known: give one of them")
        of_request = {"method": self.method, "headers": self.headers or None, "body": self.body, "expect": self.expect}
        request_keys = [key for key, value in of_request.items() if value is not None]
        if request_keys and self.path is None:
            raise ValueError(f"{' and '.join(request_keys)} belong to a request, and there is no path")
        _check_request(self.method, self.body, self.expect)
        if self.preset is None:
            if self.model is not None:
                raise ValueError("model belongs to a preset, and there is none")
            if self.first is not None and not ways:
                raise ValueError("first comes before a lighter probe: say which, with preset, path, grpc or tcp")
        else:
            _check_parameter(self.preset, "model", PRESETS[self.preset].model, given=self.model is not None)
            _check_parameter(self.preset, "first", PRESETS[self.preset].own_first, given=self.first is not None)
        return self

    @property
    def says_nothing(self) -> bool:
        """Whether it does not say how health is known; in a revision that an earlier version stored, this means TCP."""
        return not self._ways()

    def probe(self) -> Probe:
        """Return the light probe, which is sent as long as a replica runs."""
        if self.preset is not None:
            return presets.light_probe(self.preset, self.model or "", self.timeout, self.port)
        if self.path is not None:
            return _request(self, self.path, self.timeout)
        if self.grpc is not None:
            return GrpcProbe(name=self.grpc.service, timeout=self.timeout, port=self.port)
        return TcpProbe(timeout=self.timeout, port=self.port)

    def first_probe(self) -> HttpProbe | None:
        """Return the heavier probe, which is sent until a replica was healthy once; ``None`` for none."""
        if self.first is not None:
            return self.first.probe()
        return None if self.preset is None else presets.first_probe(self.preset, self.model or "", self.port)

    @property
    def named_ports(self) -> tuple[str, ...]:
        """The names of the ports that it probes by name."""
        names = (self.port, None if self.first is None else self.first.port)
        return tuple(name for name in names if name is not None)

    def expressions(self) -> Iterator[str]:
        """Yield the regular expressions of it."""
        for expect in (self.expect, None if self.first is None else self.first.expect):
            if expect is not None and expect.regex is not None:
                yield expect.regex

    def secret_headers(self) -> Iterator[tuple[str, str]]:
        """Yield place and value of each header whose name says that it is a secret."""
        for place, headers in (("headers", self.headers), ("first.headers", self.first.headers if self.first else {})):
            for name, value in headers.items():
                if value and is_secret_header(name):
                    yield f"health_check.{place}.{name}", value

    def content(self) -> dict[str, JsonValue]:
        """Return it as it is stored: keys beyond ``STORED_KEYS`` only where they differ from their defaults."""
        every = self.model_dump(mode="json")
        own = self.model_dump(mode="json", exclude_defaults=True)
        return {key: every[key] for key in every if key in STORED_KEYS} | own

    def _ways(self) -> list[str]:
        said: Mapping[str, bool] = {
            "preset": self.preset is not None,
            "path": self.path is not None,
            "grpc": self.grpc is not None,
            "tcp": self.tcp,
        }
        return [key for key, is_said in said.items() if is_said]


def _check_request(method: Method | None, body: JsonValue, expect: Expectation | None) -> None:
    if body is not None and method not in {None, "POST"}:
        raise ValueError(f"{method} sends no body: leave the method out, or write POST")
    if method == "HEAD" and expect is not None and expect.needs_body:
        raise ValueError("the answer to HEAD has no body: expect its status alone")


def _check_parameter(preset: Preset, key: str, needs: Needs, *, given: bool) -> None:
    if given and needs is Needs.NOTHING:
        raise ValueError(f"preset {quoted(preset.value)} takes no {key}")
    if not given and needs is Needs.MUST:
        raise ValueError(f"preset {quoted(preset.value)} needs {key}: {PRESETS[preset].source}")


def _request(of: FirstProbe | HealthCheck, path: str, timeout: timedelta) -> HttpProbe:
    return HttpProbe(
        path=path,
        method=of.method or ("GET" if of.body is None else "POST"),
        headers=of.headers,
        body=of.body,
        expect=of.expect or Expectation(),
        timeout=timeout,
        port=of.port,
    )
