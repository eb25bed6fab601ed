"""Who types: the name that goes into the audit log."""

from celadon.domain.language.commands import UNDECLARED
from celadon.domain.language.shown_text import one_line
from celadon.login_name import login_name


def author_name(given: str | None) -> str:
    """Return the name that was given, else the one under which the person is logged in."""
    return given or one_line(login_name() or "") or UNDECLARED
