"""The past of a deployment: its rollouts, what happened in them, and who was told of what."""

# ruff: noqa: PLC0415 - looking needs no database

from typing import TYPE_CHECKING

from celadon.domain.language.errors import RefusalCode, refuse
from celadon.service.pages import Page, named
from celadon.service.principal import Principal
from celadon.table.records.deliveries import ToldRecord
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord

if TYPE_CHECKING:
    from celadon.service.service import Service


class History(Page[RolloutRecord, int]):
    """Rollouts of a deployment, newest first, or one of them, with what happened."""

    model_config = named("rollouts", "next_before")

    deployment: str
    """The deployment's name."""
    events: tuple[AuditEvent, ...]
    """The last lines of the audit log about these rollouts, and about the deployment at their time; newest first."""
    notified: tuple[ToldRecord, ...]
    """What was told of these rollouts to whom, and failures; newest first."""


async def read_history(
    service: "Service", who: Principal, name: str, *, rollout: int | None = None, before: int | None = None, limit: int
) -> History:
    """Return a page of the past of a deployment.

    Args:
        service: reads it.
        who: the caller.
        name: the deployment.
        rollout: this rollout alone.
        before: the rollouts that are older than this one; the newest of all when not given.
        limit: how many rollouts, lines and notifications at most.

    Raises:
        RefusedError: there is none, the caller may not see it, it has no such rollout, or ``rollout`` and ``before``
            are given.

    """
    from celadon.table.notifications.deliveries import read_told
    from celadon.table.read.deployment_history import read_past_rollouts
    from celadon.table.read.history import read_events

    if rollout is not None and before is not None:
        raise refuse(
            RefusalCode.INVALID_PAYLOAD,
            "rollout and before exclude one another",
            "give 'rollout' for one rollout, or 'before' for those that are older than one",
        )
    async with service.reading(who, name) as tx:
        rollouts = await read_past_rollouts(tx, name, rollout=rollout, before=before, limit=limit + 1)
        # What happened before the oldest rollout of a page stands on the next one.
        since = rollouts[limit - 1].rollout if len(rollouts) > limit else None
        return History.of(
            rollouts,
            limit,
            lambda one: one.rollout,
            deployment=name,
            events=await read_events(tx, name, rollout=rollout, since=since, before=before, limit=limit),
            notified=await read_told(tx, name, rollout=rollout, since=since, before=before, limit=limit),
        )
