"""Who calls: a verified name with roles and a scope."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator

from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.permissions import GLOBAL, Role, Verb, in_scope, may, roles_that_may
from celadon.domain.language.shown_text import one_line
from celadon.domain.language.states import Channel


class Scheme(StrEnum):
    """How a caller has shown who it is."""

    TOKEN = "token"  # noqa: S105 - the name of a scheme
    JWT = "jwt"
    SESSION = "session"
    """A login to the console, with a token or by a one-time link."""


class Principal(Record):
    """A caller of the API."""

    # Tokens of earlier versions may have names that could not be shown in a line.
    name: Annotated[str, AfterValidator(one_line)]
    """As the audit log shows it."""
    issuer: str
    """Who vouches for the name: the URL of an issuer of JWTs, ``token`` or ``console-link``.

    The same name of another issuer is somebody else. A session of the console has the issuer of whoever logged in.
    """
    roles: tuple[Role, ...]
    """What it is trusted with."""
    scope: dict[str, str]
    """Labels that a deployment must bear; empty for all deployments."""
    scheme: Scheme
    """How it has shown who it is."""
    door: Channel = Channel.API
    """Through which door it says that it came: the command line and the console are clients of the API."""

    @property
    def identity(self) -> tuple[str, str]:
        """Who it is, whichever way it has shown that: the issuer and the name."""
        return self.issuer, self.name

    def require(self, verbs: Iterable[Verb], why: str = "") -> None:
        """Refuse what no role of the caller allows; ``why`` says what makes the rights necessary, for people.

        Raises:
            RefusedError: with code ``FORBIDDEN``; it names the roles that would do.

        """
        because = f" ({why})" if why else ""
        for verb in verbs:
            if not may(self.roles, verb):
                needed = " or ".join(role.value for role in roles_that_may(verb))
                raise refuse(
                    RefusalCode.FORBIDDEN,
                    f"{self.name} may not {verb.value.replace('_', ' ')}: that takes the role {needed}{because}",
                    "ask somebody who has it, or for a token with it ('celadon token create')",
                )
            if verb in GLOBAL and self.scope:
                raise refuse(
                    RefusalCode.FORBIDDEN,
                    f"{self.name} is scoped to some deployments and may not {verb.value.replace('_', ' ')}, which "
                    "concerns all",
                    "use a token without a scope",
                )

    def sees(self, labels: Mapping[str, object]) -> bool:
        """Whether a deployment with these labels is in the caller's scope."""
        return in_scope(self.scope, {name: str(value) for name, value in labels.items()})

    def require_scope(self, labels: Mapping[str, str]) -> None:
        """Refuse labels that would put a new deployment out of the caller's scope.

        Raises:
            RefusedError: with code ``FORBIDDEN``.

        """
        if not in_scope(self.scope, labels):
            wanted = ", ".join(f"{name}={value}" for name, value in sorted(self.scope.items()))
            raise refuse(
                RefusalCode.FORBIDDEN,
                f"{self.name} is scoped to deployments with {wanted}",
                f"give the deployment these labels: {wanted}",
            )


class Proof(Record):
    """Who a credential lets in, and for how long."""

    principal: Principal
    token: str | None = None
    """The id of the static token that was shown."""
    expires_at: datetime | None = None
    """Nothing when it is good until it is revoked."""
