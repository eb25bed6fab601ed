"""Host names of deployments' own: who may claim which, whose they are, and that routers hear of a change."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.decisions.hosts import ClaimableHosts, HostRules
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import Begun
from celadon.domain.language.traffic import Traffic
from celadon.table.core.author import Author
from celadon.table.core.hosts import hosts_of
from celadon.table.core.listen import ROUTES_CHANNEL, Listener
from celadon.table.records.deployments import NewDeployment
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.hosts import refuse_claims, set_hosts
from celadon.table.rollouts.registration import create_deployment
from celadon.table.routers.traffic import read_all_traffic, read_traffic
from tests.table.listening import hear_out, heard, until_connected
from tests.table.locks import until_somebody_waits
from tests.table.permitting import allow, without
from tests.table.rows import NOW, TRUSTING, Rows, begin_step

ANN = Author(by="ann", door=Channel.API, reason="opened to customers", verified=True)
LISTED = ClaimableHosts(listed=("*.example.com",))
RULES = HostRules(LISTED)
HOST, OTHER = "llm.example.com", "www.example.com"


async def started(
    rows: Rows, *hosts: str, deployment: str = "chat", rules: HostRules = RULES, authority: Authority = TRUSTING
) -> Begun:
    """Begin a rollout whose request gives these hosts."""
    step = begin_step(f"run-{deployment}", NOW, deployment=deployment, traffic={"hosts": list(hosts)})
    async with rows.table.transaction() as tx:
        return await begin(tx, step, authority, hosts=rules)


async def given(rows: Rows, *hosts: str, deployment: str = "chat", rules: HostRules = RULES) -> bool:
    """Give a deployment these hosts; tell whether that was a change."""
    async with rows.table.transaction() as tx:
        return (await set_hosts(tx, deployment, hosts, ANN, rules))[1]


async def hosts(rows: Rows, deployment: str = "chat") -> tuple[str, ...]:
    """Return a deployment's hosts."""
    async with rows.table.transaction() as tx:
        return await hosts_of(tx, deployment)


async def evidence(rows: Rows) -> list[dict[str, Any]]:
    """Return the evidence of all changes of hosts, and of which rollouts they are."""
    lines = await rows.rows("select rollout, evidence from rollout_events where kind = 'hosts_changed' order by id")
    return [{"rollout": line["rollout"], **line["evidence"]} for line in lines]


# A rollout's request.


async def test_a_first_rollout_gives_hosts_from_its_beginning_on(rows: Rows) -> None:
    begun = await started(rows, OTHER, "LLM.Example.com")
    assert await hosts(rows) == (HOST, OTHER)
    assert await evidence(rows) == [{"rollout": begun.rollout, "from": "", "to": f"{HOST}, {OTHER}", "epoch": "1"}]
    async with rows.table.transaction() as tx:
        traffic = await read_traffic(tx, "chat")
        assert await read_all_traffic(tx) == [traffic]
    assert traffic is not None
    assert (traffic.epoch, traffic.hosts) == (1, (HOST, OTHER))


async def test_a_request_replaces_all_hosts_and_one_that_says_nothing_leaves_them(rows: Rows) -> None:
    await rows.live()
    await given(rows, HOST)
    await rows.finish(await rows.open("run-2"))
    assert await hosts(rows) == (HOST,)
    await started(rows, OTHER)
    assert await hosts(rows) == (OTHER,)


async def test_a_second_attempt_of_a_begin_changes_nothing_more(rows: Rows) -> None:
    await started(rows, HOST)
    epoch = await rows.value("select epoch from deployments")
    await started(rows, HOST)
    assert await rows.value("select epoch from deployments") == epoch
    assert len(await evidence(rows)) == 1


async def test_a_rollout_with_a_host_that_is_not_listed_does_not_begin(rows: Rows) -> None:
    with pytest.raises(RefusedError) as refused:
        await started(rows, HOST, "llm.example.org")
    assert refused.value.refusal.code is RefusalCode.HOST_NOT_ALLOWED
    assert "CELADON_HOSTS" in refused.value.refusal.next_step
    assert await rows.rows("select * from deployments") == []


async def test_nobody_may_claim_a_host_unless_the_operator_lists_some(rows: Rows) -> None:
    with pytest.raises(RefusedError) as refused:
        await rows.begin(traffic={"hosts": [HOST]})
    assert refused.value.refusal.code is RefusalCode.HOST_NOT_ALLOWED


async def test_an_unsigned_request_may_not_change_hosts_and_may_name_those_that_hold(rows: Rows) -> None:
    await rows.live()
    await given(rows, HOST)
    unsigned = Authority(unsigned=Unsigned.DECISIONS)
    step = begin_step("run-2", NOW, revision=1, traffic={"hosts": [OTHER]})
    with pytest.raises(RefusedError) as refused:
        async with rows.table.transaction() as tx:
            await begin(tx, step, unsigned, hosts=RULES)
    assert refused.value.refusal.code is RefusalCode.UNSIGNED
    step = begin_step("run-3", NOW, revision=1, traffic={"hosts": [HOST.upper()]})
    async with rows.table.transaction() as tx:
        await begin(tx, step, unsigned, hosts=HostRules())


# Whose a host is.


async def test_a_host_of_another_deployment_is_refused_and_named_to_who_sees_it_alone(rows: Rows) -> None:
    await started(rows, HOST, deployment="code")
    await rows.sql('update deployments set labels = \'{"team": "search"}\'')
    for rules, named in ((RULES, "another deployment has it"), (HostRules(LISTED, lambda _: True), "code has it")):
        with pytest.raises(RefusedError) as refused:
            await started(rows, OTHER, HOST, rules=rules)
        assert refused.value.refusal.code is RefusalCode.HOST_TAKEN
        assert named in refused.value.refusal.message
    assert await hosts(rows) == ()


async def test_a_door_is_told_at_once_what_a_begin_would_refuse(rows: Rows) -> None:
    await started(rows, HOST, deployment="code")
    traffic = Traffic(hosts=(HOST, OTHER))
    async with rows.table.transaction() as tx:
        with pytest.raises(RefusedError, match="code has it"):
            await refuse_claims(tx, "chat", traffic, HostRules(LISTED, lambda _: True))
        with pytest.raises(RefusedError, match="list does not have it"):
            await refuse_claims(tx, "chat", traffic, HostRules())
        await refuse_claims(tx, "code", traffic, RULES)


async def test_of_two_deployments_that_claim_a_host_at_once_one_has_it(rows: Rows) -> None:
    await rows.begin(deployment="chat")
    await rows.begin("run-2", deployment="code")
    async with rows.table.transaction() as tx:
        await set_hosts(tx, "chat", [HOST], ANN, RULES)
        second = asyncio.create_task(given(rows, HOST, deployment="code"))
        await until_somebody_waits(rows.table)
    with pytest.raises(RefusedError) as refused:
        await second
    assert refused.value.refusal.code is RefusalCode.HOST_TAKEN
    assert (await hosts(rows, "chat"), await hosts(rows, "code")) == ((HOST,), ())


async def test_a_claim_that_waits_for_one_that_is_taken_back_gets_the_host(rows: Rows) -> None:
    await rows.begin(deployment="chat")
    await rows.begin("run-2", deployment="code")
    with suppress(LookupError):
        async with rows.table.transaction() as tx:
            await set_hosts(tx, "chat", [HOST], ANN, RULES)
            second = asyncio.create_task(given(rows, HOST, deployment="code"))
            await until_somebody_waits(rows.table)
            raise LookupError
    assert await second
    assert (await hosts(rows, "chat"), await hosts(rows, "code")) == ((), (HOST,))


async def test_deployments_that_exchange_hosts_never_wait_for_one_another(rows: Rows) -> None:
    await rows.begin(deployment="chat")
    await rows.begin("run-2", deployment="code")
    await given(rows, HOST)
    await given(rows, OTHER, deployment="code")
    both = (given(rows, OTHER), given(rows, HOST, deployment="code"))
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert all(isinstance(one, RefusedError) or one is True for one in answers), answers
    assert sorted(await hosts(rows, "chat") + await hosts(rows, "code")) in ([HOST, OTHER], [HOST], [OTHER])


@pytest.mark.parametrize("host", [HOST.upper(), "*.example.com", "*", "llm", "a..b", "llm.example.com:80", ""])
async def test_the_table_itself_keeps_no_host_that_routers_could_take_for_another(rows: Rows, host: str) -> None:
    await rows.begin()
    with pytest.raises(IntegrityError, match="ck_deployment_hosts_host"):
        await rows.sql("insert into deployment_hosts (host, deployment) values (:host, 'chat')", host=host)


async def test_hosts_of_a_deleted_deployment_are_free_at_once(rows: Rows) -> None:
    await started(rows, HOST, deployment="code")
    await rows.sql("update rollouts set outcome = 'aborted', completed_at = now()")
    await rows.delete(deployment="code")
    line = await rows.value("select evidence from rollout_events where kind = 'deleted'")
    assert line["hosts"] == HOST
    await started(rows, HOST)
    assert await hosts(rows) == (HOST,)


async def test_a_deployment_that_is_destroyed_gets_no_hosts(rows: Rows) -> None:
    await rows.begin()
    await rows.sql("update rollouts set outcome = 'aborted', completed_at = now()")
    await rows.delete()
    with pytest.raises(RefusedError) as refused:
        await given(rows, HOST)
    assert refused.value.refusal.code is RefusalCode.DEPLOYMENT_DELETED


# The command.


async def test_a_change_raises_the_epoch_tells_gateways_and_is_written_down_once(rows: Rows) -> None:
    await rows.begin()
    async with (
        Listener(rows.table.database_url, "celadon-hosts-test") as listener,
        listener.subscribe(ROUTES_CHANNEL) as news,
    ):
        await until_connected(listener)
        await hear_out(rows.table, ROUTES_CHANNEL, news)
        assert await given(rows, HOST)
        assert await rows.value("select epoch from deployments") == 1
        told = [json.loads(one) for one in await heard(news, 1) if one]
    assert [(one["deployment"], one["epoch"]) for one in told] == [("chat", 1)]
    assert not await given(rows, HOST)
    assert await rows.value("select epoch from deployments") == 1
    assert await evidence(rows) == [{"rollout": None, "from": "", "to": HOST, "epoch": "1"}]


async def test_hosts_that_a_deployment_has_stay_when_the_list_shrinks(rows: Rows) -> None:
    await rows.begin()
    await given(rows, HOST, OTHER)
    assert await given(rows, HOST, rules=HostRules())
    with pytest.raises(RefusedError) as refused:
        await given(rows, HOST, OTHER, rules=HostRules())
    assert refused.value.refusal.code is RefusalCode.HOST_NOT_ALLOWED
    assert await given(rows, rules=HostRules())
    assert await hosts(rows) == ()


async def test_no_more_than_twenty_are_given(rows: Rows) -> None:
    await rows.begin()
    with pytest.raises(ValueError, match="at most 20"):
        await given(rows, *(f"h{number}.example.com" for number in range(21)))


# Creating.


async def test_a_deployment_is_created_with_its_hosts_once(rows: Rows) -> None:
    wanted = NewDeployment(name="chat", replicas=1, policy=BlueGreenPolicy(), labels={}, hosts=(HOST,))
    for created in (True, False):
        async with rows.table.transaction() as tx:
            assert await create_deployment(tx, wanted, ANN, allow, RULES) is created
    assert await hosts(rows) == (HOST,)
    with pytest.raises(RefusedError) as refused:
        async with rows.table.transaction() as tx:
            await create_deployment(tx, wanted.model_copy(update={"hosts": (OTHER,)}), ANN, allow, RULES)
    assert refused.value.refusal.code is RefusalCode.DEPLOYMENT_EXISTS


async def test_a_deployment_with_hosts_takes_the_right_to_set_them(rows: Rows) -> None:
    wanted = NewDeployment(name="chat", replicas=1, policy=BlueGreenPolicy(), labels={}, hosts=(HOST,))
    with pytest.raises(RefusedError, match="other hosts than it has"):
        async with rows.table.transaction() as tx:
            await create_deployment(tx, wanted, ANN, without(Verb.SET_HOSTS), RULES)


async def test_reading_traffic_takes_hosts_of_each_deployment_alone(rows: Rows) -> None:
    await started(rows, HOST)
    await started(rows, OTHER, deployment="code")
    await rows.begin("run-3", deployment="none")
    async with rows.table.transaction() as tx:
        assert {one.deployment: one.hosts for one in await read_all_traffic(tx)} == {
            "chat": (HOST,),
            "code": (OTHER,),
            "none": (),
        }
        await tx.execute(text("delete from deployment_hosts where host = :host"), {"host": HOST})
        chat = await read_traffic(tx, "chat")
    assert chat is not None
    assert chat.hosts == ()
