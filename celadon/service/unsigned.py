"""The service for whoever is vouched for by nobody: it lets through what an unsigned message may do."""

from collections.abc import Iterable

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.permissions import Verb
from celadon.service.principal import Principal
from celadon.service.service import Service
from celadon.table.core.author import Author


class Undeclared(Principal):
    """Somebody whose name is declared and nothing more."""

    rights: frozenset[Verb]
    """What the installation lets an unsigned message do."""

    def require(self, verbs: Iterable[Verb], why: str = "") -> None:
        """Refuse what an unsigned message may not do.

        Raises:
            RefusedError: with code ``UNSIGNED``.

        """
        because = f" ({why})" if why else ""
        for verb in verbs:
            if verb not in self.rights:
                raise refuse(
                    RefusalCode.UNSIGNED,
                    f"nobody vouches for who made the schedule, and it may not {verb.value.replace('_', ' ')}{because}",
                    "make it with 'celadon schedule create', through the API or with the installation's key",
                )


class UnsignedService(Service):
    """Serves whoever is vouched for by nobody; its messages are judged as unsigned ones."""

    def author(self, who: Principal, reason: str) -> Author:
        """Return who changes the table, as declared."""
        return Author(by=who.name, door=who.door, reason=reason)

    def rights(self, who: Principal) -> frozenset[Verb]:
        """Return what an unsigned message may do."""
        return who.rights if isinstance(who, Undeclared) else super().rights(who)
