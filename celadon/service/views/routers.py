"""The routers: which of them are waited for, and what they serve."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from celadon.domain.decisions.enrolment import CERTIFICATE_EXPIRES_SOON
from celadon.domain.language.moments import span, utc
from celadon.service.command import Tone
from celadon.service.pages import Page, named
from celadon.service.principal import Principal
from celadon.service.rollout_words import in_words
from celadon.service.views.phrases import Phrase, Shown
from celadon.table.records.routers import RouterLine, RouterState

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from celadon.service.service import Service

_NAMED_AT_MOST: Final = 3
_TONES: Final[Mapping[RouterState, Tone]] = {
    RouterState.LIVE: Tone.GOOD,
    RouterState.ENROLLED: Tone.PLAIN,
    RouterState.NEW: Tone.PLAIN,
    RouterState.CUT_OFF: Tone.WARN,
    RouterState.GONE: Tone.QUIET,
}


class RouterList(Page[RouterLine, str]):
    """Routers by name."""

    model_config = named("routers", "next_after")

    at: datetime
    """The moment, by the database's clock."""


class RouterRow(Shown):
    """A router in a list as people see it."""

    name: str
    state: Phrase
    gateway: str
    seen: str
    certificate: Phrase
    serves: Phrase


def router_row(line: RouterLine, now: datetime) -> RouterRow:
    """Return a router as a list shows it; ``now`` is the moment to which spans are counted."""
    return RouterRow(
        name=line.router,
        state=Phrase(text=in_words(line.state.value), tone=_TONES[line.state]),
        gateway=line.gateway,
        seen="never" if line.seen_at is None else f"{span(now - line.seen_at)} ago",
        certificate=_certificate(line, now),
        serves=_serves(line),
    )


def _certificate(line: RouterLine, now: datetime) -> Phrase:
    if line.enrolled_at is None:
        return Phrase(text="not enrolled", tone=Tone.QUIET)
    if line.identity is None:
        return Phrase(text="socket")
    if line.certificate_expires_at is None:
        return Phrase(text="not shown yet")
    left = line.certificate_expires_at - now
    if left <= timedelta(0):
        return Phrase(text="expired", tone=Tone.BAD)
    return Phrase(text=f"{span(left)} left", tone=Tone.WARN if left < CERTIFICATE_EXPIRES_SOON else Tone.PLAIN)


def _serves(line: RouterLine) -> Phrase:
    if line.nack:
        return Phrase(text=f"refuses its configuration: {line.nack}", tone=Tone.BAD)
    match line.state:
        case RouterState.GONE:
            gone = "unseen for too long" if line.gone_at is None else f"forgotten {utc(line.gone_at)}"
            return Phrase(text=f"{gone}; nobody waits for it", tone=Tone.QUIET)
        case RouterState.ENROLLED:
            return Phrase(text="nothing yet: it has not connected")
        case RouterState.NEW if not line.stream_is_up:
            return Phrase(text="nothing, and it is not connected any more; nobody waits for it", tone=Tone.WARN)
        case RouterState.NEW:
            return Phrase(text="nothing yet; nobody waits for it")
        case RouterState.LIVE | RouterState.CUT_OFF if line.behind:
            named_ones = [
                f"{one.deployment} ({_epochs(one.serves, one.epoch)})" for one in line.behind[:_NAMED_AT_MOST]
            ]
            more = len(line.behind) - len(named_ones)
            rest = f" and {more} more" if more else ""
            return Phrase(text=f"is behind in {', '.join(named_ones)}{rest}; blue is kept for it", tone=Tone.WARN)
        case _:
            return Phrase(text="everything as it is now", tone=Tone.GOOD)


def _epochs(serves: int | None, present: int) -> str:
    return f"epoch {'none' if serves is None else serves} of {present}"


async def read_routers(
    service: "Service",
    who: Principal,
    *,
    after: str | None = None,
    limit: int,
    tells_behind: bool = True,
) -> RouterList:
    """Return a page of routers by name; to a scoped caller only what they serve of the deployments in scope.

    What they are behind with is read only when ``tells_behind``.

    Raises:
        RefusedError: the caller may not read.

    """
    from celadon.table.read.router_list import MOST_BEHIND, list_routers

    most_behind = MOST_BEHIND if tells_behind else 0

    async def query(tx: "AsyncSession", scope: Mapping[str, str]) -> RouterList:
        page = await list_routers(tx, scope, after=after, limit=limit + 1, most_behind=most_behind)
        return RouterList.of(page.routers, limit, lambda one: one.router, at=page.at)

    return await service.read(who, query)
