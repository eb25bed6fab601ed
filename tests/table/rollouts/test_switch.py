"""The switch, and its way back."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.names import RolloutId, RouteSetId
from celadon.domain.language.states import Channel, RolloutOutcome, RouteHealthStatus
from celadon.domain.language.steps import Note, SwitchAnswer
from celadon.table.core.engine import Table
from celadon.table.replicas.routes import route_health
from celadon.table.rollouts.scaling import ScaleOrder, scale
from celadon.table.rollouts.switch import switch
from tests.table.locks import until_somebody_waits
from tests.table.rows import HEALTHY, NOW, TRUSTING, Opened, Rows, promotion

UNHEALTHY, DEGRADED = RouteHealthStatus.UNHEALTHY, RouteHealthStatus.DEGRADED
Break = Callable[[Rows, Opened], Awaitable[None]]

FORCED = promotion(force=True)
FROZEN_SQL = "insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')"


def code(answer: SwitchAnswer) -> RefusalCode | None:
    return None if answer.refusal is None else answer.refusal.code


async def epoch_of(rows: Rows) -> int:
    epoch: int = await rows.value("select epoch from deployments where name = 'chat'")
    return epoch


# The switch.


async def test_a_switch_points_the_deployment_at_green(rows: Rows) -> None:
    await rows.live(replicas=1)
    second = await rows.ready("run-2", replicas=2)
    before = await epoch_of(rows)

    answer = await rows.switch(second)

    assert (answer.refusal, answer.epoch) == (None, before + 1)
    assert (answer.healthy_green, answer.required) == (2, 2)
    [deployment] = await rows.rows("select * from deployments")
    assert (deployment["live_set"], deployment["epoch"], deployment["replicas"]) == (second.green, before + 1, 2)
    [rollout] = await rows.rows("select * from rollouts where id = :id", id=second.begun.rollout)
    assert (rollout["phase"], rollout["switch_epoch"], rollout["switched_at"]) == ("baking", answer.epoch, answer.at)


async def test_a_switch_leaves_blue_open_and_its_replicas_alone(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.ready("run-2")
    blue = "select * from routes where set_id = :id"
    before = await rows.rows(blue, id=first.green)

    await rows.switch(second)

    assert await rows.value("select state from route_sets where id = :id", id=first.green) == "open"
    assert await rows.rows(blue, id=first.green) == before


async def test_a_first_switch_needs_no_blue(rows: Rows) -> None:
    first = await rows.ready()

    assert code(await rows.switch(first)) is None
    assert await rows.value("select live_set from deployments") == first.green


async def test_a_green_without_replicas_may_go_live(rows: Rows) -> None:
    first = await rows.ready(replicas=0)

    assert code(await rows.switch(first)) is None


@pytest.mark.parametrize(("blue", "green"), [(3, 2), (2, 3), (1, 1)])
async def test_colours_may_differ_in_size(rows: Rows, blue: int, green: int) -> None:
    await rows.live(replicas=blue)
    second = await rows.ready("run-2", replicas=green)

    assert (await rows.switch(second)).required == green


async def test_a_switch_is_written_into_the_audit_log_with_its_evidence(rows: Rows) -> None:
    first = await rows.switched()

    [event] = await rows.rows("select * from rollout_events where kind = 'switched'")
    assert (event["actor"], event["door"], event["reason"]) == ("ann", "update", "reviewed")
    assert event["evidence"] == {"epoch": str(await epoch_of(rows)), "healthy": "1", "required": "1"}
    assert event["rollout"] == first.begun.rollout


async def test_notes_of_a_switch_are_written_with_it_and_only_once(rows: Rows) -> None:
    first = await rows.ready()
    notes = (Note(seq=1, at=NOW, kind="promotion_requested", by="ann"),)

    for _ in range(2):
        await rows.switch(first, notes=notes)

    assert await rows.value("select count(*) from rollout_events where kind = 'promotion_requested'") == 1


async def test_a_switch_twice_gives_one_epoch_and_the_same_answer(rows: Rows) -> None:
    first = await rows.ready()
    one = await rows.switch(first)
    before = await rows.dump()

    other = await rows.switch(first)

    assert (other.epoch, other.at, other.refusal) == (one.epoch, one.at, None)
    assert await rows.dump() == before


async def test_a_switch_that_is_tried_again_after_the_rollout_ended_tells_what_happened(rows: Rows) -> None:
    first = await rows.ready()
    one = await rows.switch(first)
    await rows.finish(first)

    assert (await rows.switch(first)).epoch == one.epoch


async def test_two_switches_at_once_give_one_epoch(rows: Rows) -> None:
    first = await rows.ready()
    before = await epoch_of(rows)

    # Held here, green lets none of them end before all have begun, whatever they have read by then.
    async with rows.table.transaction() as tx:
        await tx.execute(text("select 1 from route_sets where id = :green for update"), {"green": first.green})
        switches = [asyncio.create_task(rows.switch(first)) for _ in range(4)]
        await until_somebody_waits(rows.table, len(switches))
    answers = await asyncio.gather(*switches)

    assert {answer.epoch for answer in answers} == {before + 1}
    assert await rows.value("select count(*) from rollout_events where kind = 'switched'") == 1


async def nothing(rows: Rows, opened: Opened) -> None:
    """Break nothing."""
    del rows, opened


def by_sql(statement: str) -> Break:
    async def break_it(rows: Rows, opened: Opened) -> None:
        await rows.sql(statement.format(green=opened.green, rollout=opened.begun.rollout))

    return break_it


def by_health(health: RouteHealthStatus) -> Break:
    async def break_it(rows: Rows, opened: Opened) -> None:
        await rows.set_health(opened, opened.routes[0], health, "GET /health answered 500")

    return break_it


async def green_lost_a_replica(rows: Rows, opened: Opened) -> None:
    await rows.end(opened, opened.routes[0])


async def green_failed(rows: Rows, opened: Opened) -> None:
    """Let green fail for good although enough of it is healthy again."""
    await rows.end(opened, opened.routes[0])
    await rows.sql("update route_sets set wanted = 1 where id = :id", id=opened.green)


async def another_rollout_took_over(rows: Rows, opened: Opened) -> None:
    await rows.begin("run-3", at=opened.begun.started_at + timedelta(seconds=1))


async def blue_was_replaced(rows: Rows, opened: Opened) -> None:
    """Point the deployment at green behind the rollout's back."""
    await rows.sql("update deployments set live_set = :id", id=opened.green)


async def the_rollout_ended(rows: Rows, opened: Opened) -> None:
    await rows.finish(opened, RolloutOutcome.ABORTED)


async def green_was_closed(rows: Rows, opened: Opened) -> None:
    await rows.close(opened, opened.green)


@pytest.mark.parametrize(
    ("broken", "refusal"),
    [
        (nothing, None),
        (by_health(UNHEALTHY), RefusalCode.NO_HEALTHY_GREEN),
        (by_health(DEGRADED), RefusalCode.NO_HEALTHY_GREEN),
        (by_health(RouteHealthStatus.NOT_CHECKED), RefusalCode.NO_HEALTHY_GREEN),
        (green_lost_a_replica, RefusalCode.NO_HEALTHY_GREEN),
        (by_sql("update routes set status = 'terminating' where set_id = {green}"), RefusalCode.NO_HEALTHY_GREEN),
        (by_sql("update routes set status = 'provisioning' where set_id = {green}"), RefusalCode.NO_HEALTHY_GREEN),
        (by_sql("update route_sets set wanted = wanted + 1 where id = {green}"), RefusalCode.NO_HEALTHY_GREEN),
        (green_failed, RefusalCode.NO_HEALTHY_GREEN),
        (by_sql("update keepers set seen_at = now() - interval '3.1 seconds'"), RefusalCode.KEEPER_SILENT),
        (by_sql("update keepers set seen_at = to_timestamp(0)"), RefusalCode.KEEPER_SILENT),
        (by_sql("delete from keepers"), RefusalCode.KEEPER_SILENT),
        (by_sql("update keepers set fence = fence + 1"), RefusalCode.KEEPER_SILENT),
        (by_sql("update routes set health_fence = null where set_id = {green}"), RefusalCode.KEEPER_SILENT),
        (by_sql(FROZEN_SQL), RefusalCode.FROZEN),
        (another_rollout_took_over, RefusalCode.NOT_OWNER),
        (the_rollout_ended, RefusalCode.NOT_OWNER),
        (blue_was_replaced, RefusalCode.BLUE_CHANGED),
        (by_sql("update deployments set live_set = null"), RefusalCode.BLUE_CHANGED),
        (by_sql("update rollouts set blue_set = null where id = {rollout}"), RefusalCode.BLUE_CHANGED),
        (green_was_closed, RefusalCode.GREEN_CHANGED),
        (
            by_sql("update route_sets set state = 'gone' where id = {green}"),
            RefusalCode.GREEN_CHANGED,
        ),
        (by_sql("update rollouts set green_set = null where id = {rollout}"), RefusalCode.GREEN_CHANGED),
    ],
)
async def test_a_switch_with_a_broken_precondition_changes_no_row(
    rows: Rows,
    broken: Break,
    refusal: RefusalCode | None,
) -> None:
    await rows.live(replicas=2)
    second = await rows.ready("run-2", policy={"max_replacements": 0})
    await broken(rows, second)
    before = await rows.dump()

    answer = await rows.switch(second, notes=(Note(seq=1, at=NOW, kind="promotion_requested"),), message=FORCED)

    assert code(answer) is refusal
    assert (await rows.dump() == before) is (refusal is not None)
    assert refusal is None or (answer.epoch is None and answer.at is None)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"rollout": RolloutId(1_000_000)}, RefusalCode.NOT_OWNER),
        ({"blue_set": None}, RefusalCode.BLUE_CHANGED),
        ({"blue_set": RouteSetId(1_000_000)}, RefusalCode.BLUE_CHANGED),
        ({"green_set": RouteSetId(1_000_000)}, RefusalCode.GREEN_CHANGED),
    ],
)
async def test_a_switch_that_expects_something_else_changes_no_row(
    rows: Rows,
    changes: dict[str, object],
    refusal: RefusalCode,
) -> None:
    await rows.live()
    second = await rows.ready("run-2")
    before = await rows.dump()

    assert code(await rows.switch(second, **changes)) is refusal
    assert await rows.dump() == before


async def test_a_switch_to_the_green_of_another_deployment_changes_no_row(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2")
    other = await rows.ready("run-3", deployment="other")
    before = await rows.dump()

    assert code(await rows.switch(second, green_set=other.green)) is RefusalCode.GREEN_CHANGED
    assert await rows.dump() == before


async def test_a_switch_to_blue_itself_changes_no_row(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2")
    before = await rows.dump()

    assert code(await rows.switch(second, green_set=second.blue)) is RefusalCode.GREEN_CHANGED
    assert await rows.dump() == before


@pytest.mark.parametrize(("healthy", "refusal"), [(1, RefusalCode.NO_HEALTHY_GREEN), (2, None), (3, None)])
async def test_enough_healthy_greens_by_the_policy_are_enough(
    rows: Rows,
    healthy: int,
    refusal: RefusalCode | None,
) -> None:
    await rows.live()
    second = await rows.ready("run-2", replicas=3, policy={"min_healthy": "60%"})
    for route in second.routes[healthy:]:
        await rows.set_health(second, route, UNHEALTHY)

    answer = await rows.switch(second)

    assert code(answer) is refusal
    assert (answer.healthy_green, answer.required) == (healthy, 2)


async def test_a_green_without_replicas_needs_no_keeper_that_vouches(rows: Rows) -> None:
    first = await rows.ready(replicas=0)
    await rows.sql("delete from keepers")

    assert code(await rows.switch(first)) is None


async def test_a_decision_that_was_refused_does_not_switch_when_a_late_attempt_of_it_could(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    await rows.set_health(opened, opened.routes[0], UNHEALTHY, "status 500")
    refused = await rows.switch(opened, decision="run-2/1")
    await rows.set_health(opened, opened.routes[0], HEALTHY)

    late = await rows.switch(opened, decision="run-2/1")

    assert late == refused
    assert await rows.value("select live_set from deployments") == opened.blue
    assert (await rows.switch(opened, decision="run-2/2")).refusal is None


async def test_a_refusal_for_want_of_a_keeper_is_no_answer_yet_for_who_asks_again(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    await rows.sql("update keepers set seen_at = to_timestamp(0)")
    async with rows.table.transaction() as tx:
        waiting = await switch(tx, opened.switch_step(decision="run-2/1"), TRUSTING, patient=True)
    await rows.sql("update keepers set seen_at = now() + interval '1 hour'")

    assert waiting.refusal is not None
    assert waiting.refusal.code is RefusalCode.KEEPER_SILENT
    assert (await rows.switch(opened, decision="run-2/1")).refusal is None


async def test_a_way_back_that_was_refused_is_not_gone_when_a_late_attempt_of_it_could(rows: Rows) -> None:
    blue = await rows.live()
    opened = await rows.switched("run-2")
    await rows.set_health(blue, blue.routes[0], UNHEALTHY, "status 500")
    refused = await rows.switch_back(opened, decision="run-2/2")
    await rows.set_health(blue, blue.routes[0], HEALTHY)

    late = await rows.switch_back(opened, decision="run-2/2")

    assert refused.refusal is not None
    assert late == refused
    assert await rows.value("select live_set from deployments") == opened.green
    assert (await rows.switch_back(opened, decision="run-2/3")).refusal is None


async def test_force_overrides_neither_a_freeze_nor_health(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    await rows.sql(FROZEN_SQL)

    frozen = await rows.switch(opened, message=FORCED)
    await rows.sql("update freezes set ends_at = now()")
    await rows.set_health(opened, opened.routes[0], UNHEALTHY, "status 500")
    unhealthy = await rows.switch(opened, message=FORCED)

    assert [answer.refusal and answer.refusal.code for answer in (frozen, unhealthy)] == [
        RefusalCode.FROZEN,
        RefusalCode.NO_HEALTHY_GREEN,
    ]


async def test_a_switch_refused_for_a_freeze_goes_through_when_it_ends(rows: Rows) -> None:
    first = await rows.ready()
    await rows.sql(FROZEN_SQL)
    assert code(await rows.switch(first)) is RefusalCode.FROZEN

    await rows.sql("update freezes set ends_at = now()")

    assert code(await rows.switch(first)) is None


async def test_health_that_changes_before_the_commit_of_a_switch_waits_for_it(rows: Rows, table: Table) -> None:
    first = await rows.ready()
    kept = await rows.kept(first)

    async with table.transaction() as tx:
        assert code(await switch(tx, first.switch_step(), TRUSTING)) is None
        change = asyncio.create_task(rows.set_health(first, first.routes[0], UNHEALTHY))
        await until_somebody_waits(table)
        assert not change.done()
    await change

    assert await rows.value("select health from routes") == "unhealthy"
    assert await rows.value("select epoch from deployments") > kept.version.epoch + 1


async def test_a_switch_waits_for_health_that_changes_and_sees_it(rows: Rows, table: Table) -> None:
    first = await rows.ready()
    kept = await rows.kept(first)

    async with table.transaction() as tx:
        await route_health(tx, rows.fence, kept, first.routes[0], health=UNHEALTHY, error="timed out")
        switching = asyncio.create_task(rows.switch(first))
        await until_somebody_waits(table)
        assert not switching.done()

    assert code(await switching) is RefusalCode.NO_HEALTHY_GREEN


async def test_a_switch_that_races_a_health_change_counts_what_was_committed_before_it(rows: Rows) -> None:
    opened = await rows.ready()
    for run in range(2, 12):
        route = opened.routes[0]
        answer, _ = await asyncio.gather(rows.switch(opened), rows.set_health(opened, route, UNHEALTHY))

        switched = await rows.value("select switch_epoch from rollouts where id = :id", id=opened.begun.rollout)
        assert switched == answer.epoch
        assert code(answer) in {None, RefusalCode.NO_HEALTHY_GREEN}
        await rows.finish(opened)
        opened = await rows.ready(f"run-{run}")


# The way back.


async def test_a_switch_back_points_the_deployment_at_blue(rows: Rows) -> None:
    first = await rows.live(replicas=1)
    second = await rows.switched("run-2", replicas=2)
    before = await epoch_of(rows)

    answer = await rows.switch_back(second)

    assert (answer.refusal, answer.epoch) == (None, before + 1)
    [deployment] = await rows.rows("select * from deployments")
    assert (deployment["live_set"], deployment["replicas"]) == (first.green, 1)
    [rollout] = await rows.rows("select * from rollouts where id = :id", id=second.begun.rollout)
    assert (rollout["phase"], rollout["switch_back_epoch"]) == ("rolling_back", answer.epoch)
    assert rollout["switched_back_at"] == answer.at
    [event] = await rows.rows("select * from rollout_events where kind = 'switched_back'")
    assert (event["actor"], event["reason"]) == ("ann", "reviewed")


async def test_a_switch_back_twice_gives_one_epoch_and_the_same_answer(rows: Rows) -> None:
    await rows.live()
    second = await rows.switched("run-2")
    one = await rows.switch_back(second)
    before = await rows.dump()

    assert await rows.switch_back(second) == one
    assert await rows.dump() == before


async def test_two_switches_back_at_once_give_one_epoch(rows: Rows) -> None:
    await rows.live()
    second = await rows.switched("run-2")

    answers = await asyncio.gather(*(rows.switch_back(second) for _ in range(4)))

    assert len({answer.epoch for answer in answers}) == 1
    assert code(answers[0]) is None


@pytest.mark.parametrize(
    ("green", "blue", "refusal"),
    [
        ("healthy", "all", None),
        ("healthy", "one", RefusalCode.NO_HEALTHY_BLUE),
        ("healthy", "none", RefusalCode.NO_HEALTHY_BLUE),
        ("sick", "all", None),
        ("sick", "one", None),
        ("sick", "none", RefusalCode.NO_HEALTHY_BLUE),
        ("dead", "all", None),
        ("dead", "one", None),
        ("dead", "none", RefusalCode.NO_HEALTHY_BLUE),
    ],
)
async def test_one_healthy_blue_is_enough_when_green_is_not(
    rows: Rows,
    green: str,
    blue: str,
    refusal: RefusalCode | None,
) -> None:
    first = await rows.live(replicas=2)
    second = await rows.switched("run-2", replicas=2)
    for route in second.routes:
        if green == "sick":
            await rows.set_health(second, route, UNHEALTHY)
        if green == "dead":
            await rows.end(second, route)
    for route in first.routes[{"all": 2, "one": 1, "none": 0}[blue] :]:
        await rows.set_health(second, route, UNHEALTHY, route_set=first.green)
    before = await rows.dump()

    assert code(await rows.switch_back(second)) is refusal
    assert (await rows.dump() == before) is (refusal is not None)


async def test_a_blue_without_replicas_can_always_be_gone_back_to(rows: Rows) -> None:
    await rows.live(replicas=0)
    second = await rows.switched("run-2", replicas=1)

    assert code(await rows.switch_back(second)) is None


async def test_a_blue_without_replicas_is_not_gone_back_to_when_some_are_wanted_by_now(rows: Rows) -> None:
    await rows.live(replicas=0)
    opened = await rows.switched("run-2", replicas=0)
    await rows.close(opened, opened.blue)
    async with rows.table.transaction() as tx:
        await scale(tx, ScaleOrder(deployment="chat", replicas=1, by="ann", door=Channel.CLI))
    await rows.add(opened, HEALTHY)

    answer = await rows.switch_back(opened)

    assert code(answer) is RefusalCode.BLUE_DRAINED
    assert await rows.value("select live_set from deployments") == opened.green


async def test_a_way_back_needs_no_keeper_and_no_thaw(rows: Rows) -> None:
    await rows.live()
    second = await rows.switched("run-2")
    await rows.sql("delete from keepers")
    await rows.sql(FROZEN_SQL)

    assert code(await rows.switch_back(second)) is None


async def test_a_blue_that_drains_is_opened_again(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)

    assert code(await rows.switch_back(second)) is None

    [blue] = await rows.rows("select * from route_sets where id = :id", id=first.green)
    assert (blue["state"], blue["drain_since"], blue["drain_epoch"], blue["drain_deadline"]) == (
        "open",
        None,
        None,
        None,
    )


async def test_a_blue_whose_replicas_are_being_stopped_is_not_gone_back_to(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    await rows.sql("update routes set status = 'terminating' where set_id = :id", id=first.green)

    assert code(await rows.switch_back(second)) is RefusalCode.BLUE_DRAINED


@pytest.mark.parametrize(("left", "refusal"), [(2, None), (1, None), (0, RefusalCode.BLUE_DRAINED)])
async def test_one_healthy_replica_of_a_blue_that_drains_is_enough(
    rows: Rows,
    left: int,
    refusal: RefusalCode | None,
) -> None:
    first = await rows.live(replicas=2)
    second = await rows.switched("run-2", replicas=2)
    await rows.close(second, first.green)
    for route in first.routes[left:]:
        await rows.sql("update routes set status = 'terminating' where id = :id", id=route)
    before = await rows.dump()

    assert code(await rows.switch_back(second)) is refusal

    assert (await rows.dump() == before) is (refusal is not None)
    wanted = await rows.value("select wanted from route_sets where id = :id", id=first.green)
    assert wanted == 2


async def test_a_blue_that_is_gone_is_not_gone_back_to(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.sql("update route_sets set state = 'gone' where id = :id", id=first.green)
    before = await rows.dump()

    assert code(await rows.switch_back(second)) is RefusalCode.BLUE_DRAINED
    assert await rows.dump() == before


async def test_after_a_first_switch_there_is_no_way_back(rows: Rows) -> None:
    first = await rows.switched()
    before = await rows.dump()

    assert code(await rows.switch_back(first)) is RefusalCode.NO_BLUE
    assert await rows.dump() == before


async def test_before_the_switch_there_is_no_way_back(rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2")
    before = await rows.dump()

    assert code(await rows.switch_back(second)) is RefusalCode.GREEN_CHANGED
    assert await rows.dump() == before


async def test_a_rollout_that_ended_does_not_switch_back(rows: Rows) -> None:
    await rows.live()
    second = await rows.switched("run-2")
    await rows.finish(second)
    before = await rows.dump()

    assert code(await rows.switch_back(second)) is RefusalCode.NOT_OWNER
    assert await rows.dump() == before


async def test_after_a_switch_back_the_next_rollout_switches_again(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.switched("run-2")
    await rows.switch_back(second)
    await rows.finish(second, RolloutOutcome.ROLLED_BACK)

    third = await rows.ready("run-3")

    assert third.begun.blue_set == first.green
    assert code(await rows.switch(third)) is None
    assert await rows.value("select live_set from deployments") == third.green
    assert HEALTHY.value == await rows.value("select health from routes where set_id = :id", id=third.green)
