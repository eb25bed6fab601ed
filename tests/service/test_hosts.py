"""Host names of deployments' own, as callers of the doors meet them."""

from typing import Any, Final

import pytest

from celadon.domain.language.permissions import Role
from celadon.table.core.hosts import hosts_of
from tests.revisions import serving
from tests.service.doors import Doors
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

HOST: Final = "llm.example.com"
SEARCH: Final = {"team": "search"}


async def hosts(rows: Rows, deployment: str = "chat") -> tuple[str, ...]:
    async with rows.table.transaction() as tx:
        return await hosts_of(tx, deployment)


def start(*given: str, label: str = "new", **request: Any) -> dict[str, Any]:
    return {"deployment": "chat", "revision": serving(label), "traffic": {"hosts": list(given)}, **request}


async def test_a_rollout_gives_hosts_when_it_begins(doors: Doors, rows: Rows) -> None:
    answer = await doors.api.call("POST", "/v1/rollouts", Role.ADMIN, body=start("LLM.example.com"))
    assert (answer.status, answer.json["rollout"] is None) == (202, False), answer.text
    assert await hosts(rows) == (HOST,)
    shown = await doors.api.call("GET", "/v1/deployments/chat", Role.ADMIN)
    assert shown.json["deployment"]["hosts"] == [HOST]
    listed = await doors.api.call("GET", "/v1/deployments", Role.ADMIN)
    assert [one["hosts"] for one in listed.json["deployments"]] == [[HOST]]
    data = await doors.api.data('{ deployment(id: "chat") { hosts } }')
    assert data["deployment"]["hosts"] == [HOST]
    await doors.ways.through_api(Role.VIEWER)
    told = await doors.command("deployment", "show", "chat")
    assert HOST in told.stdout


async def test_other_hosts_take_the_right_to_set_them_and_those_that_hold_take_none(doors: Doors, rows: Rows) -> None:
    await rows.live()
    refused = await doors.api.call("POST", "/v1/rollouts", Role.OPERATOR, body=start(HOST))
    assert (refused.status, refused.code) == (403, "FORBIDDEN"), refused.text
    given = await doors.api.call("PUT", "/v1/deployments/chat/hosts", Role.ADMIN, body={"hosts": [HOST]})
    assert given.json["changed"] is True
    started = await doors.api.call("POST", "/v1/rollouts", Role.OPERATOR, body=start(HOST))
    assert started.status == 202, started.text


async def test_a_host_that_is_not_listed_is_refused_before_anything_starts(doors: Doors, rows: Rows) -> None:
    before = await rows.dump()
    answer = await doors.api.call("POST", "/v1/rollouts", Role.ADMIN, body=start("llm.example.org"))
    assert (answer.status, answer.code) == (409, "HOST_NOT_ALLOWED"), answer.text
    assert "CELADON_HOSTS" in answer.text
    after = await rows.dump()
    assert {name for name in before if before[name] != after[name]} <= {"api_tokens"}


@pytest.mark.parametrize("path", ["/v1/rollouts", "/v1/deployments", "/v1/deployments/chat/hosts"])
async def test_the_deployment_that_has_a_host_is_named_to_who_may_see_it_alone(
    doors: Doors, rows: Rows, path: str
) -> None:
    await rows.live("run-code", deployment="code", labels={"team": "ads"})
    await rows.sql("insert into deployment_hosts (host, deployment) values (:host, 'code')", host=HOST)
    if path.endswith("hosts"):
        await rows.live("run-chat", labels=SEARCH)
    body = start(HOST, labels=SEARCH) if path == "/v1/rollouts" else {"hosts": [HOST]}
    if path == "/v1/deployments":
        body = {"deployment": "chat", "labels": SEARCH, **body}
    for scope, names in ((None, True), (SEARCH, False)):
        method = "PUT" if path.endswith("hosts") else "POST"
        answer = await doors.api.call(method, path, Role.ADMIN, body=body, scope=scope)
        assert (answer.status, answer.code) == (409, "HOST_TAKEN"), answer.text
        assert ("code has it" in answer.json["detail"]) is names, answer.text


async def test_a_plan_shows_other_hosts_and_changes_none(doors: Doors, rows: Rows) -> None:
    await rows.live()
    await rows.sql("insert into deployment_hosts (host, deployment) values ('old.example.com', 'chat')")
    answer = await doors.api.call("POST", "/v1/rollouts/plan", Role.ADMIN, body=start(HOST, revision=1))
    assert answer.json["already_there"] is False, answer.text
    assert (answer.json["hosts_before"], answer.json["hosts"]) == (["old.example.com"], [HOST])
    taken = await doors.api.call("POST", "/v1/rollouts/plan", Role.ADMIN, body=start("llm.example.org", revision=1))
    assert (taken.json["refused"]["code"], taken.json["hosts"]) == ("HOST_NOT_ALLOWED", ["old.example.com"])
    assert await hosts(rows) == ("old.example.com",)


async def test_a_deployment_is_created_with_hosts_and_gives_them_up(doors: Doors, rows: Rows) -> None:
    await doors.ways.through_api(Role.ADMIN)
    for _ in range(2):
        created = await doors.command("deployment", "create", "chat", "--host", HOST, "--host", "www.example.com")
        assert created.exit_code == 0, created.output
    assert await hosts(rows) == (HOST, "www.example.com")
    unclear = await doors.command("deployment", "hosts", "chat")
    assert unclear.exit_code == 2
    cleared = await doors.command("deployment", "hosts", "chat", "--clear")
    assert cleared.stdout == "chat has no host of its own.\n", cleared.output
    assert await hosts(rows) == ()
