"""Deleting a deployment whose rollout is under way, and telling its past."""

import asyncio

import pytest

from celadon.domain.language.permissions import Role
from celadon.domain.language.states import RolloutOutcome
from tests.api.conftest import DEADLINE_SECONDS, ApiClient
from tests.revisions import serving
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

START = {"deployment": "chat", "revision": serving()}
PATH = "/v1/deployments/chat"


async def test_a_delete_is_refused_while_a_rollout_is_under_way(api: ApiClient, rows: Rows) -> None:
    del rows
    assert (await api.call("POST", "/v1/rollouts", Role.ADMIN, body=START)).status == 202

    refused = await api.call("DELETE", PATH, Role.ADMIN)

    assert (refused.status, refused.code) == (409, "ROLLOUT_RUNNING")


async def test_a_delete_with_abort_asks_the_rollout_to_end(api: ApiClient, rows: Rows) -> None:
    del rows
    assert (await api.call("POST", "/v1/rollouts", Role.ADMIN, body=START)).status == 202

    refused = await api.call("DELETE", f"{PATH}?abort=true&reason=old", Role.ADMIN)
    shown = await api.call("GET", PATH, Role.VIEWER)

    async def told() -> bool:
        past = await api.call("GET", f"{PATH}/history", Role.VIEWER)
        asked = [one for one in past.json["events"] if one["reason"] == "the deployment is deleted: old"]
        return [(one["actor"], one["verified"]) for one in asked[:1]] == [("admin", True)]

    assert (refused.code, shown.json["phase"]) == ("ROLLOUT_RUNNING", "rolling_back")
    async with asyncio.timeout(DEADLINE_SECONDS):
        await api.until(told)


async def test_a_delete_with_abort_is_done_when_the_rollout_has_ended(api: ApiClient, rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")

    early = await api.call("DELETE", f"{PATH}?abort=true", Role.ADMIN)
    await rows.close(opened, opened.green)
    await rows.finish(opened, RolloutOutcome.ABORTED)
    done = await api.call("DELETE", f"{PATH}?abort=true&reason=old", Role.ADMIN)
    past = await api.call("GET", f"{PATH}/history", Role.VIEWER)

    assert early.code == "ROLLOUT_RUNNING"
    assert (done.status, done.json["lifecycle"]) == (200, "destroying"), done.text
    told = [(one["kind"], one["actor"], one["verified"], one["reason"]) for one in past.json["events"]]
    assert ("deleted", "admin", True, "old") in told


async def test_a_past_is_told_to_whoever_may_see_the_deployment(api: ApiClient, rows: Rows) -> None:
    opened = await rows.live()

    whole = await api.call("GET", f"{PATH}/history?limit=1", Role.VIEWER)
    one = await api.call("GET", f"{PATH}/history?rollout={opened.begun.rollout}", Role.VIEWER)
    none = await api.call("GET", f"{PATH}/history?rollout=777777", Role.VIEWER)
    hidden = await api.call("GET", f"{PATH}/history", Role.VIEWER, scope={"team": "other"})

    assert (len(whole.json["rollouts"]), len(whole.json["events"])) == (1, 1)
    assert {event["rollout"] for event in one.json["events"]} == {opened.begun.rollout}
    assert (none.status, none.code) == (404, "NO_SUCH_ROLLOUT")
    assert (hidden.status, hidden.code) == (404, "NO_SUCH_DEPLOYMENT")
