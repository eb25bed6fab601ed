"""Schedules on a real Temporal: they fire for their author, whose rights are judged then, or fail and say why."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
    WorkflowFailureError,
)
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError

from celadon.domain.language.contracts import ASK_TYPE, SCHEDULED_AT, SCHEDULED_BY, TASK_QUEUE
from celadon.domain.language.permissions import Role
from celadon.domain.language.scheduling import MOST_SCHEDULES
from celadon.table.core.locks import lock_deployment
from tests.api.conftest import DEADLINE_SECONDS, Answer
from tests.service.doors import Doors, Scenarios
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

PATH: Final = "/v1/deployments/chat/schedules"
SOON: Final = timedelta(seconds=2)
NEVER: Final = "0 3 29 2 *"
"""A timetable that does not come while a test runs, but at each end of a February with 29 days."""


class Scheduling:
    """Makes and looks at schedules of the deployment ``chat``."""

    def __init__(self, doors: Doors, rows: Rows) -> None:
        self.api = doors.api
        self.temporal: Client = doors.temporal
        self.rows = rows
        self.scenarios = Scenarios(doors, rows)

    async def create(self, role: Role = Role.ADMIN, **body: Any) -> Answer:
        """Ask for a schedule ``tonight`` that promotes."""
        if not {"at", "cron"} & body.keys():
            body["at"] = (datetime.now(UTC) + SOON).isoformat()
        return await self.api.call("POST", PATH, role, body={"schedule": "tonight", "command": "promote", **body})

    async def made(self, role: Role = Role.ADMIN, **body: Any) -> None:
        """Make that schedule."""
        answer = await self.create(role, **body)
        assert answer.status == 201, answer.text

    async def listed(self) -> dict[str, Any]:
        """Return the schedules by name."""
        answer = await self.api.call("GET", PATH, Role.VIEWER)
        assert answer.status == 200, answer.text
        return {one["schedule"]: one for one in answer.json["schedules"]}

    async def fired(self, name: str = "tonight") -> dict[str, Any]:
        """Wait until a schedule has fired and was answered; return what came of it."""
        found: list[dict[str, Any]] = []

        async def answered() -> bool:
            last = (await self.listed())[name]["last"]
            found[:] = [last] if last is not None and last["came_of_it"] != "asking" else []
            return bool(found)

        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.api.until(answered)
        return found[0]

    async def lines(self, kind: str) -> list[tuple[Any, ...]]:
        """Return who did what the audit log tells of, through which door, and whether a door vouches for it."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.api.until(lambda: self.rows.rows("select 1 from rollout_events where kind = :kind", kind=kind))
        found = await self.rows.rows(
            "select actor, issuer, door, verified from rollout_events where kind = :kind", kind=kind
        )
        return [tuple(one.values()) for one in found]

    async def by_hand(self, identity: str, *, command: str = "promote", schedule: str = "") -> str:
        """Start ``Ask`` as somebody who reaches Temporal can; return why it failed."""
        attributes = TypedSearchAttributes(
            [
                SearchAttributePair(SearchAttributeKey.for_keyword(SCHEDULED_BY), schedule),
                SearchAttributePair(SearchAttributeKey.for_datetime(SCHEDULED_AT), datetime.now(UTC)),
            ]
            if schedule
            else []
        )
        asking = self.temporal.execute_workflow(
            ASK_TYPE,
            {"deployment": "chat", "command": command},
            id=identity,
            task_queue=TASK_QUEUE,
            search_attributes=attributes,
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await asking
        cause = failed.value.cause
        assert isinstance(cause, ApplicationError)
        return f"{cause.type}: {cause.message}"


@pytest_asyncio.fixture(loop_scope="session")
async def scheduling(doors: Doors, rows: Rows) -> AsyncIterator[Scheduling]:
    """Return what makes schedules, and leave none in Temporal."""
    yield Scheduling(doors, rows)
    async for one in await doors.temporal.list_schedules():
        await doors.temporal.get_schedule_handle(one.id).delete()


async def test_a_scheduled_promotion_switches_for_its_author(scheduling: Scheduling) -> None:
    await scheduling.scenarios.awaiting()

    await scheduling.made(Role.APPROVER, argument={"reason": "at night"})
    last = await scheduling.fired()

    assert last["came_of_it"] == "done"
    assert "Switched to green" in last["said"]
    approver = ("approver", "token", "schedule", True)
    assert await scheduling.lines("promotion_requested") == [approver]
    assert (await scheduling.lines("switched"))[-1] == approver
    assert (await scheduling.listed())["tonight"]["state"] == "ended"


async def test_a_scheduled_start_that_meets_a_rollout_waits_for_its_author(scheduling: Scheduling) -> None:
    await scheduling.rows.live()
    await scheduling.rows.open("run-2")

    argument = {"revision": 1, "policy": {"on_new_revision": "queue"}, "reason": "each night"}
    await scheduling.made(Role.OPERATOR, command="start", argument=argument)
    last = await scheduling.fired()

    assert last["came_of_it"] == "done", last
    assert (await scheduling.lines("successor_waits"))[-1] == ("operator", "token", "schedule", True)
    [row] = await scheduling.rows.rows("select * from next_rollouts")
    assert (row["requested_by"], row["issuer"], row["verified"]) == ("operator", "token", True)
    assert "promote" not in row["asked"]["rights"]


async def test_a_scheduled_start_starts_for_its_author(scheduling: Scheduling) -> None:
    await scheduling.rows.live()

    argument = {"revision": 1, "restart": True, "reason": "each night"}
    await scheduling.made(Role.OPERATOR, command="start", argument=argument)
    last = await scheduling.fired()

    assert last["came_of_it"] == "done", last
    assert (await scheduling.lines("started"))[-1] == ("operator", "token", "schedule", True)


async def test_a_scheduled_scaling_scales_for_its_author(scheduling: Scheduling) -> None:
    await scheduling.rows.live()

    await scheduling.made(Role.OPERATOR, command="scale", argument={"replicas": 3})
    await scheduling.fired()

    assert await scheduling.lines("scaled") == [("operator", "token", "schedule", True)]
    assert await scheduling.rows.value("select replicas from deployments") == 3


async def test_a_firing_that_is_refused_fails_with_the_reason(scheduling: Scheduling) -> None:
    await scheduling.rows.live()

    await scheduling.made()
    last = await scheduling.fired()

    assert last["came_of_it"] == "failed"
    assert "no rollout of chat is under way" in last["said"] or "nothing" in last["said"], last
    assert await scheduling.lines("schedule_refused") == [("admin", "token", "schedule", True)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("update api_tokens set revoked_at = now() where name = 'approver'", "was revoked or has expired"),
        ("update api_tokens set expires_at = now() where name = 'approver'", "was revoked or has expired"),
        ("update api_tokens set roles = '{operator}' where name = 'approver'", "approver may not promote"),
        ("""update api_tokens set scope = '{"team": "search"}' where name = 'approver'""", "there is no deployment"),
    ],
    ids=["revoked", "expired", "another role", "another scope"],
)
async def test_the_rights_of_the_author_are_judged_when_it_fires(
    scheduling: Scheduling, change: str, told: str
) -> None:
    await scheduling.scenarios.awaiting()
    await scheduling.made(Role.APPROVER)

    await scheduling.rows.sql(change)
    last = await scheduling.fired()

    assert last["came_of_it"] == "failed"
    assert told in last["said"]
    assert await scheduling.rows.value("select count(*) from rollout_events where kind = 'switched'") == 1


async def test_nobody_schedules_what_they_may_not_do(scheduling: Scheduling) -> None:
    await scheduling.rows.live()
    before = await scheduling.rows.value("select count(*) from schedules")

    refused = await scheduling.create(Role.OPERATOR)

    assert refused.code == "FORBIDDEN"
    assert "operator may not promote" in refused.json["detail"]
    assert await scheduling.rows.value("select count(*) from schedules") == before


async def test_a_force_is_scheduled_by_who_may_force(scheduling: Scheduling) -> None:
    await scheduling.rows.live()

    assert (await scheduling.create(argument={"force": True, "reason": "now"}, cron=NEVER)).status == 201
    refused = await scheduling.create(schedule="other", argument={"force": "yes"}, cron=NEVER)

    assert refused.code == "INVALID_PAYLOAD"
    assert "force" in refused.json["detail"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"command": "delete", "cron": NEVER}, "UNKNOWN_MESSAGE"),
        ({"command": "celebrate", "cron": NEVER}, "UNKNOWN_MESSAGE"),
        ({"cron": "0 3 1 * mon"}, "INVALID_PAYLOAD"),
        ({"cron": "every night"}, "INVALID_PAYLOAD"),
        ({"cron": NEVER, "zone": "Europe/Atlantis"}, "INVALID_PAYLOAD"),
        ({"cron": NEVER, "at": "2999-01-01T00:00:00Z"}, "INVALID_PAYLOAD"),
        ({"at": "2020-01-01T00:00:00Z"}, "INVALID_PAYLOAD"),
        ({"at": "2999-01-01T00:00:00"}, "INVALID_PAYLOAD"),
        ({"cron": ""}, "INVALID_PAYLOAD"),
        ({"cron": NEVER, "schedule": "Tonight"}, "INVALID_PAYLOAD"),
        ({"cron": NEVER, "argument": {"reason": "x" * 9_000}}, "INVALID_PAYLOAD"),
        ({"cron": NEVER, "argument": {"replicas": 3}}, "INVALID_PAYLOAD"),
        ({"cron": NEVER, "command": "start", "argument": {"revision": 1, "deployment": "other"}}, "INVALID_PAYLOAD"),
    ],
)
async def test_what_could_never_fire_is_refused_and_changes_nothing(
    scheduling: Scheduling, body: dict[str, Any], code: str
) -> None:
    await scheduling.rows.live()
    await scheduling.api.token(Role.ADMIN)
    before = await scheduling.rows.dump()

    refused = await scheduling.create(**body)

    assert refused.code == code, refused.text
    after = await scheduling.rows.dump()
    assert {name for name in before if before[name] != after[name]} <= {"api_tokens"}
    assert [one async for one in await scheduling.temporal.list_schedules()] == []


async def test_a_schedule_whose_moment_passes_while_it_is_made_is_refused_and_not_kept(scheduling: Scheduling) -> None:
    await scheduling.rows.live()
    at = datetime.now(UTC) + SOON
    async with scheduling.rows.table.transaction() as tx:
        await lock_deployment(tx, "chat")
        creation = asyncio.create_task(scheduling.create(at=at.isoformat()))
        await asyncio.sleep((at - datetime.now(UTC)).total_seconds() + 1)
    refused = await creation

    assert refused.code == "INVALID_PAYLOAD"
    assert "has passed" in refused.text or "passed while the schedule was made, so that it never fires" in refused.text
    assert await scheduling.listed() == {}
    assert [one async for one in await scheduling.temporal.list_schedules()] == []


async def test_twice_makes_one_schedule_and_another_of_its_name_is_refused(scheduling: Scheduling) -> None:
    await scheduling.rows.live()

    first = await scheduling.create(cron=NEVER)
    second = await scheduling.create(cron=NEVER)
    other = await scheduling.create(cron="0 4 * * *")
    of_somebody_else = await scheduling.create(Role.APPROVER, cron=NEVER)

    assert (first.json["created"], second.json["created"]) == (True, False)
    assert (other.code, of_somebody_else.code) == ("SCHEDULE_EXISTS", "SCHEDULE_EXISTS")
    assert set(await scheduling.listed()) == {"tonight"}


async def test_a_deployment_has_so_many_schedules_and_no_more(scheduling: Scheduling) -> None:
    await scheduling.rows.live()
    for number in range(MOST_SCHEDULES):
        await scheduling.made(cron=NEVER, schedule=f"night-{number}")

    refused = await scheduling.create(cron=NEVER)

    assert refused.code == "TOO_MANY_SCHEDULES"


async def test_a_list_shows_when_a_schedule_fires_next(scheduling: Scheduling) -> None:
    await scheduling.rows.live()

    await scheduling.made(cron="30 3 * * mon-fri", zone="Europe/Berlin", reason="we sleep")

    shown = (await scheduling.listed())["tonight"]
    assert (shown["state"], shown["author"], shown["signed"], shown["reason"]) == ("active", "admin", True, "we sleep")
    assert shown["when"] == "30 3 * * mon-fri (Europe/Berlin)"
    assert shown["next_at"] is not None
    assert shown["last"] is None


async def test_a_schedule_that_somebody_triggers_in_temporal_does_not_count(scheduling: Scheduling) -> None:
    await scheduling.scenarios.awaiting()
    await scheduling.made(cron=NEVER)

    await scheduling.temporal.get_schedule_handle("schedule-chat.tonight").trigger()
    last = await scheduling.fired()

    assert last["came_of_it"] == "failed"
    assert "triggered in Temporal" in last["said"]
    assert await scheduling.rows.value("select count(*) from rollout_events where kind = 'switched'") == 1


async def test_a_schedule_that_somebody_changes_in_temporal_does_not_count(scheduling: Scheduling) -> None:
    await scheduling.scenarios.baking()
    await scheduling.made(cron=NEVER, command="pause")

    async def changed(given: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = given.description.schedule
        assert isinstance(schedule.action, ScheduleActionStartWorkflow)
        schedule.action.args = [{"deployment": "chat", "command": "rollback"}]
        return ScheduleUpdate(schedule=schedule)

    handle = scheduling.temporal.get_schedule_handle("schedule-chat.tonight")
    await handle.update(changed)
    await handle.trigger()
    last = await scheduling.fired()

    assert last["came_of_it"] == "failed"
    assert "something else than its author wanted" in last["said"]


async def test_who_reaches_temporal_lets_nobodys_schedule_fire(scheduling: Scheduling) -> None:
    """Search attributes of schedules can be given to a start by whoever starts it."""
    await scheduling.scenarios.awaiting()
    await scheduling.made(cron=NEVER)

    forged = await scheduling.by_hand("forged", schedule="schedule-chat.tonight")

    assert forged.startswith("SCHEDULE_CHANGED")


async def test_a_start_by_hand_may_what_an_unsigned_message_may(scheduling: Scheduling) -> None:
    """This worker lets an unsigned message do nothing."""
    await scheduling.scenarios.awaiting()

    assert (await scheduling.by_hand("by-hand")).startswith("UNSIGNED")
    assert (await scheduling.by_hand("by-hand", command="delete")).startswith("UNKNOWN_MESSAGE")


async def test_a_schedule_that_was_deleted_in_temporal_is_shown_and_can_be_deleted(scheduling: Scheduling) -> None:
    await scheduling.rows.live()
    await scheduling.made(cron=NEVER)
    await scheduling.temporal.get_schedule_handle("schedule-chat.tonight").delete()

    async def shown() -> bool:
        return bool((await scheduling.listed())["tonight"]["state"] == "not_in_temporal")

    async with asyncio.timeout(DEADLINE_SECONDS):
        await scheduling.api.until(shown)
    gone = await scheduling.api.call("DELETE", f"{PATH}?schedule=tonight", Role.OPERATOR)

    assert (gone.json["was_kept"], gone.json["was_in_temporal"]) == (True, False)
    assert await scheduling.listed() == {}


async def test_a_schedule_that_is_left_in_temporal_is_shown_fails_and_can_be_deleted(scheduling: Scheduling) -> None:
    await scheduling.scenarios.awaiting()
    await scheduling.made()
    await scheduling.rows.sql("delete from schedules")

    last = await scheduling.fired()
    shown = (await scheduling.listed())["tonight"]
    gone = await scheduling.api.call("DELETE", f"{PATH}?schedule=tonight", Role.OPERATOR)

    assert last["came_of_it"] == "failed"
    assert "or it was deleted" in last["said"]
    assert shown["state"] == "not_in_celadon"
    assert (gone.json["was_kept"], gone.json["was_in_temporal"]) == (False, True)


async def test_a_schedule_that_was_made_in_temporal_is_shown_and_can_be_deleted(scheduling: Scheduling) -> None:
    await scheduling.rows.live()
    for deployment in ("chat", "other"):
        await scheduling.temporal.create_schedule(
            f"of-{deployment}",
            Schedule(
                action=ScheduleActionStartWorkflow(
                    ASK_TYPE, {"deployment": deployment, "command": "promote"}, id="ask", task_queue=TASK_QUEUE
                ),
                spec=ScheduleSpec(cron_expressions=["0 3 29 2 *"]),
            ),
        )

    async def shown() -> bool:
        return set(await scheduling.listed()) == {"of-chat"}

    async with asyncio.timeout(DEADLINE_SECONDS):
        await scheduling.api.until(shown)
    found = (await scheduling.listed())["of-chat"]
    other = await scheduling.api.call("DELETE", f"{PATH}?schedule=of-other", Role.ADMIN)
    gone = await scheduling.api.call("DELETE", f"{PATH}?schedule=of-chat", Role.ADMIN)

    assert (found["command"], found["author"], found["signed"]) == ("promote", "", False)
    assert other.code == "NO_SUCH_SCHEDULE"
    assert (gone.json["was_kept"], gone.json["was_in_temporal"]) == (False, True)


async def test_a_deleted_deployment_leaves_no_schedule(scheduling: Scheduling) -> None:
    await scheduling.rows.live()
    await scheduling.made(cron=NEVER, command="start", argument={"revision": 1})

    deleted = await scheduling.api.call("DELETE", "/v1/deployments/chat", Role.ADMIN)

    assert (deleted.json["schedules"], deleted.json["schedules_left"]) == (["tonight"], [])
    assert await scheduling.rows.value("select count(*) from schedules") == 0
    assert [one async for one in await scheduling.temporal.list_schedules()] == []
    refused = await scheduling.create(cron=NEVER)
    assert refused.code == "DEPLOYMENT_DELETED"
