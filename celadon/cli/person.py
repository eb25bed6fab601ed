"""Who types: the name that goes into the audit log."""

import getpass

from celadon.domain.messages import UNDECLARED


def person_named(given: str | None) -> str:
    """Return the name that was given, else the one under which the person is logged in."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run under a number that no account has.
        return UNDECLARED
