"""Begin: registering a rollout, its revision and its policy."""

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.revision import Revision
from celadon.domain.language.states import RolloutOutcome
from celadon.table.read.of_deployments import revisions_of
from celadon.table.replicas.keeper_reads import read_managed_sets
from celadon.table.rollouts.begin import begin
from tests.revisions import serving
from tests.table.rows import NOW, TRUSTING, Rows, begin_step


async def refusal(rows: Rows, run: str = "run-9", **request: Any) -> RefusalCode:
    """Return why a rollout cannot begin, having checked that nothing is left of the attempt."""
    before = await rows.dump()
    with pytest.raises(RefusedError) as refused:
        await rows.begin(run, **request)
    assert await rows.dump() == before
    return refused.value.refusal.code


async def test_a_first_rollout_creates_its_deployment_and_revision_1(rows: Rows) -> None:
    begun = await rows.begin(replicas=2, policy={"bake": "1m"}, reason="first")

    assert (begun.deployment, begun.replicas, begun.to_revision) == ("chat", 2, 1)
    assert (begun.from_revision, begun.blue_set, begun.started_at) == (None, None, NOW)
    [deployment] = await rows.rows("select * from deployments")
    assert (deployment["replicas"], deployment["live_set"], deployment["lifecycle"]) == (2, None, "deploying")
    assert deployment["policy"] == {"bake": "1m"}
    [rollout] = await rows.rows("select * from rollouts")
    assert (rollout["phase"], rollout["outcome"], rollout["requested_by"]) == ("provisioning", None, "ann")


async def test_a_first_rollout_creates_no_deployment_with_a_name_by_which_clients_reach_routers(rows: Rows) -> None:
    assert await refusal(rows, deployment="localhost") is RefusalCode.NAME_RESERVED


async def test_a_new_deployment_has_one_replica_unless_it_is_told(rows: Rows) -> None:
    assert (await rows.begin()).replicas == 1


async def test_a_deployment_may_have_no_replicas(rows: Rows) -> None:
    assert (await rows.begin(replicas=0)).replicas == 0


async def test_a_later_rollout_keeps_the_deployments_replicas(rows: Rows) -> None:
    await rows.live(replicas=2)

    assert (await rows.begin("run-2")).replicas == 2


async def test_a_rollout_that_changes_replicas_leaves_the_live_number_alone_until_the_switch(rows: Rows) -> None:
    await rows.live(replicas=1)

    opened = await rows.ready("run-2", replicas=3)
    assert await rows.value("select replicas from deployments") == 1

    await rows.switch(opened)
    assert await rows.value("select replicas from deployments") == 3


async def test_a_later_rollout_knows_its_blue(rows: Rows) -> None:
    first = await rows.live()

    begun = await rows.begin("run-2")

    assert (begun.from_revision, begun.to_revision, begun.blue_set) == (1, 2, first.green)


async def test_begin_is_written_into_the_audit_log_once(rows: Rows) -> None:
    for _ in range(2):
        await rows.begin(reason="new weights")

    [event] = await rows.rows("select * from rollout_events")
    assert (event["kind"], event["actor"], event["reason"]) == ("started", "ann", "new weights")
    assert event["evidence"] == {"from_revision": "", "to_revision": "1", "replicas": "1"}


async def test_a_second_attempt_of_the_same_run_finds_the_first_ones_rollout(rows: Rows) -> None:
    first = await rows.begin(policy={"bake": "1m"})
    before = await rows.dump()

    assert await rows.begin(policy={"bake": "1m"}) == first
    assert await rows.dump() == before


async def test_a_second_attempt_finds_the_rollout_even_when_it_has_ended(rows: Rows) -> None:
    opened = await rows.live()

    assert (await rows.begin()).rollout == opened.begun.rollout


async def test_two_attempts_at_once_begin_one_rollout(rows: Rows) -> None:
    one, other = await asyncio.gather(rows.begin(), rows.begin())

    assert one == other
    assert await rows.value("select count(*) from rollouts") == 1


# Revisions.


async def test_the_same_content_keeps_its_number(rows: Rows) -> None:
    revision = {"command": ["serve"], "env": {"A": "1", "B": "2"}}
    await rows.live(revision=revision)
    await rows.live("run-2")

    begun = await rows.begin("run-3", revision={**revision, "env": {"B": "2", "A": "1"}})

    assert begun.to_revision == 1


async def test_other_content_gets_the_next_number(rows: Rows) -> None:
    await rows.live()

    assert (await rows.begin("run-2")).to_revision == 2


async def test_deployments_count_their_revisions_on_their_own(rows: Rows) -> None:
    await rows.live()

    assert (await rows.begin("run-2", deployment="other")).to_revision == 1


async def test_a_revision_is_named_by_its_number(rows: Rows) -> None:
    await rows.live()
    await rows.live("run-2")

    assert (await rows.begin("run-3", revision=1)).to_revision == 1


@pytest.mark.parametrize("number", [2, 2_147_483_647])
async def test_a_number_that_the_deployment_never_had_is_refused(rows: Rows, number: int) -> None:
    await rows.live()
    await rows.live("other-1", deployment="other")
    await rows.live("other-2", deployment="other")

    assert await refusal(rows, revision=number) is RefusalCode.NO_SUCH_REVISION


async def test_a_new_deployment_that_names_a_number_is_refused_and_leaves_nothing(rows: Rows) -> None:
    assert await refusal(rows, deployment="new", revision=1) is RefusalCode.NO_SUCH_REVISION


async def test_two_deployments_of_the_same_content_do_not_wait_for_each_other(rows: Rows) -> None:
    content = serving()

    begun = await asyncio.gather(
        *(rows.begin(f"run-{number}", deployment=f"chat-{number}", revision=content) for number in range(5)),
    )

    assert [one.to_revision for one in begun] == [1] * 5


@pytest.mark.parametrize(
    "content",
    [{"command": ["serve"]}, {"provisioner": "static", "endpoints": ["127.0.0.1:8000"]}],
    ids=["local", "static"],
)
async def test_a_revision_that_does_not_say_how_its_health_is_known_is_refused(
    rows: Rows, content: dict[str, object]
) -> None:
    assert await refusal(rows, revision=content | {"health_check": {}}) is RefusalCode.INVALID_PAYLOAD
    assert await rows.value("select count(*) from revisions") == 0


async def test_a_stored_revision_without_a_check_keeps_its_number_and_means_tcp(rows: Rows) -> None:
    """As a version wrote it that had no other words for TCP than none."""
    content = {
        "env": {},
        "command": ["serve"],
        "endpoints": [],
        "provisioner": "local",
        "health_check": {
            "path": None,
            "timeout": "1s",
            "interval": "1s",
            "failure_threshold": 3,
            "success_threshold": 1,
        },
        "termination_grace": "30s",
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    await rows.live(revision=serving("other"))
    await rows.sql(
        "insert into revisions (deployment, number, digest, content, created_at) "
        "values ('chat', 7, :digest, cast(:content as jsonb), now())",
        digest=hashlib.sha256(canonical.encode()).hexdigest(),
        content=canonical,
    )

    by_number = await rows.open("run-2", revision=7)
    async with rows.table.transaction() as tx:
        managed = await read_managed_sets(tx, ["chat"])
        shown = (await revisions_of(tx, ["chat"], before=None, limit=1))["chat"]
    await rows.finish(by_number, RolloutOutcome.ABORTED)
    by_content = await rows.begin("run-3", revision=serving())

    assert (by_number.begun.to_revision, by_content.to_revision) == (7, 7)
    assert [one.revision.health_check for one in managed if one.revision_number == 7] == [HealthCheck(tcp=True)]
    assert [Revision.model_validate(one.content, strict=False).health_check.tcp for one in shown] == [True]


async def test_more_replicas_than_static_endpoints_are_refused(rows: Rows) -> None:
    static = {"provisioner": "static", "endpoints": ["127.0.0.1:8000"]}

    assert await refusal(rows, revision=static, replicas=2) is RefusalCode.POLICY_CONFLICT
    assert (await rows.begin(revision=static, replicas=1)).replicas == 1


async def test_a_reference_to_a_secret_is_stored_as_a_reference(rows: Rows) -> None:
    await rows.begin(revision={"command": ["serve"], "env": {"TOKEN": {"secret": "hub-token"}}})

    assert (await rows.value("select content from revisions"))["env"] == {"TOKEN": {"secret": "hub-token"}}


# Policy.


async def test_the_policy_is_merged_from_defaults_deployment_and_request(rows: Rows) -> None:
    await rows.live(policy={"bake": "1m", "min_healthy": 1, "drain_timeout": "10s"})

    begun = await rows.begin("run-2", policy={"bake": "2m"})

    assert begun.policy.bake == timedelta(minutes=2)
    assert begun.policy.min_healthy == 1
    assert begun.policy.drain_timeout == timedelta(seconds=10)
    assert begun.policy.router_ack_timeout == BlueGreenPolicy().router_ack_timeout


async def test_a_requests_policy_is_its_own_rollouts_alone(rows: Rows) -> None:
    await rows.live(policy={"bake": "1m"})
    await rows.live("run-2", policy={"bake": "2m"})

    assert (await rows.begin("run-3")).policy.bake == timedelta(minutes=1)


async def test_the_resolved_policy_is_stored_whole(rows: Rows) -> None:
    begun = await rows.begin(policy={"bake": "1m"})

    stored = await rows.value("select policy from rollouts")
    assert set(stored) == set(BlueGreenPolicy.model_fields)
    assert BlueGreenPolicy.model_validate(stored, strict=False) == begun.policy


async def test_a_policy_that_contradicts_the_deployments_is_refused(rows: Rows) -> None:
    await rows.live()

    assert await refusal(rows, policy={"promote_after": "5m"}) is RefusalCode.POLICY_CONFLICT


# The gate of a first deployment.


@pytest.mark.parametrize(
    ("policy", "gated"),
    [
        ({}, False),
        ({"bake": "1m"}, False),
        ({"auto_promote": True}, False),
        ({"promote_after": "0s"}, False),
        ({"auto_promote": True, "promote_after": "0s"}, False),
        ({"auto_promote": True, "promote_after": "5m"}, False),
        ({"auto_promote": False}, True),
        ({"auto_promote": False, "promote_after": 0}, True),
    ],
)
async def test_a_first_deployment_has_a_gate_only_when_its_policy_asks(
    rows: Rows,
    policy: dict[str, Any],
    *,
    gated: bool,
) -> None:
    assert (await rows.begin(policy=policy)).gated is gated


async def test_a_later_rollout_always_has_a_gate(rows: Rows) -> None:
    await rows.live()

    assert (await rows.begin("run-2", policy={"auto_promote": True})).gated is True


async def test_a_first_deployment_that_failed_may_be_tried_again_without_a_gate(rows: Rows) -> None:
    opened = await rows.open()
    await rows.finish(opened)

    begun = await rows.begin("run-2")

    assert (begun.gated, begun.from_revision, begun.blue_set) == (False, None, None)


async def test_the_deployments_policy_asks_for_a_gate_as_the_requests_does(rows: Rows) -> None:
    opened = await rows.open(policy={"auto_promote": False})
    await rows.finish(opened)

    assert (await rows.begin("run-2")).gated is True
    await rows.finish(await rows.open("run-3"))
    assert (await rows.begin("run-4", policy={"auto_promote": True})).gated is False


# A rollout whose workflow is gone.


async def test_an_older_rollout_that_never_ended_ends_as_terminated(rows: Rows) -> None:
    older = await rows.open()

    begun = await rows.begin("run-2", at=NOW + timedelta(minutes=1))

    [row] = await rows.rows("select * from rollouts where id = :id", id=older.begun.rollout)
    assert (row["outcome"], row["outcome_reason"], row["phase"]) == ("failed", "terminated", "completed")
    assert row["completed_at"] == NOW + timedelta(minutes=1)
    assert await rows.value("select id from rollouts where outcome is null") == begun.rollout


async def test_before_its_switch_the_green_of_a_terminated_rollout_drains(rows: Rows) -> None:
    first = await rows.live()
    older = await rows.ready("run-2")

    begun = await rows.begin("run-3")

    states = {row["id"]: row["state"] for row in await rows.rows("select id, state from route_sets")}
    assert states == {first.green: "open", older.green: "draining"}
    assert (begun.blue_set, begun.from_revision) == (first.green, 1)


async def test_after_its_switch_the_blue_of_a_terminated_rollout_drains(rows: Rows) -> None:
    first = await rows.live()
    older = await rows.switched("run-2")

    begun = await rows.begin("run-3")

    states = {row["id"]: row["state"] for row in await rows.rows("select id, state from route_sets")}
    assert states == {first.green: "draining", older.green: "open"}
    assert (begun.blue_set, begun.from_revision) == (older.green, 2)


async def test_what_a_terminated_rollout_leaves_drains_by_that_rollouts_policy(rows: Rows) -> None:
    await rows.open(policy={"drain_timeout": "7s"})

    await rows.begin("run-2")

    assert await rows.value("select drain_deadline - drain_since from route_sets") == timedelta(seconds=7)


async def test_a_rollout_that_ends_as_terminated_can_do_nothing_any_more(rows: Rows) -> None:
    older = await rows.ready()
    await rows.begin("run-2")
    before = await rows.dump()

    answer = await rows.switch(older)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NOT_OWNER
    assert await rows.dump() == before


async def test_a_late_attempt_of_an_older_run_does_not_end_a_newer_rollout(rows: Rows) -> None:
    await rows.begin("run-2", at=NOW)

    assert await refusal(rows, "run-1", at=NOW - timedelta(seconds=1)) is RefusalCode.NOT_OWNER


# Deployments that are gone.


async def test_a_deployment_that_is_being_destroyed_takes_no_rollout(rows: Rows) -> None:
    await rows.live()
    await rows.sql("update deployments set lifecycle = 'destroying'")

    assert await refusal(rows, "run-2") is RefusalCode.DEPLOYMENT_DELETED


async def test_a_destroyed_deployment_starts_anew_with_the_next_revision(rows: Rows) -> None:
    await rows.begin(replicas=3, policy={"auto_promote": False, "bake": "1m"})
    await rows.sql("update rollouts set outcome = 'aborted', completed_at = now()")
    await rows.sql("update deployments set lifecycle = 'destroyed', epoch = 7")
    for deployment in ("chat", None):
        await rows.sql("insert into freezes (deployment, begins_at, actor) values (:of, now(), 'ann')", of=deployment)

    begun = await rows.begin("run-2", policy={"bake": "2m"})

    [row] = await rows.rows("select * from deployments")
    assert (row["lifecycle"], row["replicas"], row["epoch"]) == ("deploying", 1, 8)
    assert await rows.value("select deployment from freezes where ends_at is null") is None
    assert row["policy"] == {"bake": "2m"}
    assert (begun.to_revision, begun.from_revision, begun.gated) == (2, None, False)
    again = await rows.begin("run-2", policy={"bake": "2m"})
    assert again == begun
    assert await rows.value("select epoch from deployments") == 8


# Opening green.


async def test_green_is_opened_once(rows: Rows) -> None:
    opened = await rows.open(replicas=2)
    before = await rows.dump()

    assert (await rows.open(replicas=2)).green == opened.green
    assert await rows.dump() == before
    [row] = await rows.rows("select * from route_sets")
    assert (row["wanted"], row["state"], row["condition"], row["revision"]) == (2, "open", "starting", 1)
    assert await rows.value("select green_set from rollouts") == opened.green


async def test_opening_green_publishes_nothing_new(rows: Rows) -> None:
    await rows.live()
    epoch = await rows.value("select epoch from deployments")

    await rows.open("run-2")

    assert await rows.value("select epoch from deployments") == epoch


async def test_a_rollout_that_ended_opens_no_green(rows: Rows) -> None:
    await rows.begin("run-1")
    await rows.begin("run-2", at=NOW + timedelta(seconds=1))
    before = await rows.dump()

    with pytest.raises(RefusedError) as refused:
        await rows.open("run-1")

    assert refused.value.refusal.code is RefusalCode.NOT_OWNER
    assert await rows.dump() == before


@pytest.mark.parametrize(("paused", "begins"), [(timedelta(minutes=59), True), (timedelta(minutes=61), False)])
async def test_an_attempt_that_was_paused_for_too_long_begins_nothing(
    rows: Rows, paused: timedelta, *, begins: bool
) -> None:
    """Once the rollout is pruned, nothing in the table tells that its run has begun before."""
    await rows.live()
    before = await rows.dump()

    async def attempt() -> None:
        async with rows.table.transaction() as tx:
            await begin(tx, begin_step("run-2"), TRUSTING, attempted_at=datetime.now(UTC) - paused)

    if begins:
        await attempt()
    else:
        with pytest.raises(RefusedError, match=r"was paused since .* pruned since") as refused:
            await attempt()
        assert refused.value.refusal.code is RefusalCode.NOT_OWNER
    assert (await rows.dump() == before) is not begins


async def test_a_paused_attempt_finds_what_its_run_has_begun(rows: Rows) -> None:
    begun = await rows.begin()

    async with rows.table.transaction() as tx:
        again = await begin(tx, begin_step(), TRUSTING, attempted_at=datetime.now(UTC) - timedelta(days=1))

    assert again == begun


async def test_a_policy_with_a_moment_that_no_timer_could_wait_for_is_refused(rows: Rows) -> None:
    moment = (datetime.now(UTC) + timedelta(days=3651)).isoformat()

    told = await refusal(rows, policy={"auto_promote": True, "promote_at": moment})

    assert told is RefusalCode.INVALID_PAYLOAD
