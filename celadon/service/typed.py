"""What people type on a line, read as values of requests."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from celadon.domain.language.limits import quoted
from celadon.service.command import Option

DEPLOYMENT_FILE: Final = "The deployment file, YAML or JSON; - is standard input."
POLICY_FILE: Final = "A policy file; what the deployment file's own policy gives wins over it."
ALLOW_PLAIN_SECRETS: Final = Option(help="Allow plain values under names that look like secrets.")


_BY_HEADER: Final = "maglev:"
"""How a command line names the header by which requests are balanced, in place of an object."""


def balancing_typed(typed: object) -> object:
    """Return how replicas are chosen as a deployment file writes it; ``None`` for nothing."""
    if isinstance(typed, str) and typed.startswith(_BY_HEADER):
        return {"maglev": {"header": typed.removeprefix(_BY_HEADER)}}
    return typed or None


TRAFFIC_OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {
        "max_requests": Option(help="How many requests may run at a time, on each router.", metavar="N"),
        "max_body": Option(help="How large a body may say that it is, such as 64MiB.", metavar="SIZE"),
        "idle_timeout": Option(help="How long a request may pass without a byte; 0s for ever."),
        "retries": Option(
            help="How often a request is tried again that no replica can have begun; 0 turns all tries off.",
            metavar="N",
        ),
        "load_balancing": Option(
            help="least_request, or maglev:HEADER: the same value of that header, the same replica.",
            metavar="HOW",
            parse=balancing_typed,
        ),
    }
)
"""How routers treat a deployment's requests, by the names of ``TrafficSettings``."""


class TypedWronglyError(ValueError):
    """What was typed is no such value; ``hint`` names the option."""

    def __init__(self, message: str, hint: str) -> None:
        """Say what is wrong with what was typed at ``hint``."""
        super().__init__(message)
        self.hint = hint


def pairs_typed(given: Iterable[str], hint: str, form: str = "NAME=VALUE, for example team=search") -> dict[str, str]:
    """Return what follows each name of ``NAME=VALUE``; ``form`` is what people are told to write.

    Raises:
        TypedWronglyError: one is of another form, or is given twice.

    """
    pairs: dict[str, str] = {}
    for pair in given:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise TypedWronglyError(f"{quoted(pair)} gives no value to a name: write {form}", hint)
        if name in pairs:
            raise TypedWronglyError(f"{quoted(name)} is given twice", hint)
        pairs[name] = value
    return pairs
