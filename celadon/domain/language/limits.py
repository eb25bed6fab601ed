"""How long words from outside may be, in bytes of UTF-8: the same limits for what is taken and for what is refused.

A refusal that kept what it refuses would travel on in state, status and activities until Temporal refuses those, and
nobody could decide any more.
"""

from typing import Final

from celadon.domain.language.shown_text import all_lines, one_line

NAME_BYTES: Final = 200
"""Of a person, a program, a router, a request."""
ISSUER_BYTES: Final = 300
"""Of who vouches for a name, such as the URL of an issuer of JWTs."""
REASON_BYTES: Final = 2_000
ECHO_BYTES: Final = 100
"""Of a value that an answer repeats."""
REFUSAL_BYTES: Final = 1_024
"""Of one refusal, message and next step together."""
MESSAGE_BYTES: Final = 8_192
"""Of one signal's or update's argument."""
REQUEST_BYTES: Final = 100_000
"""Of one rollout's request, with its revision."""
CAUSE_BYTES: Final = 2_000
"""Of what went wrong last with a set."""
TRANSPORTED_BYTES: Final = 128 * 1024
"""State, status answer and any activity's input stay below it; Temporal takes 2 MB, or what its operator sets."""

_CUT: Final = "…"


def clip(text: str, limit: int) -> str:
    """Return ``text`` in at most ``limit`` bytes of UTF-8, with an ellipsis where it was cut; no character is split."""
    encoded = text[: limit + 1].encode("utf-8", "replace")
    if len(text) <= limit and len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - len(_CUT.encode())].decode("utf-8", "ignore") + _CUT


def echo(value: object, limit: int = ECHO_BYTES) -> str:
    """Return what somebody sent as an answer repeats it: one line, clipped; empty for all that is no text."""
    return clip(one_line(value[:limit]) + (_CUT if len(value) > limit else ""), limit) if isinstance(value, str) else ""


def quoted(value: object) -> str:
    """Return a value as a refusal quotes it: as Python writes it, in one line, clipped."""
    try:
        return echo(repr(value))
    except (ValueError, RecursionError):
        # A number of more than 4,300 digits, or lists in one another beyond what Python writes.
        return f"a {type(value).__name__} that cannot be shown"


def bounded_cause(text: str) -> str:
    """Return what went wrong, as long as it may be, without characters that are obeyed."""
    return clip(all_lines(text[:CAUSE_BYTES]) + (_CUT if len(text) > CAUSE_BYTES else ""), CAUSE_BYTES)
