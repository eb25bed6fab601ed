"""How routers treat a deployment's requests, as callers of the doors meet it."""

from typing import Any

import pytest

from celadon.domain.language.permissions import Role
from celadon.table.core.traffic_settings import read_settings
from tests.revisions import serving
from tests.service.doors import Doors
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

BY_SESSION = {"maglev": {"header": "x-session-id"}}
PATH = "/v1/deployments/chat/traffic"


async def stored(rows: Rows) -> dict[str, Any]:
    """Return what differs from the defaults, as JSON."""
    async with rows.table.transaction() as tx:
        return (await read_settings(tx, "chat")).model_dump(mode="json", exclude_none=True)


def start(label: str = "new", traffic: object = None, **request: Any) -> dict[str, Any]:
    """Return a deployment file as JSON."""
    return {"deployment": "chat", "revision": serving(label), "traffic": traffic, **request}


async def test_a_rollout_gives_settings_when_it_begins_and_every_door_shows_them(doors: Doors, rows: Rows) -> None:
    body = start(traffic={"max_requests": 500, "load_balancing": BY_SESSION})
    answer = await doors.api.call("POST", "/v1/rollouts", Role.ADMIN, body=body)
    assert answer.status == 202, answer.text
    assert await stored(rows) == {"max_requests": 500, "load_balancing": BY_SESSION}
    shown = await doors.api.call("GET", "/v1/deployments/chat", Role.ADMIN)
    assert shown.json["deployment"]["traffic"]["max_requests"] == 500
    data = await doors.api.data('{ deployment(id: "chat") { traffic } }')
    assert data["deployment"]["traffic"]["load_balancing"] == BY_SESSION
    await doors.ways.through_api(Role.VIEWER)
    told = await doors.command("deployment", "show", "chat")
    assert "traffic: max_requests 500, load_balancing {maglev: {header: x-session-id}}" in told.stdout


async def test_other_settings_take_a_right_and_those_that_hold_take_none(doors: Doors, rows: Rows) -> None:
    await rows.live()
    body = start(traffic={"retries": 0})
    refused = await doors.api.call("POST", "/v1/rollouts", Role.OPERATOR, body=body)
    assert (refused.status, refused.code) == (403, "FORBIDDEN"), refused.text
    given = await doors.api.call("PATCH", PATH, Role.ADMIN, body={"retries": 0})
    assert given.json["changes"] == [{"field": "retries", "before": "default", "after": "0"}]
    started = await doors.api.call("POST", "/v1/rollouts", Role.OPERATOR, body=body)
    assert started.status == 202, started.text


async def test_a_plan_shows_other_settings_and_changes_none(doors: Doors, rows: Rows) -> None:
    await rows.live()
    body = start(revision=1, traffic={"max_body": "1MiB"})
    answer = await doors.api.call("POST", "/v1/rollouts/plan", Role.ADMIN, body=body)
    assert answer.json["already_there"] is False, answer.text
    assert answer.json["traffic"] == [{"field": "max_body", "before": "default", "after": "1MiB"}]
    assert await stored(rows) == {}


async def test_settings_come_and_go_on_the_command_line(doors: Doors, rows: Rows) -> None:
    await rows.live()
    await doors.ways.through_api(Role.ADMIN)
    words = ("deployment", "traffic", "chat")
    given = await doors.command(*words, "--load-balancing", "maglev:X-Session-Id", "--idle-timeout", "10m")
    assert given.exit_code == 0, given.output
    assert "  idle_timeout: default → 10m" in given.stdout
    assert await stored(rows) == {"idle_timeout": "10m", "load_balancing": BY_SESSION}
    again = await doors.command(*words, "--idle-timeout", "600")
    assert again.stdout == "The traffic of chat is treated so already; nothing was changed.\n"
    back = await doors.command(*words, "--reset", "idle_timeout", "--load-balancing", "least_request")
    assert back.exit_code == 0, back.output
    assert await stored(rows) == {"load_balancing": "least_request"}


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ((), "name at least one setting"),
        (("--reset", "retires"), "retries"),
        (("--reset", "retries", "--retries", "1"), "both given and reset"),
        (("--max-body", "64MB"), "is no size"),
        (("--load-balancing", "round_robin"), "write least_request, or"),
    ],
)
async def test_what_is_typed_wrongly_is_refused_and_changes_nothing(
    doors: Doors, rows: Rows, typed: tuple[str, ...], told: str
) -> None:
    await rows.live()
    await doors.ways.through_api(Role.ADMIN)
    answer = await doors.command("deployment", "traffic", "chat", *typed)
    assert answer.exit_code in {1, 2}
    assert told in answer.output.replace("\n", " ")
    assert await stored(rows) == {}


async def test_an_unknown_key_is_refused_with_the_near_one(doors: Doors, rows: Rows) -> None:
    await rows.live()
    answer = await doors.api.call("PATCH", PATH, Role.ADMIN, body={"max_request": 5})
    assert answer.status == 422, answer.text
    assert "max_requests" in answer.text


async def test_a_deployment_is_created_with_settings_of_its_traffic_at_every_door(doors: Doors, rows: Rows) -> None:
    given = ("--max-requests", "500", "--idle-timeout", "10m", "--load-balancing", "maglev:x-session-id")
    await doors.ways.through_api(Role.ADMIN)
    created = await doors.command("deployment", "create", "chat", *given)
    assert created.exit_code == 0, created.output
    assert await stored(rows) == {"max_requests": 500, "idle_timeout": "10m", "load_balancing": BY_SESSION}
    body = {"deployment": "chat", "max_requests": 500, "idle_timeout": "10m", "load_balancing": BY_SESSION}
    again = await doors.api.call("POST", "/v1/deployments", Role.ADMIN, body=body)
    assert again.json["created"] is False, again.text
    other = await doors.api.call("POST", "/v1/deployments", Role.ADMIN, body={**body, "max_requests": 400})
    assert other.code == "DEPLOYMENT_EXISTS"
