"""Which names say that their value is a secret."""

import re
from typing import Final

_LOOKS_SECRET: Final = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)($|_)", re.IGNORECASE
)
_SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie"})


def looks_secret(variable: str) -> bool:
    """Whether a variable's name says that its value is a secret."""
    return _LOOKS_SECRET.search(variable) is not None


def is_secret_header(name: str) -> bool:
    """Whether the value of an HTTP header of this name is a secret."""
    return name.lower() in _SECRET_HEADERS or looks_secret(name.replace("-", "_"))
