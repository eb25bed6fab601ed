"""What a revision must have when it is given, beyond what every revision that was ever stored has.

A rollout's workflow reads its request again at every replay, also one that an earlier version took. So what is refused
here is refused by doors and by the begin, and not by the models.
"""

import re
from typing import Final

from celadon.domain.language.limits import quoted
from celadon.domain.language.linear_regex import why_invalid
from celadon.domain.language.payload import InvalidPayloadError, Problem
from celadon.domain.language.presets import Preset
from celadon.domain.language.revision import Revision

_PORT: Final = re.compile(r"\{port\.([^{}]*)\}")

_ADVICE: Final = (
    "add one to the revision: health_check: {preset: NAME} with one of "
    f"{', '.join(Preset)}; {{path: /health}}; {{grpc: {{}}}}; or {{tcp: true}} if a port that accepts is enough"
)


def check_new_revision(revision: Revision | int) -> None:
    """Refuse a revision that does not say how its health is known; the number of one that there is passes.

    Raises:
        InvalidPayloadError: it says nothing, or holds an expression that cannot be compiled.

    """
    if isinstance(revision, int):
        return
    _check_placeholders(revision)
    if revision.health_check.says_nothing:
        raise _refused(
            "health_check",
            "a revision says how its health is known, and this one does not: real servers open their port long before "
            "they can answer",
            _ADVICE,
        )
    for expression in revision.health_check.expressions():
        why = why_invalid(expression)
        if why:
            raise _refused(
                "health_check",
                f"regex {quoted(expression)} cannot be compiled: {why}",
                "write it in the syntax of Rust's regex, without look-around and backreferences",
            )


def _check_placeholders(revision: Revision) -> None:
    """Refuse a name in ``{port.NAME}`` that no port has: it would reach the replica as it is written.

    Raises:
        InvalidPayloadError: there is one.

    """
    values = [value for value in revision.env.values() if isinstance(value, str)]
    for field, texts in (("command", revision.command), ("env", values)):
        for name in (port for text in texts for port in _PORT.findall(text)):
            if name not in revision.ports:
                raise _refused(
                    field,
                    f"{quoted(f'{{port.{name}}}')} names a port that the revision does not have",
                    f"name one of its ports, which are {', '.join(sorted(revision.ports))}, or add one to ports",
                )


def _refused(field: str, what: str, next_step: str) -> InvalidPayloadError:
    problem = Problem(location=("revision", field), what=what)
    return InvalidPayloadError((problem,), f"revision.{field}: {what}", next_step)
