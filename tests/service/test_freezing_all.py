"""Freezing all deployments at once, at each door that has more than one deployment."""

import pytest

from celadon.domain.language.permissions import Role
from tests.service.doors import CALLER, Doors, Way, Words
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

FREEZE = Words(
    rest=("POST", "/v1/freezes", {"all": True, "ends_at": "2035-12-27T06:00:00+01:00"}),
    graphql=("freeze", {"all": True, "endsAt": "2035-12-27T06:00:00+01:00"}, "... on FreezePayload { freeze endsAt }"),
    cli=("freeze", "--all", "--until", "2035-12-27T06:00:00+01:00", "--yes"),
)
UNFREEZE = Words(
    rest=("POST", "/v1/unfreeze", {"all": True}),
    graphql=("unfreeze", {"all": True}, "... on UnfreezePayload { ended left }"),
    cli=("unfreeze", "--all"),
)
WAYS = [Way.REST, Way.GRAPHQL, Way.CLI, Way.DIRECT]


@pytest.mark.parametrize("way", WAYS)
async def test_all_deployments_are_frozen_and_unfrozen(way: Way, doors: Doors, rows: Rows) -> None:
    await rows.live()

    frozen = await doors.give(way, FREEZE)

    assert frozen.code == "", frozen.text
    assert "2035-12-27t05:00:00" in frozen.values["ends_at"]
    assert await rows.value("select actor from freezes where deployment is null") == CALLER
    ended = await doors.give(way, UNFREEZE)
    assert ended.code == "", ended.text
    again = await doors.give(way, UNFREEZE)
    assert again.code == "NOT_FROZEN"


@pytest.mark.parametrize("way", [Way.REST, Way.GRAPHQL, Way.CLI])
async def test_only_an_admin_freezes_all(way: Way, doors: Doors, rows: Rows) -> None:
    await rows.live()

    answer = await doors.give(way, FREEZE, Role.APPROVER)

    assert answer.code == "FORBIDDEN", answer.text
    assert await rows.rows("select * from freezes") == []


@pytest.mark.parametrize("body", [{}, {"all": True, "deployment": "chat"}, {"deployment": "chat", "all": True}])
async def test_a_freeze_names_one_deployment_or_all(body: dict[str, object], doors: Doors, rows: Rows) -> None:
    await rows.live()

    answer = await doors.give(Way.REST, Words(rest=("POST", "/v1/freezes", body), graphql=("", {}, ""), cli=()))

    assert answer.code == "INVALID_PAYLOAD"
    assert "name one deployment, or say all" in answer.text
