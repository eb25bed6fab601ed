"""What callers of the table may do, as their doors would say it."""

from collections.abc import Callable

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.permissions import Verb


def allow(_verb: Verb, _why: str) -> None:
    """Let the caller do everything."""


def without(lacking: Verb) -> Callable[[Verb, str], None]:
    """Let the caller do everything but one thing."""

    def require(verb: Verb, why: str) -> None:
        if verb is lacking:
            raise refuse(RefusalCode.FORBIDDEN, why, "ask somebody")

    return require
