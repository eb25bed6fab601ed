"""Who somebody is: a name, and who vouches for it. A token ``ci`` and an issuer's ``ci`` are two."""

from typing import Final

from celadon.domain.language.shown_text import find_control

TOKEN_ISSUER: Final = "token"  # noqa: S105 - a word that stands where an issuer's URL would
"""Vouches for the names of static tokens: whoever may write the table."""

LINK_ISSUER: Final = "console-link"
"""Vouches for whoever follows a one-time link to the console: whoever may write the table, who chose the name."""

KEY_ISSUER: Final = "key"
"""Vouches for the name that somebody gives who holds the installation's own signing key."""

OWN_ISSUERS: Final = frozenset({TOKEN_ISSUER, LINK_ISSUER, KEY_ISSUER})
"""What the URL of an OpenID Connect issuer can never be."""

LONGEST_NAME: Final = 200
"""Bytes of a name in UTF-8."""


def check_name(name: str) -> str:
    """Return ``name`` when it can be the name of a caller.

    Raises:
        ValueError: it says why not, without the name, which may hold anything.

    """
    if not name.strip():
        raise ValueError("a name of spaces alone names nobody")
    if name != name.strip():
        raise ValueError("a name neither begins nor ends with a space")
    if find_control(name):
        raise ValueError("a name has no control characters and no invisible ones")
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} bytes in UTF-8")
    return name
