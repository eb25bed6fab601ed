"""A plan: what a rollout would do, without a row written."""

from typing import Any

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.plan import Plan, PolicyLayer
from celadon.domain.language.states import RolloutOutcome
from celadon.table.rollouts.planning import plan_start
from tests.revisions import TCP, serving
from tests.table.rollouts.test_next_rollouts import Person
from tests.table.rows import Rows

OTHER = serving("other")


def _allow(_verb: Verb, _why: str) -> None:
    pass


async def _plan(rows: Rows, *, verified: bool = True, require: Any = _allow, **request: Any) -> Plan:
    """Return a plan, having checked that no row of any table has changed."""
    before = await rows.dump()
    given = parse_payload(RolloutRequest, {"deployment": "chat", "revision": OTHER, **request})
    async with rows.table.transaction() as tx:
        plan = await plan_start(tx, given, verified=verified, require=require)
    assert await rows.dump() == before
    return plan


async def test_a_plan_of_a_first_rollout_writes_nothing(rows: Rows) -> None:
    plan = await _plan(rows, policy={"bake": "1m"})

    assert (plan.refused, plan.already_there, plan.rollout) == (None, False, None)
    assert (plan.from_revision, plan.to_revision, plan.replicas_before, plan.replicas) == (None, 1, None, 1)
    assert (plan.capacity_now, plan.capacity_peak, plan.gated, plan.changes) == (0, 1, False, ())
    assert {one.key for one in plan.policy if one.layer is PolicyLayer.REQUEST} == {"bake"}


async def test_a_plan_of_a_later_rollout_writes_nothing(rows: Rows) -> None:
    await rows.live(replicas=5, policy={"drain_timeout": "1m"})

    plan = await _plan(rows, replicas=3, policy={"bake": "1m"})

    assert (plan.from_revision, plan.to_revision, plan.gated) == (1, 2, True)
    assert (plan.replicas_before, plan.replicas, plan.capacity_now, plan.capacity_peak) == (5, 3, 5, 8)
    assert "command" in {one.field for one in plan.changes}
    layers = {one.key: one.layer for one in plan.policy if one.layer is not PolicyLayer.DEFAULT}
    assert layers == {"drain_timeout": PolicyLayer.DEPLOYMENT, "bake": PolicyLayer.REQUEST}


async def test_a_plan_without_replicas_leaves_them_alone(rows: Rows) -> None:
    await rows.live(replicas=5)

    plan = await _plan(rows)

    assert (plan.replicas_before, plan.replicas) == (5, 5)


async def test_a_plan_takes_no_number_from_a_rollout(rows: Rows) -> None:
    first = await rows.live()

    await _plan(rows)

    assert (await rows.begin("run-2")).rollout == first.begun.rollout + 1


async def test_what_is_live_is_already_there(rows: Rows) -> None:
    await rows.live(replicas=2)

    assert (await _plan(rows, revision=1)).already_there
    assert (await _plan(rows, revision=1, replicas=2)).already_there
    assert not (await _plan(rows, revision=1, replicas=3)).already_there


async def test_what_is_under_way_is_already_there_and_another_start_is_refused(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2", replicas=3)

    same = await _plan(rows, revision=2, replicas=3)
    other = await _plan(rows)

    assert (same.already_there, same.rollout) == (True, opened.begun.rollout)
    assert other.refused is not None
    assert (other.already_there, other.refused.code) == (False, RefusalCode.ROLLOUT_RUNNING)
    assert (other.to_revision, other.capacity_now, other.capacity_peak) == (3, 4, 5)


@pytest.mark.parametrize(
    "request_",
    [
        {"revision": 7},
        {"policy": {"promote_after": "5m"}},
        {"labels": {"team": "ads"}},
        {"policy": {"revision_history_limit": 3}},
        {"policy": {"windows": [{"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "Mars/Base"}]}},
        {"revision": {"provisioner": "static", "endpoints": ["127.0.0.1:80"], "health_check": TCP}, "replicas": 2},
        {"revision": 1, "rollback": True},
        {"policy": {"notify": [{"target": "nowhere", "events": ["completed"]}]}},
    ],
)
async def test_what_a_begin_refuses_a_plan_says_would_be_refused(rows: Rows, request_: dict[str, Any]) -> None:
    await rows.live()

    plan = await _plan(rows, **request_)

    with pytest.raises(RefusedError) as refused:
        await rows.begin("run-2", **{"revision": OTHER, **request_})
    assert plan.refused == refused.value.refusal
    assert (plan.to_revision, plan.guards, plan.capacity_peak) == (None, (), None)


async def test_a_right_that_is_missing_is_what_would_be_refused(rows: Rows) -> None:
    await rows.live()

    def refuse_promoting(verb: Verb, why: str) -> None:
        if verb is Verb.PROMOTE:
            raise refuse(RefusalCode.FORBIDDEN, why, "ask somebody")

    plan = await _plan(rows, require=refuse_promoting, policy={"auto_promote": True})

    assert plan.refused is not None
    assert plan.refused.code is RefusalCode.FORBIDDEN
    assert "auto_promote" in plan.refused.message


async def test_a_requester_for_whom_nobody_vouches_is_refused_where_the_policy_excludes_it(rows: Rows) -> None:
    policy = {"approvals": {"count": 1, "exclude_requester": True}}

    plan = await _plan(rows, verified=False, policy=policy)

    assert plan.refused is not None
    assert plan.refused.code is RefusalCode.UNSIGNED
    assert (await _plan(rows, policy=policy)).refused is None


async def test_a_deployment_that_is_being_destroyed_is_refused_and_a_destroyed_one_is_new(rows: Rows) -> None:
    await rows.live(replicas=4)
    await rows.delete()
    await rows.sql("update deployments set lifecycle = 'destroying'")
    refused = (await _plan(rows)).refused
    await rows.sql("update deployments set lifecycle = 'destroyed'")

    plan = await _plan(rows)

    assert refused is not None
    assert refused.code is RefusalCode.DEPLOYMENT_DELETED
    assert (plan.refused, plan.from_revision, plan.replicas_before, plan.replicas) == (None, None, None, 1)


async def test_a_freeze_stands_in_a_plan(rows: Rows) -> None:
    await rows.live()
    await rows.sql(
        "insert into freezes (deployment, begins_at, ends_at, actor, door, reason) "
        "values ('chat', now() - interval '1 minute', null, 'ann', 'cli', 'audit')"
    )

    plan = await _plan(rows)

    freeze = next(one for one in plan.guards if one.guard == "freeze")
    assert freeze.binds
    assert "audit" in freeze.told
    assert plan.earliest is None


async def test_a_plan_holds_no_lock_of_the_deployment_afterwards(rows: Rows) -> None:
    await rows.live()
    given = parse_payload(RolloutRequest, {"deployment": "chat", "revision": OTHER})

    async with rows.table.transaction() as tx:
        await plan_start(tx, given, verified=True, require=_allow)
        assert await rows.value("select name from deployments for update nowait") == "chat"


QUEUE = {"on_new_revision": "queue"}


async def test_a_plan_says_what_the_rollout_would_wait_for(rows: Rows) -> None:
    await rows.live()
    opened = await rows.open("run-2")

    queued = await _plan(rows, policy=QUEUE)
    replacing = await _plan(rows, policy={"on_new_revision": "replace"})
    refused = await _plan(rows)

    end = f"the end of rollout {opened.begun.rollout}"
    assert (queued.refused, queued.would_wait) == (None, end)
    assert replacing.would_wait == f"{end}, which it replaces: green is being closed"
    assert refused.refused is not None
    assert (refused.refused.code, refused.would_wait) == (RefusalCode.ROLLOUT_RUNNING, "")


async def test_a_plan_shows_what_waits_already(rows: Rows) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    await Person(rows).waits("other", policy=QUEUE)

    again = await _plan(rows, policy=QUEUE)
    newer = await _plan(rows, policy=QUEUE, revision=serving("newest"))

    assert again.already_there
    assert again.waiting is not None
    assert (again.waiting.requested_by, again.waiting.after) == ("ben", opened.begun.rollout)
    assert (newer.already_there, newer.refused, newer.waiting) == (False, None, again.waiting)


async def test_a_plan_says_that_a_rollout_would_meet_what_waits_for_a_retry(rows: Rows) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    await Person(rows).waits("other", policy=QUEUE)
    await rows.finish(opened, RolloutOutcome.ABORTED)

    refused = await _plan(rows, revision=serving("newest"))
    takes_its_place = await _plan(rows, revision=serving("newest"), policy=QUEUE)

    assert refused.refused is not None
    assert refused.refused.code is RefusalCode.ANOTHER_WAITS
    assert (takes_its_place.refused, takes_its_place.would_wait) == (None, "")
