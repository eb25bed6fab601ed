"""The name under which whoever runs this process is logged in."""

import getpass


def login_name() -> str | None:
    """Return the name; nothing where there is none, since a container may run under a number that no account has."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
