"""Names that no new deployment gets, because its host name would be that of a router."""

from typing import Final

from celadon.domain.language.errors import RefusalCode, refuse

RESERVED_NAMES: Final = frozenset({"celadon", "localhost", "router"})
"""Host names without a dot by which clients reach routers: on their own machine, and in the compose file.

Requests that come to a router by such a name address a deployment by path; a deployment of that name would get all of
them.
"""


def refuse_reserved_name(name: str) -> None:
    """Raise :class:`~celadon.domain.language.errors.RefusedError` for a name that no new deployment gets."""
    if name in RESERVED_NAMES:
        raise refuse(
            RefusalCode.NAME_RESERVED,
            f"the name {name} is reserved: clients reach routers by it, and a deployment of that name would get the "
            "requests to all others",
            "choose another name",
        )
