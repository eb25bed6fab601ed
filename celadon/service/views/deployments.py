"""Deployments in a list: what is live, where the latest rollout stands, and who must act."""

# ruff: noqa: PLC0415 - looking needs no database

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Self

from celadon.domain.language.states import DeploymentLifecycle, RolloutPhase
from celadon.service.command import Tone
from celadon.service.pages import Page, named
from celadon.service.principal import Principal
from celadon.service.rollout_view import table_next_step, who_must_act
from celadon.service.rollout_words import in_words, move_name
from celadon.service.views.phrases import Phrase, Shown, live_phrase
from celadon.service.views.rollout import rollout_summary
from celadon.table.records.deployments import DeploymentLine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from celadon.service.service import Service


class ListedDeployment(DeploymentLine):
    """A deployment in a list, with who must act."""

    waits_for: str
    """Who moves its latest rollout on; empty when that has ended or there was none."""
    next_step: str
    """What a person can do now, with the command; empty when no rollout is under way."""

    @property
    def phase(self) -> RolloutPhase | None:
        """The phase of its latest rollout; nothing when there was none."""
        return None if self.rollout is None else self.rollout.phase

    @property
    def phase_since(self) -> datetime | None:
        """When that phase began; nothing when there was no rollout."""
        return None if self.rollout is None else self.rollout.phase_since

    @classmethod
    def of(cls, line: DeploymentLine) -> Self:
        """Return a line with who must act and what a person can do."""
        under_way = line.rollout is not None and line.rollout.outcome is None
        return cls(
            **dict(line),
            waits_for=who_must_act(line.rollout, frozen=line.frozen, paused=line.paused),
            next_step=table_next_step(line.rollout) if under_way and line.rollout is not None else "",
        )


class DeploymentList(Page[ListedDeployment, str]):
    """Deployments by name."""

    model_config = named("deployments", "next_after")

    at: datetime
    """The moment, by the database's clock."""


class DeploymentRow(Shown):
    """A deployment in a list as people see it."""

    name: str
    marks: tuple[Phrase, ...]
    """What is unusual about it: that it is frozen or being destroyed, or that a rollout waits for its turn."""
    lifecycle: str
    live: Phrase
    health: Phrase
    rollout: int | None
    """Its latest rollout; ``None`` when there was none."""
    move: str
    phase: Phrase
    """Where that rollout stands, or how it ended."""
    since: datetime | None
    waits_for: str
    """Who must act; empty when nobody must."""
    needs_person: bool


def deployment_row(line: ListedDeployment, now: datetime) -> DeploymentRow:
    """Return a deployment as a list shows it; ``now`` is the moment to which spans are counted."""
    record = line.rollout
    summary = None if record is None else rollout_summary(record, now)
    full = line.healthy >= line.wanted
    return DeploymentRow(
        name=line.deployment,
        marks=tuple(_marks(line)),
        lifecycle=in_words(line.lifecycle.value),
        live=live_phrase(line.live_revision),
        health=Phrase(text=f"{line.healthy}/{line.wanted}", tone=Tone.GOOD if full else Tone.WARN),
        rollout=None if record is None else record.rollout,
        move="" if record is None else f"{record.rollout}: {move_name(record.from_revision, record.to_revision)}",
        phase=Phrase(text="none", tone=Tone.QUIET) if summary is None else summary.phase,
        since=line.phase_since,
        waits_for=line.waits_for,
        needs_person=line.waits_for.startswith("a person"),
    )


def _marks(line: ListedDeployment) -> Iterator[Phrase]:
    if line.frozen:
        yield Phrase(text="frozen")
    if line.next is not None:
        waits = "waits for a retry" if line.next.held else "waits"
        yield Phrase(text=f"r{line.next.revision} {waits}", tone=Tone.WARN if line.next.held else Tone.PLAIN)
    if line.lifecycle is DeploymentLifecycle.DESTROYING:
        yield Phrase(text="destroying", tone=Tone.BAD)


async def read_deployments(
    service: "Service", who: Principal, *, after: str | None = None, limit: int
) -> DeploymentList:
    """Return a page of the deployments that the caller may see: by name, those after ``after``.

    Raises:
        RefusedError: the caller may not read.

    """
    from celadon.table.core.clock import database_now
    from celadon.table.core.labels import within
    from celadon.table.read.overview import list_deployments

    async def query(tx: "AsyncSession", scope: Mapping[str, str]) -> DeploymentList:
        lines = await list_deployments(tx, within(scope), after=after, limit=limit + 1)
        listed = [ListedDeployment.of(line) for line in lines]
        return DeploymentList.of(listed, limit, lambda one: one.deployment, at=await database_now(tx))

    return await service.read(who, query)
