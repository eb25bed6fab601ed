"""A revision: an immutable description of what is served, numbered per deployment."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from celadon.domain.language.base_models import TEXT_TAG, WRITTEN_OUT_TAG, StrictModel, tag_of_form
from celadon.domain.language.durations import Duration
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.limits import quoted
from celadon.domain.language.ports import DEFAULT_PORTS, PortName, PortProtocol, Ports, main_port, port_with
from celadon.domain.language.probe import GrpcProbe, Probe
from celadon.domain.language.secret_names import looks_secret

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_ENDPOINT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_LARGEST_PORT = 65_535
_SHORTEST_START: Final = timedelta(seconds=1)

_STORED_KEYS: Final = frozenset({"provisioner", "command", "env", "endpoints", "health_check", "termination_grace"})
"""Keys that every stored revision has, at their defaults too; its digest counts on that."""

LATER_KEYS: Final = frozenset({"image"})
"""Keys of a revision that this version does not carry out, and therefore refuses by name."""


class Provisioner(StrEnum):
    """Who starts the replicas of a revision."""

    LOCAL = "local"
    STATIC = "static"
    KUBERNETES = "kubernetes"


class SecretReference(StrictModel):
    """A value that the provisioner looks up when it starts a replica; never stored, never shown."""

    secret: str
    """The secret's name, as the provisioner knows it."""

    @field_validator("secret")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not _SECRET_NAME.fullmatch(value):
            raise ValueError(
                f"{quoted(value)} is no secret's name: letters, digits, '.', '_' and '-', at most 253 characters"
            )
        return value


def _check_host(value: str) -> str:
    try:
        ip_address(value)
    except ValueError as error:
        raise ValueError(f"{quoted(value)} is no IP address; write one, for example 127.0.0.1") from error
    return value


class Endpoint(StrictModel):
    """A replica that exists already, with several ports."""

    host: Annotated[str, AfterValidator(_check_host)]
    """Its IP address."""
    ports: Annotated[dict[PortName, Annotated[int, Field(ge=1, le=_LARGEST_PORT)]], Field(min_length=1)]
    """The numbers of its ports, by the names that the revision gives them."""

    def __str__(self) -> str:
        """Return it as people are told of it."""
        numbers = ", ".join(f"{name} {number}" for name, number in sorted(self.ports.items()))
        return f"{self.host} ({numbers})"


_Endpoint = Annotated[
    Annotated[str, Tag(TEXT_TAG)] | Annotated[Endpoint, Tag(WRITTEN_OUT_TAG)],
    Discriminator(tag_of_form),
]


class Revision(StrictModel):
    """What is served and how. The same content has the same number."""

    later_keys = LATER_KEYS

    provisioner: Provisioner = Provisioner.LOCAL
    """Who starts the replicas: ``local`` on the worker's machine, ``static`` for endpoints that exist already."""
    command: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    """Program and arguments of one replica (``local``); ``{host}`` stands for its host, ``{port}`` for the number of
    its port of HTTP/1.1, or of gRPC where it has no other, and ``{port.NAME}`` for that of the port NAME."""
    env: Annotated[dict[str, str | SecretReference], Field(max_length=1000)] = Field(default_factory=dict)
    """Variables of a replica (``local``); ``{host}``, ``{port}`` and ``{port.NAME}`` are replaced as in the command,
    and ``{secret: NAME}`` is looked up when it starts and never stored."""
    ports: Ports = Field(default_factory=lambda: dict(DEFAULT_PORTS))
    """The ports of a replica by name, each with what routers speak to it: ``http1`` gets all requests but those of
    gRPC, ``h2c`` those of gRPC, and ``none`` gets none. Each is reserved for the replica (``local``). Where a replica
    takes few requests on one connection, write ``{protocol: h2c, max_concurrent_streams: 10}``."""
    working_dir: Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*$", max_length=4096)] | None = None
    """The directory in which the command runs (``local``), as an absolute path; when not given, the worker's own."""
    endpoints: Annotated[tuple[_Endpoint, ...], Field(max_length=10_000)] = ()
    """Replicas that exist already (``static``): ``address:port``, or ``{host: ADDRESS, ports: {NAME: NUMBER}}`` with a
    number for each of the revision's ports."""
    health_check: HealthCheck = HealthCheck()
    """How the health of a replica is known; a new revision must say it."""
    start_timeout: Duration | None = None
    """How long a replica may take from its start until it is healthy, at least 1s; then it counts as failed to start
    and is replaced. When not given, as long as the policy's ``provisioning_deadline``."""
    termination_grace: Duration = timedelta(seconds=30)
    """How long a replica may take to end after SIGTERM before it gets SIGKILL."""

    @model_validator(mode="after")
    def _fits_its_provisioner(self) -> Self:
        match self.provisioner:
            case Provisioner.LOCAL:
                self._check_local()
            case Provisioner.STATIC:
                self._check_static()
            case Provisioner.KUBERNETES:
                raise ValueError("provisioner 'kubernetes' is not carried out by this version: use 'local' or 'static'")
        if self.start_timeout is not None and self.start_timeout < _SHORTEST_START:
            raise ValueError("start_timeout is at least 1s")
        self._check_ports()
        for name, entry in self.env.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{quoted(name)} is no name of an environment variable")
            if isinstance(entry, str) and "\0" in entry:
                raise ValueError(f"the value of {name} holds a NUL character")
        return self

    def _check_local(self) -> None:
        if not self.command or not self.command[0]:
            raise ValueError("a revision of provisioner 'local' needs a command, for example [python, -m, my_server]")
        if self.endpoints:
            raise ValueError("endpoints belong to provisioner 'static', this revision is 'local'")
        if any("\0" in part for part in self.command):
            raise ValueError("a command holds no NUL characters")

    def _check_static(self) -> None:
        if not self.endpoints:
            raise ValueError("a revision of provisioner 'static' needs endpoints, for example ['127.0.0.1:8000']")
        if self.command or self.env or self.working_dir is not None:
            raise ValueError("command, env and working_dir belong to provisioner 'local', this revision is 'static'")
        used: set[tuple[str, int]] = set()
        for host, numbers in self.places():
            addresses = {(host, number) for number in numbers.values()}
            if used & addresses or len(addresses) < len(numbers):
                raise ValueError("endpoints are listed twice")
            used |= addresses

    def _check_ports(self) -> None:
        for name in self.health_check.named_ports:
            if name not in self.ports:
                names = " and ".join(quoted(one) for one in sorted(self.ports))
                raise ValueError(
                    f"health_check names the port {quoted(name)}, and the revision has {names}: name one of its ports"
                )

    def places(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield the hosts of a ``static`` revision's replicas, each with the numbers of its ports by name.

        Raises:
            ValueError: one is not an endpoint, or has other ports than the revision.

        """
        for endpoint in self.endpoints:
            if isinstance(endpoint, Endpoint):
                if endpoint.ports.keys() != self.ports.keys():
                    names = " and ".join(quoted(one) for one in sorted(self.ports))
                    raise ValueError(f"the endpoint {endpoint} gives other ports than the revision has: give {names}")
                yield endpoint.host, endpoint.ports
                continue
            host, number = parse_endpoint(endpoint)
            if len(self.ports) > 1:
                raise ValueError(
                    f"{quoted(endpoint)} gives one port, and the revision has {len(self.ports)}: write "
                    "{host: ADDRESS, ports: {NAME: NUMBER}} with a number for each"
                )
            yield host, {self.main_port: number}

    @property
    def main_port(self) -> str:
        """The name of the port that ``{port}`` stands for."""
        return main_port(self.ports)

    def port_with(self, protocol: PortProtocol) -> str | None:
        """Return the name of the port to which routers speak a protocol, or ``None`` when there is none."""
        return port_with(self.ports, protocol)

    def port_of(self, probe: Probe) -> str:
        """Return the name of the port that a probe of the revision's health check asks."""
        if probe.port is not None:
            return probe.port
        return (self.port_with(PortProtocol.H2C) if isinstance(probe, GrpcProbe) else None) or self.main_port

    def digest(self) -> str:
        """Return the SHA-256 of the content, 64 hexadecimal digits; the same content gives the same digest."""
        content = self.content()
        # A check that said nothing meant TCP before it had to be said, and the content is the same.
        check = {key: value for key, value in self._check_content().items() if key != "tcp"}
        canonical = json.dumps({**content, "health_check": check}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def content(self) -> dict[str, JsonValue]:
        """Return what is stored: keys that came after the first ones only where they differ from their defaults."""
        every = self.model_dump(mode="json", exclude={"health_check"})
        fields = type(self).model_fields.items()
        defaults = {key: field.get_default(call_default_factory=True) for key, field in fields}
        kept = {key: value for key, value in every.items() if key in _STORED_KEYS or value != defaults[key]}
        return {**kept, "health_check": self._check_content()}

    def _check_content(self) -> dict[str, JsonValue]:
        """Return the health check as it is stored: a port only where it is another than the one asked anyway."""
        check = self.health_check
        content = check.content()
        if check.port is not None and check.port == self.port_of(replace(check.probe(), port=None)):
            del content["port"]
        first = content.get("first")
        if isinstance(first, dict) and first.get("port") == self.main_port:
            content["first"] = {key: value for key, value in first.items() if key != "port"}
        return content

    @classmethod
    def of_stored(cls, content: dict[str, Any]) -> Self:
        """Read a stored revision; one that does not say how health is known meant TCP, and says so.

        Raises:
            ValidationError: it is none.

        """
        return cls.model_validate(with_stated_check(content), strict=False)

    @property
    def secrets(self) -> dict[str, str]:
        """The names of the secrets that a replica gets, by their variables."""
        return {name: value.secret for name, value in self.env.items() if isinstance(value, SecretReference)}

    def plain_secrets(self) -> dict[str, str]:
        """Return the values in plain text of variables, and of headers of probes, whose names look like secrets."""
        variables = {
            name: value for name, value in self.env.items() if isinstance(value, str) and value and looks_secret(name)
        }
        return variables | dict(self.health_check.secret_headers())


def with_stated_check(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a stored revision in which the health check says ``tcp`` where it said nothing."""
    check = content.get("health_check", {})
    if not isinstance(check, dict):
        return content
    if check.get("tcp") or any(check.get(key) is not None for key in ("preset", "path", "grpc")):
        return content
    return {**content, "health_check": {**check, "tcp": True}}


def parse_endpoint(value: str) -> tuple[str, int]:
    """Split ``address:port``. Routers take IP addresses only, so a host name would never get a request.

    Raises:
        ValueError: it is no address; the text says what one looks like.

    """
    match = _ENDPOINT.fullmatch(value)
    if match is None or not 0 < int(match["port"]) <= _LARGEST_PORT:
        raise ValueError(f"{quoted(value)} is no endpoint: write address:port, for example 127.0.0.1:8000")
    host = match["host"].strip("[]")
    try:
        ip_address(host)
    except ValueError as error:
        raise ValueError(f"{quoted(value)} names a host; write its IP address, for example 127.0.0.1:8000") from error
    return host, int(match["port"])
