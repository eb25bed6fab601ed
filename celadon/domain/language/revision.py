"""A revision: an immutable description of what is served, numbered per deployment."""

import hashlib
import json
import re
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.durations import Duration
from celadon.domain.language.health_check import HealthCheck

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_LOOKS_SECRET = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)($|_)", re.IGNORECASE
)
_ENDPOINT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_LARGEST_PORT = 65_535

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
                f"{value!r} is no secret's name: letters, digits, '.', '_' and '-', at most 253 characters"
            )
        return value


class Revision(StrictModel):
    """What is served and how. The same content has the same number."""

    later_keys = LATER_KEYS

    provisioner: Provisioner = Provisioner.LOCAL
    """Who starts the replicas: ``local`` on the worker's machine, ``static`` for endpoints that exist already."""
    command: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    """Program and arguments of one replica; ``{port}`` and ``{host}`` stand for its address (``local``)."""
    env: Annotated[dict[str, str | SecretReference], Field(max_length=1000)] = Field(default_factory=dict)
    """Variables of a replica (``local``); ``{secret: NAME}`` is looked up when it starts and never stored."""
    endpoints: Annotated[tuple[str, ...], Field(max_length=10_000)] = ()
    """``address:port`` of replicas that exist already (``static``)."""
    health_check: HealthCheck = HealthCheck()
    """How a replica is probed."""
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
        for name, entry in self.env.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an environment variable")
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
        if self.command or self.env:
            raise ValueError("command and env belong to provisioner 'local', this revision is 'static'")
        for endpoint in self.endpoints:
            parse_endpoint(endpoint)
        if len(set(self.endpoints)) != len(self.endpoints):
            raise ValueError("endpoints are listed twice")

    def digest(self) -> str:
        """Return the SHA-256 of the content, 64 hexadecimal digits; the same content gives the same digest."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def secrets(self) -> dict[str, str]:
        """The names of the secrets that a replica gets, by their variables."""
        return {name: value.secret for name, value in self.env.items() if isinstance(value, SecretReference)}

    def plain_secrets(self) -> tuple[str, ...]:
        """Return the variables that look like secrets and carry their value in plain text."""
        return tuple(
            name for name, value in self.env.items() if isinstance(value, str) and value and looks_secret(name)
        )


def looks_secret(variable: str) -> bool:
    """Whether a variable's name says that its value is a secret."""
    return _LOOKS_SECRET.search(variable) is not None


def parse_endpoint(value: str) -> tuple[str, int]:
    """Split ``address:port``. Routers take IP addresses only, so a host name would never get a request.

    Raises:
        ValueError: it is no address; the text says what one looks like.

    """
    match = _ENDPOINT.fullmatch(value)
    if match is None or not 0 < int(match["port"]) <= _LARGEST_PORT:
        raise ValueError(f"{value!r} is no endpoint: write address:port, for example 127.0.0.1:8000")
    host = match["host"].strip("[]")
    try:
        ip_address(host)
    except ValueError as error:
        raise ValueError(f"{value!r} names a host; write its IP address, for example 127.0.0.1:8000") from error
    return host, int(match["port"])
