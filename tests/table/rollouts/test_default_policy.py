"""The defaults of an installation: the weakest layer of every policy."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.permissions import Verb
from celadon.domain.language.plan import Plan, PolicyLayer
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.core.defaults import hold_defaults
from celadon.table.read.policies import last_changes
from celadon.table.records.deployments import NewDeployment
from celadon.table.rollouts.default_policy import set_defaults
from celadon.table.rollouts.own_policy import ChangedPolicy, set_policy
from celadon.table.rollouts.planning import plan_start
from celadon.table.rollouts.registration import create_deployment
from tests.revisions import serving
from tests.table.locks import until_somebody_waits
from tests.table.permitting import allow, without
from tests.table.rows import Rows

ANN = Author(by="ann", door=Channel.CLI, reason="since the incident", verified=True, issuer="token")
TWO = {"approvals": {"count": 2}}
TIMED = {"auto_promote": True, "promote_after": "1m"}


async def _set(rows: Rows, *unset: str, require: Any = allow, **given: Any) -> ChangedPolicy:
    policy = BlueGreenPolicy.model_validate(given, strict=False)
    async with rows.table.transaction() as tx:
        return await set_defaults(tx, policy, unset, ANN, require)


async def _refused(rows: Rows, *unset: str, require: Any = allow, **given: Any) -> RefusedError:
    before = await rows.dump()
    with pytest.raises(RefusedError) as refused:
        await _set(rows, *unset, require=require, **given)
    assert await rows.dump() == before
    return refused.value


async def _plan(rows: Rows, **request: Any) -> Plan:
    wanted = {"deployment": "chat", "revision": serving(), **request}
    async with rows.table.transaction() as tx:
        return await plan_start(tx, RolloutRequest.model_validate(wanted, strict=False), verified=True, require=allow)


async def test_a_default_counts_where_nobody_says_otherwise(rows: Rows) -> None:
    await _set(rows, bake="10m")

    assert (await rows.begin()).policy.bake == timedelta(minutes=10)


async def test_the_deployments_own_policy_beats_a_default(rows: Rows) -> None:
    await _set(rows, bake="10m", drain_timeout="1m")
    await rows.live(policy={"bake": "2m"})

    begun = await rows.begin("run-2")

    assert (begun.policy.bake, begun.policy.drain_timeout) == (timedelta(minutes=2), timedelta(minutes=1))


async def test_the_request_beats_a_default(rows: Rows) -> None:
    await rows.live()
    await _set(rows, bake="10m")

    assert (await rows.begin("run-2", policy={"bake": "3m"})).policy.bake == timedelta(minutes=3)


async def test_a_deployment_that_says_what_celadon_says_beats_a_default(rows: Rows) -> None:
    await rows.live(policy={"auto_promote": False})
    await _set(rows, **TIMED)

    assert not (await rows.begin("run-2")).policy.auto_promote


async def test_a_rollout_under_way_keeps_what_it_began_with(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")

    await _set(rows, bake="10m")

    assert (await rows.begin("run-2")).policy == opened.begun.policy
    assert await rows.value("select policy ->> 'bake' from rollouts where outcome is null") == "5m"


async def test_a_default_that_a_person_promotes_gates_a_first_deployment(rows: Rows) -> None:
    assert not (await rows.begin()).gated
    await _set(rows, auto_promote=False)

    assert (await rows.begin("run-2", deployment="search")).gated


async def test_a_key_that_is_unset_is_celadons_own_again(rows: Rows) -> None:
    await _set(rows, bake="10m", drain_timeout="1m")

    changed = await _set(rows, "bake")

    assert [(one.field, one.before, one.after) for one in changed.changes] == [
        ("bake", "10m (installation)", "5m (default)")
    ]
    assert await rows.value("select policy from default_policy") == {"drain_timeout": "1m"}


async def test_the_same_defaults_again_change_nothing(rows: Rows) -> None:
    await _set(rows, bake="10m")
    before = await rows.dump()

    assert (await _set(rows, bake="10m")).changes == ()
    assert await rows.dump() == before


async def test_a_change_is_written_with_who_and_what_in_the_log_of_each_deployment_too(rows: Rows) -> None:
    await rows.live()

    await _set(rows, bake="10m")

    async with rows.table.transaction() as tx:
        [change] = await last_changes(tx)
    assert (change.by, change.door, change.verified, change.reason) == (
        "ann",
        Channel.CLI,
        True,
        "since the incident",
    )
    assert [(one.field, one.before, one.after) for one in change.changes] == [
        ("bake", "5m (default)", "10m (installation)")
    ]
    [event] = await rows.rows("select * from rollout_events where kind = 'defaults_changed'")
    assert (event["deployment"], event["rollout"], event["actor"]) == ("chat", None, "ann")
    assert event["evidence"] == {"bake": "5m (default) → 10m (installation)"}


async def test_nobody_rewrites_who_changed_the_defaults(rows: Rows) -> None:
    await _set(rows, bake="10m")

    for statement in ("update default_changes set actor = 'eve'", "delete from default_changes"):
        with pytest.raises(DBAPIError, match="append-only"):
            await rows.sql(statement)


async def test_an_installation_has_one_policy_of_its_own(rows: Rows) -> None:
    for statement in (
        "insert into default_policy (id, policy) values (1, '{}')",
        "insert into default_policy (id, policy) values (0, '[]')",
    ):
        with pytest.raises(IntegrityError):
            await rows.sql(statement)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"promote_after": "5m"}, RefusalCode.POLICY_CONFLICT),
        ({"on_deadline": "promote"}, RefusalCode.POLICY_CONFLICT),
        ({"notify": [{"target": "nowhere"}]}, RefusalCode.NO_SUCH_TARGET),
        (
            {"windows": [{"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "Mars/Base"}]},
            RefusalCode.INVALID_PAYLOAD,
        ),
    ],
)
async def test_defaults_that_no_rollout_could_have_are_refused(
    rows: Rows, given: dict[str, Any], code: RefusalCode
) -> None:
    assert (await _refused(rows, **given)).refusal.code is code


async def test_defaults_that_a_deployment_could_not_keep_are_refused_with_its_name(rows: Rows) -> None:
    await _set(rows, auto_promote=True)
    await rows.live(policy={"promote_after": "5m"})

    refused = (await _refused(rows, "auto_promote")).refusal

    assert refused.code is RefusalCode.POLICY_CONFLICT
    assert "deployment chat could not keep these defaults: the policy contradicts itself" in refused.message
    assert "celadon policy show chat" in refused.next_step


async def test_what_a_destroyed_deployment_said_keeps_no_default_away(rows: Rows) -> None:
    await _set(rows, auto_promote=True)
    await rows.live(policy={"promote_after": "5m"})
    await rows.sql("update deployments set lifecycle = 'destroyed', live_set = null")

    assert (await _set(rows, "auto_promote")).changes


@pytest.mark.parametrize(
    ("before", "given", "right"),
    [
        ({}, TIMED, Verb.PROMOTE),
        (TIMED, {"promote_after": "1s"}, Verb.PROMOTE),
        ({}, {"promotion_deadline": "1h", "on_deadline": "promote"}, Verb.PROMOTE),
        ({"auto_promote": False}, {"auto_promote": True}, Verb.PROMOTE),
        (TWO, {"approvals": {"count": 1}}, Verb.WAIVE_APPROVALS),
        (TWO, {"approvals": None}, Verb.WAIVE_APPROVALS),
    ],
)
@pytest.mark.parametrize("is_live", [True, False])
async def test_defaults_that_ease_the_switch_take_the_right_to_it(
    rows: Rows, before: dict[str, Any], given: dict[str, Any], right: Verb, *, is_live: bool
) -> None:
    if is_live:
        await rows.live()
    if before:
        await _set(rows, **before)

    assert (await _refused(rows, require=without(right), **given)).refusal.code is RefusalCode.FORBIDDEN
    assert (await _set(rows, **given)).changes


async def test_a_default_that_lets_the_timer_of_one_deployment_switch_takes_the_right_to_promote(rows: Rows) -> None:
    await rows.live(policy=TIMED)
    await _set(rows, **TWO)

    assert (await _refused(rows, "approvals", require=without(Verb.PROMOTE))).refusal.code is RefusalCode.FORBIDDEN


async def test_defaults_that_make_the_switch_harder_take_no_further_right(rows: Rows) -> None:
    await rows.live()
    await _set(rows, **TIMED)

    assert (await _set(rows, require=without(Verb.PROMOTE), promote_after="1h")).changes


@pytest.mark.parametrize(
    ("defaults", "policy", "right"),
    [
        (TWO, {"approvals": None}, Verb.WAIVE_APPROVALS),
        ({"auto_promote": False}, {"auto_promote": True}, Verb.PROMOTE),
        (
            {"windows": [{"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "UTC", "applies_to": "everyone"}]},
            {"windows": []},
            Verb.PROMOTE,
        ),
    ],
)
async def test_a_new_deployment_goes_around_no_default(
    rows: Rows, defaults: dict[str, Any], policy: dict[str, Any], right: Verb
) -> None:
    await _set(rows, **defaults)
    wanted = NewDeployment(
        name="chat", replicas=1, policy=BlueGreenPolicy.model_validate(policy, strict=False), labels={}
    )

    async with rows.table.transaction() as tx:
        with pytest.raises(RefusedError):
            await create_deployment(tx, wanted, ANN, without(right))


async def test_what_the_defaults_allow_a_new_deployment_needs_no_right_for(rows: Rows) -> None:
    await _set(rows, **TIMED)
    wanted = NewDeployment(name="chat", replicas=1, policy=BlueGreenPolicy(), labels={})

    async with rows.table.transaction() as tx:
        assert await create_deployment(tx, wanted, ANN, without(Verb.PROMOTE))


async def test_a_plan_names_the_installation_where_a_default_counts(rows: Rows) -> None:
    await _set(rows, bake="10m", drain_timeout="1m", max_regressions=3)
    await rows.live(policy={"drain_timeout": "2m"})

    plan = await _plan(rows, policy={"max_regressions": 4})

    layers = {one.key: (one.value, one.layer) for one in plan.policy}
    assert layers["bake"] == ("10m", PolicyLayer.INSTALLATION)
    assert layers["drain_timeout"] == ("2m", PolicyLayer.DEPLOYMENT)
    assert layers["max_regressions"] == ("4", PolicyLayer.REQUEST)
    assert layers["min_healthy"] == ("100%", PolicyLayer.DEFAULT)


async def test_a_request_keeps_to_the_defaults_of_what_a_deployment_keeps(rows: Rows) -> None:
    await _set(rows, event_retention="30d")
    await rows.live()

    assert (await _plan(rows, policy={"event_retention": "30d"})).refused is None
    refused = (await _plan(rows, policy={"event_retention": "90d"})).refused
    assert refused is not None
    assert refused.code is RefusalCode.POLICY_CONFLICT


async def test_no_policy_is_stored_while_other_defaults_are_judged(rows: Rows) -> None:
    await _set(rows, auto_promote=True)
    await rows.live()

    async with rows.table.transaction() as tx:
        await hold_defaults(tx)
        unsetting = asyncio.create_task(_set(rows, "auto_promote"))
        await until_somebody_waits(rows.table)
        delay = BlueGreenPolicy(promote_after=timedelta(minutes=5))
        await set_policy(tx, "chat", delay, (), ANN, allow)

    with pytest.raises(RefusedError, match="chat could not keep"):
        await unsetting
