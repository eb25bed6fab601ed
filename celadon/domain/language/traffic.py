"""How clients reach a deployment beside its name, and how routers treat their requests.

All of it belongs to the deployment and to no rollout.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from celadon.domain.language.base_models import TEXT_TAG, WRITTEN_OUT_TAG, StrictModel, tag_of_form
from celadon.domain.language.durations import Duration
from celadon.domain.language.limits import quoted
from celadon.domain.language.sizes import Size

MOST_HOSTS: Final = 20

LONGEST_HOST: Final = 253
"""Characters of a host name without the dot at its end (RFC 1035)."""

_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_PATTERN: Final = rf"^{_LABEL}(\.{_LABEL})+$"
"""Labels with dots between them (RFC 1123), in small letters."""

_HOST: Final = re.compile(HOST_PATTERN.removeprefix("^").removesuffix("$"))
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""How the last part of an IPv4 address may be written, and no last label of a name is."""


def check_host(value: str) -> str:
    """Return a host name in small letters, as host names are compared.

    Raises:
        ValueError: it is none that a client could ask for; it says why.

    """
    host = value.lower() if value.isascii() else value
    if _HOST.fullmatch(host) and len(host) <= LONGEST_HOST and not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return host
    raise ValueError(f"{quoted(value)} is no host name of a deployment's own: {_why_not(host)}")


def _why_not(host: str) -> str:
    if "*" in host:
        return "a wildcard would take the addresses of others; name each host"
    if not host.isascii():
        return "write letters beyond ASCII as browsers send them, in labels that begin with 'xn--'"
    if "/" in host:
        return "write the host name alone, without a scheme and a path"
    if ":" in host:
        return "write it without a port: it counts on every port of the routers"
    if len(host) > LONGEST_HOST:
        return f"it has {len(host)} characters, and a host name at most {LONGEST_HOST}"
    if _HOST.fullmatch(host):
        return "it is an IP address, or the last label is a number"
    if "." not in host:
        return "it has no dot, and names without a dot are addresses of deployments and routers"
    return "write labels of at most 63 letters, digits and '-' with dots between them, for example llm.example.com"


HostName: TypeAlias = Annotated[
    str,
    AfterValidator(check_host),
    WithJsonSchema({"type": "string", "maxLength": LONGEST_HOST, "examples": ["llm.example.com"]}),
]
"""For example ``llm.example.com``."""


def each_once(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return host names in their order, each once."""
    return tuple(sorted(set(hosts)))


Hosts: TypeAlias = Annotated[tuple[HostName, ...], Field(max_length=MOST_HOSTS), AfterValidator(each_once)]
"""In small letters, sorted, each once."""


DEFAULT_MAX_REQUESTS: Final = 10_000
MOST_REQUESTS: Final = 1_000_000

DEFAULT_RETRIES: Final = 5
"""So many dead replicas can be met, one after the other, before a request that none has seen is lost."""

MOST_RETRIES: Final = 20

LONGEST_HEADER: Final = 64
"""Characters of the name of a header by which requests are balanced."""

HEADER_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]*$"
_HEADER: Final = re.compile(HEADER_PATTERN.removeprefix("^").removesuffix("$"))


class TrafficKey(StrEnum):
    """What of a deployment's traffic has a default."""

    MAX_REQUESTS = "max_requests"
    """How many requests may run at the same time, on each router."""
    MAX_BODY = "max_body"
    """How large the body of a request may be that says its length."""
    IDLE_TIMEOUT = "idle_timeout"
    """How long a request may pass without a byte either way."""
    RETRIES = "retries"
    """How often a request is tried again that no replica can have begun."""
    LOAD_BALANCING = "load_balancing"
    """How a replica is chosen for a request."""


def _check_header(value: str) -> str:
    header = value.lower() if value.isascii() else value
    if _HEADER.fullmatch(header) and len(header) <= LONGEST_HEADER:
        return header
    raise ValueError(
        f"{quoted(value)} is no name of a header: write at most {LONGEST_HEADER} letters, digits, '-' and '_', "
        "for example x-session-id"
    )


HeaderName: TypeAlias = Annotated[
    str,
    AfterValidator(_check_header),
    WithJsonSchema({"type": "string", "maxLength": LONGEST_HEADER, "examples": ["x-session-id"]}),
]
"""In small letters, as header names are compared."""


class Maglev(StrictModel):
    """Requests with the same value of a header go to the same replica, as long as there is that one."""

    header: HeaderName
    """The header whose value decides; requests without it go to any replica."""


class ByHash(StrictModel):
    """Requests are balanced by what they say."""

    maglev: Maglev
    """By Maglev hashing: a replica that leaves moves hardly any sessions of the others."""


class Balancing(StrEnum):
    """How a replica is chosen, where it needs no more than a word."""

    LEAST_REQUEST = "least_request"


def _check_balancing(value: object) -> object:
    """Refuse words that are no way to balance, with the forms that are."""
    if isinstance(value, str) and value not in set(Balancing):
        raise ValueError(f"{quoted(value)} is no load_balancing: write least_request, or {{maglev: {{header: NAME}}}}")
    return value


LoadBalancing: TypeAlias = Annotated[
    Annotated[Balancing, Field(strict=False), BeforeValidator(_check_balancing), Tag(TEXT_TAG)]
    | Annotated[ByHash, Tag(WRITTEN_OUT_TAG)],
    Discriminator(tag_of_form),
]
"""``least_request``, or ``{maglev: {header: x-session-id}}``."""


class TrafficSettings(StrictModel):
    """How routers treat the requests to one deployment; what is not given has its default."""

    max_requests: Annotated[int, Field(ge=1, le=MOST_REQUESTS)] | None = None
    """How many requests may run at the same time, on each router; by default 10,000. More are answered 503
    `overloaded`, and those of other deployments are not touched."""
    max_body: Size | None = None
    """How large the body of a request may be that says its length; by default as large as it likes. Larger ones are
    answered 413 `body_too_large`, before a replica sees them."""
    idle_timeout: Duration | None = None
    """How long a request may pass without a byte either way, `0s` for ever; by default the
    `CELADON_STREAM_IDLE_TIMEOUT` of the gateway."""
    retries: Annotated[int, Field(ge=0, le=MOST_RETRIES)] | None = None
    """How often a router tries a request again that no replica can have begun, by default 5 times; 0 turns off all
    tries, those of idempotent requests too, of which there are 2 at most."""
    load_balancing: LoadBalancing | None = None
    """How a replica is chosen for a request: `least_request` (the default), or `{maglev: {header: NAME}}`, so that
    requests with the same value of that header go to the same replica."""

    @property
    def hash_header(self) -> str | None:
        """The header by which requests are balanced; ``None`` when they are not."""
        return self.load_balancing.maglev.header if isinstance(self.load_balancing, ByHash) else None

    def over(self, before: "TrafficSettings") -> "TrafficSettings":
        """Return the settings that hold after a change: those that are given here, and the others as before."""
        given = {key.value: getattr(self, key) for key in TrafficKey if getattr(self, key) is not None}
        return before.model_copy(update=given)


DEFAULT_SETTINGS: Final = TrafficSettings()


class Traffic(TrafficSettings):
    """How clients reach the deployment, and how routers treat their requests.

    It counts from the beginning of the rollout on, not from its switch. What is not given stays as it is.
    """

    hosts: Hosts | None = None
    """All host names of its own, at most 20, from those that the operator's `CELADON_HOSTS` lists; an empty list gives
    them up, and when not given they stay as they are."""
