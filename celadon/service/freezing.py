"""What freezing and ending a freeze have in common: both are about one deployment or about all."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, Option, RequestT

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

TERMINAL_SCOPE: Final = Option(help="The deployment's name.", metavar="NAME", is_argument=True)


def check_whose(deployment: str | None, *, all_of_them: bool) -> None:
    """Raise ``ValueError`` unless either one deployment is named or all are meant."""
    if (deployment is None) is not all_of_them:
        raise ValueError("name one deployment, or say all; never both")


def wrongly_scoped(typed: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what is wrong with what was typed, if it names neither or both."""
    if (typed["deployment"] is None) is typed["all"]:
        return None
    return "name one deployment, or say --all; never both", ""


def whose(deployment: str | None) -> str:
    """Return what people read for a deployment or for all."""
    return deployment or "all deployments"


@asynccontextmanager
async def permit_freezing(call: Call[RequestT], deployment: str | None, right: Verb) -> "AsyncIterator[AsyncSession]":
    """Open a transaction in which the caller may freeze, or unfreeze, the deployment that it sees, or all.

    Raises:
        RefusedError: it may not, or there is no such deployment.

    """
    if deployment is None:
        call.who.require([Verb.FREEZE_ALL])
        async with call.service.transaction() as tx:
            yield tx
    else:
        async with call.service.permitted(call.who, deployment, [right]) as tx:
            yield tx
