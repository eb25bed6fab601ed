"""Pages of lists, the same at every door."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from celadon.client.rollout_view import table_next_step, who_must_act
from celadon.domain.language.base_models import Record
from celadon.table.records.deployments import DeploymentLine
from celadon.table.records.events import DeploymentEvent
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutRecord


class RevisionList(Record):
    """Revisions of a deployment, newest first."""

    revisions: tuple[RevisionRecord, ...]
    """Newest first."""
    next_before: int | None = None
    """Give it as ``before`` to get the next page; nothing on the last one."""

    @classmethod
    def of(cls, found: Sequence[RevisionRecord], limit: int) -> Self:
        """Return a page of revisions, of which one more than ``limit`` were asked for."""
        page = tuple(found[:limit])
        return cls(revisions=page, next_before=page[-1].number if len(found) > limit else None)


class ListedDeployment(DeploymentLine):
    """A deployment in a list, with who must act."""

    waits_for: str
    """Who moves its latest rollout on; empty when that has ended or there was none."""
    next_step: str
    """What a person can do now, with the command; empty when no rollout is under way."""

    @classmethod
    def of(cls, line: DeploymentLine) -> Self:
        """Return a line with who must act and what a person can do."""
        under_way = line.rollout is not None and line.rollout.outcome is None
        return cls(
            **dict(line),
            waits_for=who_must_act(line.rollout),
            next_step=table_next_step(line.rollout) if under_way and line.rollout is not None else "",
        )


class DeploymentList(Record):
    """Deployments by name."""

    at: datetime
    """The moment, by the database's clock."""
    deployments: tuple[ListedDeployment, ...]
    """By name."""
    next_after: str | None = None
    """Give it as ``after`` to get the next page; nothing on the last one."""

    @classmethod
    def of(cls, at: datetime, found: Sequence[DeploymentLine], limit: int) -> Self:
        """Return a page of deployments, of which one more than ``limit`` were asked for."""
        page = found[:limit]
        return cls(
            at=at,
            deployments=tuple(ListedDeployment.of(line) for line in page),
            next_after=page[-1].deployment if len(found) > limit else None,
        )


class RolloutPage(Record):
    """Rollouts, newest first."""

    rollouts: tuple[RolloutRecord, ...]
    """Newest first."""
    next_before: int | None
    """Give it as ``before`` to get the next page; nothing on the last one."""

    @classmethod
    def of(cls, found: Sequence[RolloutRecord], limit: int) -> Self:
        """Return a page of rollouts, of which one more than ``limit`` were asked for."""
        page = tuple(found[:limit])
        return cls(rollouts=page, next_before=page[-1].rollout if len(found) > limit else None)


class EventPage(Record):
    """Lines of the audit log, oldest first."""

    events: tuple[DeploymentEvent, ...]
    """Oldest first, in an order in which none comes later before another; the numbers of two that were written at the
    same time may stand the other way around."""
    next_after: int
    """Give it as ``after`` to get what comes next, also when nothing has come yet."""

    @classmethod
    def of(cls, events: tuple[DeploymentEvent, ...], after: int) -> Self:
        """Return a page of lines that come after the line ``after``."""
        return cls(events=events, next_after=events[-1].id if events else after)
