"""The domains in which deployments have host names, as settings write them."""

import re
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator

from celadon.domain.language.limits import quoted
from celadon.domain.language.names import MAX_NAME_LENGTH, PREVIEW_SUFFIX

_DOMAIN: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")

MAX_DOMAIN_LENGTH: Final = 253 - 1 - MAX_NAME_LENGTH - len(PREVIEW_SUFFIX)
"""A host name has at most 253 characters (RFC 1035), and the longest name of a preview must fit before the domain."""


def parse_domains(value: object) -> object:
    """Return the domains of a text, in small letters and each once, and anything else as it is.

    Routers refuse a configuration in which a host name is twice, so each domain may be there once only.

    Raises:
        ValueError: one is not a domain.

    """
    if not isinstance(value, str):
        return value
    domains = [one.strip().lower() for one in value.split(",") if one.strip()]
    for domain in domains:
        if not _DOMAIN.fullmatch(domain) or len(domain) > MAX_DOMAIN_LENGTH:
            raise ValueError(
                f"{quoted(domain)} is not a domain: write labels of letters, digits and '-' with dots between them, "
                f"for example models.example.com, at most {MAX_DOMAIN_LENGTH} characters"
            )
    return tuple(dict.fromkeys(domains))


Domains: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(parse_domains)]
"""For example ``("models.example.com", "localhost")``."""

LOCAL_DOMAINS: Final = ("localhost",)
"""The domains of an installation whose operator names none."""


def deployment_of_host(host: str, domains: tuple[str, ...]) -> str | None:
    """Return the deployment, there or not, whose address a host name is by its name and a domain; ``None`` if none's.

    Args:
        host: a host name in small letters.
        domains: those of the installation.

    """
    label, _, rest = host.partition(".")
    return label.removesuffix(PREVIEW_SUFFIX) if rest in domains else None
