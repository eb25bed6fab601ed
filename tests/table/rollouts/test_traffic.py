"""How routers treat a deployment's requests: kept with the deployment, changed by requests and by a command."""

import json
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.decisions.hosts import ClaimableHosts, HostRules
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import Begun
from celadon.domain.language.traffic import DEFAULT_SETTINGS, Traffic, TrafficKey, TrafficSettings
from celadon.table.core.author import Author
from celadon.table.core.listen import ROUTES_CHANNEL, Listener
from celadon.table.core.traffic_settings import read_settings
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.traffic import ChangedTraffic, changes_traffic, set_traffic
from celadon.table.routers.traffic import read_all_traffic, read_traffic
from tests.table.listening import hear_out, heard, until_connected
from tests.table.rows import NOW, TRUSTING, Rows, begin_step

ANN = Author(by="ann", door=Channel.API, reason="two GPUs", verified=True)
RULES = HostRules(ClaimableHosts(listed=("*.example.com",)))
BY_SESSION = {"maglev": {"header": "x-session-id"}}
ALL: dict[str, Any] = {
    "max_requests": 500,
    "max_body": "64MiB",
    "idle_timeout": "10m",
    "retries": 0,
    "load_balancing": BY_SESSION,
}


def made(**written: object) -> TrafficSettings:
    """Return settings as a deployment file writes them."""
    return Traffic.model_validate(written).over(DEFAULT_SETTINGS)


async def started(rows: Rows, run: str = "run-1", **written: object) -> Begun:
    """Begin a rollout whose request says this of its traffic."""
    step = begin_step(run, NOW, traffic=written)
    async with rows.table.transaction() as tx:
        return await begin(tx, step, TRUSTING, hosts=RULES)


async def given(rows: Rows, *reset: TrafficKey, **written: object) -> ChangedTraffic:
    """Give chat these settings."""
    async with rows.table.transaction() as tx:
        return await set_traffic(tx, "chat", made(**written), reset, ANN)


async def stored(rows: Rows, deployment: str = "chat") -> TrafficSettings:
    """Return a deployment's settings, as routers get them too."""
    async with rows.table.transaction() as tx:
        settings = await read_settings(tx, deployment)
        traffic = await read_traffic(tx, deployment)
        everything = {one.deployment: one.settings for one in await read_all_traffic(tx)}
    assert traffic is not None
    assert traffic.settings == settings == everything[deployment]
    return settings


async def evidence(rows: Rows) -> list[dict[str, Any]]:
    """Return the evidence of all changes, and of which rollouts they are."""
    lines = await rows.rows("select rollout, evidence from rollout_events where kind = 'traffic_changed' order by id")
    return [{"rollout": line["rollout"], **line["evidence"]} for line in lines]


# A rollout's request.


async def test_a_first_rollout_gives_settings_from_its_beginning_on(rows: Rows) -> None:
    begun = await started(rows, **ALL)
    assert await stored(rows) == made(**ALL)
    assert await evidence(rows) == [
        {
            "rollout": begun.rollout,
            "max_requests": "default → 500",
            "max_body": "default → 64MiB",
            "idle_timeout": "default → 10m",
            "retries": "default → 0",
            "load_balancing": "default → {maglev: {header: x-session-id}}",
            "epoch": "1",
        }
    ]


async def test_a_request_changes_what_it_names_and_leaves_the_rest(rows: Rows) -> None:
    await rows.live()
    await given(rows, **ALL)
    await started(rows, run="run-2", retries=3, hosts=["llm.example.com"])
    assert await stored(rows) == made(**{**ALL, "retries": 3})
    async with rows.table.transaction() as tx:
        traffic = await read_traffic(tx, "chat")
    assert traffic is not None
    assert traffic.hosts == ("llm.example.com",)


async def test_a_request_that_says_nothing_of_traffic_leaves_all(rows: Rows) -> None:
    await rows.live()
    await given(rows, **ALL)
    await rows.finish(await rows.open("run-2"))
    assert await stored(rows) == made(**ALL)


async def test_a_second_attempt_of_a_begin_changes_nothing_more(rows: Rows) -> None:
    await started(rows, max_requests=5)
    epoch = await rows.value("select epoch from deployments")
    await started(rows, max_requests=5)
    assert await rows.value("select epoch from deployments") == epoch
    assert len(await evidence(rows)) == 1


async def test_an_unsigned_request_may_not_change_settings_and_may_name_those_that_hold(rows: Rows) -> None:
    await rows.live()
    await given(rows, max_requests=500)
    unsigned = Authority(unsigned=Unsigned.DECISIONS)
    step = begin_step("run-2", NOW, revision=1, traffic={"retries": 0, "max_requests": 500})
    with pytest.raises(RefusedError, match="changes retries of its traffic") as refused:
        async with rows.table.transaction() as tx:
            await begin(tx, step, unsigned)
    assert refused.value.refusal.code is RefusalCode.UNSIGNED
    step = begin_step("run-3", NOW, revision=1, traffic={"max_requests": 500})
    async with rows.table.transaction() as tx:
        await begin(tx, step, unsigned)
    async with rows.table.transaction() as tx:
        assert not await changes_traffic(tx, "chat", Traffic(max_requests=500))
        assert await changes_traffic(tx, "chat", Traffic(max_requests=501))
    assert await stored(rows) == made(max_requests=500)


async def test_a_deployment_that_is_started_anew_has_the_defaults_again(rows: Rows) -> None:
    await started(rows, **ALL)
    await rows.sql("update rollouts set outcome = 'aborted', completed_at = now()")
    await rows.delete()
    assert await rows.value("select lifecycle from deployments") == "destroyed"
    await started(rows, run="run-2", retries=1)
    assert await stored(rows) == made(retries=1)


async def test_settings_are_of_each_deployment_alone(rows: Rows) -> None:
    await started(rows, **ALL)
    await rows.begin("run-code", deployment="code")
    assert await stored(rows, "code") == DEFAULT_SETTINGS


# The command.


async def test_a_change_raises_the_epoch_tells_gateways_and_is_written_down_once(rows: Rows) -> None:
    await rows.begin()
    async with (
        Listener(rows.table.database_url, "celadon-traffic-test") as listener,
        listener.subscribe(ROUTES_CHANNEL) as news,
    ):
        await until_connected(listener)
        await hear_out(rows.table, ROUTES_CHANNEL, news)
        done = await given(rows, max_requests=5)
        assert done.settings == made(max_requests=5)
        assert await rows.value("select epoch from deployments") == 1
        told = [json.loads(one) for one in await heard(news, 1) if one]
    assert [(one["deployment"], one["epoch"]) for one in told] == [("chat", 1)]
    assert (await given(rows, max_requests=5)).changes == ()
    assert await rows.value("select epoch from deployments") == 1
    assert await evidence(rows) == [{"rollout": None, "max_requests": "default → 5", "epoch": "1"}]


async def test_what_is_reset_has_its_default_and_the_rest_stays(rows: Rows) -> None:
    await rows.begin()
    await given(rows, **ALL)
    await given(rows, TrafficKey.MAX_BODY, TrafficKey.LOAD_BALANCING, retries=1)
    assert await stored(rows) == made(max_requests=500, idle_timeout="10m", retries=1, load_balancing="least_request")


async def test_a_deployment_that_is_destroyed_gets_no_settings(rows: Rows) -> None:
    await rows.begin()
    await rows.sql("update rollouts set outcome = 'aborted', completed_at = now()")
    await rows.delete()
    with pytest.raises(RefusedError) as refused:
        await given(rows, retries=0)
    assert refused.value.refusal.code is RefusalCode.DEPLOYMENT_DELETED


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ("max_requests = 0", "max_requests"),
        ("max_requests = 1000001", "max_requests"),
        ("max_body = 0", "max_body"),
        ("idle_timeout = interval '-1 s'", "idle_timeout"),
        ("retries = -1", "retries"),
        ("retries = 21", "retries"),
        ("load_balancing = 'random'", "load_balancing"),
        ("load_balancing = 'maglev'", "hash_header"),
        ("load_balancing = 'least_request', hash_header = 'a'", "hash_header"),
        ("hash_header = 'a'", "hash_header"),
        ("load_balancing = 'maglev', hash_header = 'A'", "hash_header"),
    ],
)
async def test_the_table_itself_keeps_no_setting_that_routers_would_refuse(
    rows: Rows, values: str, constraint: str
) -> None:
    await rows.begin()
    with pytest.raises(IntegrityError, match=f"ck_deployments_{constraint}"):
        await rows.sql(f"update deployments set {values}")  # noqa: S608 - the values stand above
