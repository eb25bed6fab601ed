"""Who types: the name that goes into the audit log."""

from celadon.client.login_name import login_name
from celadon.domain.messages import UNDECLARED


def person_named(given: str | None) -> str:
    """Return the name that was given, else the one under which the person is logged in."""
    return given or login_name() or UNDECLARED
