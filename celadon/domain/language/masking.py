"""Secrets in what programs print: struck out before anything of it is stored, logged or shown.

The values of secrets that are known are struck out in the spellings in which programs print them; beside them, what
looks like a token of a well-known kind. Every pattern passes over a text once, so that none takes longer than its
length.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

SHORTEST_SECRET: Final = 4
"""Shorter values would also strike out what is no secret."""

LONGEST_TEXT: Final = 1_000_000
"""Characters; of a longer text the end is kept."""

_SHORTEST_LINE: Final = 8
"""Of a secret with several lines each one of this length is struck out by itself."""

_TOKEN: Final = "[token]"  # noqa: S105 - what stands in the place of one

_TOKENS: Final = re.compile(
    r"""
    (?P<before>
        (?:\x1b|\\(?:u001b|x1b|033|e))\[[0-9;?]{0,20}[A-Za-z]  # a colour, also one that is spelt out
      | \\(?:[abfnrtv]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2})        # the end of a line, spelt out as in JSON
      | %[0-9A-Fa-f]{2}
      | (?<![A-Za-z0-9_-])
    )
    (?:
        sk-[A-Za-z0-9_-]{16,}+                            # OpenAI, Anthropic and others that write them so
      | [sr]k_(?:live|test)_[A-Za-z0-9]{10,}+             # Stripe
      | hf_[A-Za-z0-9]{16,}+                              # Hugging Face
      | (?:gh[oprsu]_|github_pat_)[A-Za-z0-9_]{20,}+      # GitHub
      | glpat-[A-Za-z0-9_-]{16,}+                         # GitLab
      | xox[a-z]-[A-Za-z0-9-]{10,}+                       # Slack
      | (?:AKIA|ASIA)[A-Z0-9]{16}\b                       # AWS
      | AIza[A-Za-z0-9_-]{30,}+                           # Google
      | ya29\.[A-Za-z0-9_-]{20,}+                         # Google
      | (?:nvapi|pypi|dop_v1|npm|r8)[-_][A-Za-z0-9_-]{20,}+
      | eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]{2,}+){1,4}  # JSON Web Token
      | celadon(?:-session)?_[A-Za-z0-9-]{1,64}+_[A-Za-z0-9_-]{16,}+
    )
    """,
    re.VERBOSE,
)
"""A run of letters is looked at once, from its begin, and no part of it is given back (``+`` after a count)."""

_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)",
    re.DOTALL,
)

_AUTHORIZATION: Final = re.compile(r"(bearer|basic)(\s{1,8})[A-Za-z0-9._~+/=-]{16,}+", re.IGNORECASE)

_URL_PASSWORD: Final = re.compile(r"(://[^\s/:@]*+):[^\s/@]++@")

_ASSIGNED: Final = re.compile(
    r"(password|passwd|passphrase|secret|api[_-]?key|access[_-]?token|auth[_-]?token|private[_-]?key)"
    r"(\\?[\"']?\s{0,4}[=:]\s{0,4}\\?[\"']?)(?!\[)[^\s\"'\\,;&]{4,}+",
    re.IGNORECASE,
)


def mask(text: str, secrets: Mapping[str, str] | None = None) -> str:
    """Return a text without secrets; masking it again changes nothing.

    Args:
        text: what a program has printed or answered.
        secrets: the values of secrets by their names, which take the places of the values.

    """
    if len(text) > LONGEST_TEXT:
        text = text[-LONGEST_TEXT:]
    for spelling, name in _spellings(secrets or {}):
        text = text.replace(spelling, f"[secret {name}]")
    text = _PRIVATE_KEY.sub(_TOKEN, text)
    text = _TOKENS.sub(rf"\g<before>{_TOKEN}", text)
    text = _AUTHORIZATION.sub(rf"\1\2{_TOKEN}", text)
    text = _URL_PASSWORD.sub(rf"\1:{_TOKEN}@", text)
    return _ASSIGNED.sub(rf"\1\2{_TOKEN}", text)


def _spellings(secrets: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return how the values are printed, the longest first: one value may be a part of another."""
    names = {spelling: name for name, value in secrets.items() for spelling in _spellings_of(value)}
    return sorted(names.items(), key=lambda one: len(one[0]), reverse=True)


def _spellings_of(value: str) -> Iterator[str]:
    if len(value) < SHORTEST_SECRET:
        return
    yield value
    yield quote(value, safe="")
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield base64.b64encode(value.encode()).decode()
    yield base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")
    for line in value.splitlines():
        if len(line.strip()) >= _SHORTEST_LINE:
            yield line.strip()
