"""Registering deployments, revisions and labels without rolling out."""

import pytest

from celadon.domain.decisions.reserved_names import RESERVED_NAMES
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import Channel
from celadon.domain.language.traffic import TrafficSettings
from celadon.table.core.author import Author
from celadon.table.core.traffic_settings import read_settings
from celadon.table.records.deployments import NewDeployment
from celadon.table.rollouts.registration import add_revision, create_deployment, set_labels
from tests.table.rows import Rows

ANN = Author(by="ann", door=Channel.API, reason="new service", verified=True)
CHAT = NewDeployment(name="chat", replicas=2, policy=BlueGreenPolicy(auto_promote=True), labels={"team": "search"})


def revision(program: str) -> Revision:
    return Revision(command=(program,), health_check=HealthCheck(tcp=True))


async def create(rows: Rows, wanted: NewDeployment = CHAT) -> bool:
    async with rows.table.transaction() as tx:
        return await create_deployment(tx, wanted, ANN, lambda _verb, _why: None)


async def test_a_deployment_is_created_once_with_its_line_in_the_audit_log(rows: Rows) -> None:
    assert await create(rows)
    assert not await create(rows)
    [event] = await rows.rows("select kind, actor, door, verified, reason from rollout_events")
    assert dict(event) == {
        "kind": "created",
        "actor": "ann",
        "door": "api",
        "verified": True,
        "reason": "new service",
    }
    assert await rows.value("select labels from deployments") == {"team": "search"}


async def test_a_deployment_is_created_with_its_settings_of_traffic_once(rows: Rows) -> None:
    wanted = CHAT.model_copy(update={"settings": TrafficSettings(max_requests=7, max_body="1MiB", retries=0)})
    assert await create(rows, wanted)
    assert not await create(rows, wanted)
    async with rows.table.transaction() as tx:
        assert await read_settings(tx, "chat") == wanted.settings


async def test_a_deployment_with_settings_of_traffic_takes_the_right_to_set_them(rows: Rows) -> None:
    def without_traffic(verb: Verb, why: str) -> None:
        if verb is Verb.SET_TRAFFIC:
            raise refuse(RefusalCode.FORBIDDEN, why, "ask an admin")

    wanted = CHAT.model_copy(update={"settings": TrafficSettings(retries=0)})
    with pytest.raises(RefusedError, match="changes retries of its traffic"):
        async with rows.table.transaction() as tx:
            await create_deployment(tx, wanted, ANN, without_traffic)


@pytest.mark.parametrize(
    "change",
    [{"replicas": 3}, {"labels": {}}, {"policy": BlueGreenPolicy()}, {"settings": TrafficSettings(retries=0)}],
)
async def test_another_deployment_of_the_same_name_is_refused(rows: Rows, change: dict[str, object]) -> None:
    await create(rows)
    with pytest.raises(RefusedError) as refused:
        await create(rows, CHAT.model_copy(update=change))
    assert refused.value.refusal.code is RefusalCode.DEPLOYMENT_EXISTS


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
async def test_a_name_by_which_clients_reach_routers_is_refused(rows: Rows, name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await create(rows, CHAT.model_copy(update={"name": name}))
    assert refused.value.refusal.code is RefusalCode.NAME_RESERVED
    assert await rows.rows("select * from deployments") == []


async def test_a_revision_keeps_its_number_and_a_rollout_finds_it(rows: Rows) -> None:
    await create(rows)
    for number, command in ((1, "a"), (2, "b"), (1, "a")):
        async with rows.table.transaction() as tx:
            assert await add_revision(tx, "chat", revision(command), ANN) == number
    begun = await rows.begin(revision=2)
    assert begun.to_revision == 2
    assert begun.policy.auto_promote


async def test_a_revision_of_no_deployment_is_refused(rows: Rows) -> None:
    with pytest.raises(RefusedError) as refused:
        async with rows.table.transaction() as tx:
            await add_revision(tx, "nobody", revision("a"), ANN)
    assert refused.value.refusal.code is RefusalCode.NO_SUCH_DEPLOYMENT


async def test_a_rollout_never_changes_labels(rows: Rows) -> None:
    await rows.begin(labels={"team": "search"})
    assert await rows.value("select labels from deployments") == {"team": "search"}
    with pytest.raises(RefusedError) as refused:
        await rows.begin("run-2", labels={"team": "ads"})
    assert refused.value.refusal.code is RefusalCode.LABELS_DIFFER


async def test_labels_are_changed_with_a_line_in_the_audit_log(rows: Rows) -> None:
    await create(rows)
    for expected in (True, False):
        async with rows.table.transaction() as tx:
            assert await set_labels(tx, "chat", {"team": "ads"}, ANN) is expected
    evidence = await rows.rows("select evidence from rollout_events where kind = 'labelled'")
    assert [row["evidence"] for row in evidence] == [{"from": "team=search", "to": "team=ads"}]
