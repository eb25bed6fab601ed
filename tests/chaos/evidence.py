"""What a failed cell leaves behind for whoever has to find out why."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.service import RPCError

from tests.chaos.site import Site, as_json
from tests.chaos.subject import Subject

_HISTORY_EVENTS: Final = 120


async def evidence(site: Site, subject: Subject) -> dict[str, Any]:
    """Return all that tells of a subject, to be read when a cell has failed."""
    kept: dict[str, Any] = {"deployment": subject.name}
    for table, key in (("deployments", "name"), ("rollouts", "deployment"), ("route_sets", "deployment")):
        kept[table] = as_json(await site.rows(f"select * from {table} where {key} = :name", name=subject.name))  # noqa: S608
    kept["routes"] = as_json(
        await site.rows(
            "select routes.* from routes join route_sets on route_sets.id = set_id "
            "where deployment = :name and (ended_at is null or ended_at > now() - interval '3 minutes')",
            name=subject.name,
        ),
    )
    kept["events"] = as_json(
        await site.rows(
            "select at, rollout, kind, actor, reason, evidence from rollout_events "
            "where deployment = :name and rollout > :before order by id",
            name=subject.name,
            before=subject.before,
        ),
    )
    kept["history"] = await _history(subject)
    kept["logs"] = {child: site.log_tail(child, subject.name) for child in ("worker", "worker-2", "gateway")}
    return kept


async def _history(subject: Subject) -> Sequence[str]:
    events: list[str] = []
    with suppress(RPCError):
        async for event in subject.handle.fetch_history_events():
            kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
            details = str(event).replace("\n", " ") if "FAILED" in kind or "TIMED_OUT" in kind else ""
            events.append(f"{event.event_id} {event.event_time.ToJsonString()} {kind} {details[:600]}")
    return events[-_HISTORY_EVENTS:]
