"""How clients reach a deployment, beside its name: what belongs to the deployment and to no rollout."""

import re
from collections.abc import Iterable
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, Field, WithJsonSchema

from celadon.domain.language.base_models import StrictModel
from celadon.domain.language.limits import quoted

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


class Traffic(StrictModel):
    """How clients reach the deployment; it counts from the beginning of the rollout on, not from its switch."""

    hosts: Hosts | None = None
    """All host names of its own, at most 20, from those that the operator's `CELADON_HOSTS` lists; an empty list gives
    them up, and when not given they stay as they are."""
