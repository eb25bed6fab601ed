"""What of a deployment goes when it has had its time, and what stays."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel, RolloutOutcome, RouteStatus
from celadon.table.core.author import Asker, Author
from celadon.table.read.deployment_history import read_past_rollouts
from celadon.table.retention.deployments import Tally, count_doomed, prune_some, tell_pruned
from celadon.table.retention.installation import count_doomed_of_installation
from celadon.table.rollouts.default_policy import set_defaults
from tests.table.locks import until_somebody_waits
from tests.table.retention.aging import (
    DAY,
    delete_while_pruning,
    end_set,
    let_pass,
    prune_all,
    replace_live,
    written_now,
)
from tests.table.rows import HEALTHY, Rows

SHORT = {"event_retention": "1d", "revision_history_limit": 2, "rollback_window": {"revisions": 1}}


async def counts(rows: Rows) -> dict[str, int]:
    """Return how many rows each table has."""
    return {name: len(content) for name, content in (await rows.dump()).items()}


async def kept_rollouts(rows: Rows) -> list[int]:
    return [row["id"] for row in await rows.rows("select id from rollouts order by id")]


@pytest.mark.parts
async def test_every_table_is_bounded_however_many_rollouts_there_are(rows: Rows) -> None:
    await rows.router("edge-1", 1)
    sizes: list[dict[str, int]] = []
    for number in range(12):
        opened = await replace_live(rows, f"run-{number}", policy=SHORT if number == 0 else {})
        failed = await rows.ready(f"failed-{number}")
        await rows.close(failed, failed.green)
        await end_set(rows, failed)
        await rows.finish(failed, RolloutOutcome.ABORTED)
        await written_now(rows.table)
        await rows.sql(
            """
            insert into spent_requests (deployment, verb, request_id, rollout, run)
            values ('chat', 'promote', :id, :rollout, 'run')
            """,
            id=f"request-{number}",
            rollout=opened.begun.rollout,
        )
        await rows.sql("insert into refused_decisions values (:rollout, 'promote', '{}')", rollout=failed.begun.rollout)
        await rows.sql("insert into router_load values ('edge-1', :set, 0, 0, now(), 2)", set=failed.green)
        await rows.sql(
            """
            with told as (
                insert into notifications (deployment, rollout, kind, at, notice)
                values ('chat', :rollout, 'completed', now(), '{}') returning id, rollout)
            insert into deliveries (notification, rollout, target, state, due_at, next_attempt_at, delivered_at)
            select id, rollout, 'team', 'delivered', now(), now(), now() from told
            """,
            rollout=failed.begun.rollout,
        )
        await let_pass(rows.table, 2 * DAY)
        await rows.sql("update keepers set seen_at = now() + interval '1 hour'")
        await rows.sql("update routers set seen_at = now()")
        await rows.sql("delete from outbox")  # as when Temporal has taken every signal
        await prune_all(rows)
        sizes.append(await counts(rows))

    assert sizes[-1] == sizes[-2] == sizes[-6]
    assert sizes[-1]["rollouts"] <= 3
    assert sizes[-1]["revisions"] <= 5
    for name, most in {"route_sets": 3, "routes": 3, "notifications": 0, "deliveries": 0, "router_load": 0}.items():
        assert sizes[-1][name] <= most, name
    assert await rows.value("select count(*) from routes where ended_at is null") == 1


async def test_a_young_table_loses_nothing(rows: Rows) -> None:
    policy = {"revision_history_limit": 1, "rollback_window": {"revisions": 0}}
    for number in range(3):
        await replace_live(rows, f"run-{number}", policy=policy if number == 0 else {})
    await rows.scale(2)
    before = await rows.dump()

    assert (await prune_all(rows)).total() == 0
    assert await rows.dump() == before


async def test_the_audit_log_of_a_kept_rollout_is_whole(rows: Rows) -> None:
    for number in range(6):
        await replace_live(rows, f"run-{number}", policy=SHORT if number == 0 else {})
        await let_pass(rows.table, 2 * DAY)
    lines = Counter(row["rollout"] for row in await rows.rows("select rollout from rollout_events"))

    await prune_all(rows)

    kept = await kept_rollouts(rows)
    assert len(kept) == 2
    left = Counter(
        row["rollout"] for row in await rows.rows("select rollout from rollout_events where rollout is not null")
    )
    assert left == {rollout: lines[rollout] for rollout in kept}


async def test_the_database_refuses_to_lose_a_line_of_a_kept_rollout_even_while_pruning(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await let_pass(rows.table, 200 * DAY)

    for allowed, why in ((False, "append-only"), (True, "is kept, and its audit log is whole")):
        with pytest.raises(DBAPIError, match=why):
            await delete_while_pruning(rows, "delete from rollout_events", allowed=allowed)
    for statement in ("update rollout_events set actor = 'eve'", "truncate rollout_events"):
        with pytest.raises(DBAPIError, match="append-only"):
            await delete_while_pruning(rows, statement)


async def test_the_database_keeps_a_rollout_that_runs_or_ended_just_now(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await rows.begin("run-2")

    for rollout in await kept_rollouts(rows):
        with pytest.raises(DBAPIError, match="it is kept"):
            await delete_while_pruning(rows, "delete from rollouts where id = :id", id=rollout)


async def test_the_database_keeps_young_lines_that_belong_to_no_rollout(rows: Rows) -> None:
    await rows.live()
    await rows.scale(2)

    with pytest.raises(DBAPIError, match="keeps every line for an hour"):
        await delete_while_pruning(rows, "delete from rollout_events where rollout is null")


async def test_what_is_live_or_under_way_stays_however_old_it_is(rows: Rows) -> None:
    live = await replace_live(rows, "run-1", policy=SHORT)
    running = await rows.ready("run-2")
    await let_pass(rows.table, 400 * DAY)

    await prune_all(rows)

    assert await kept_rollouts(rows) == [live.begun.rollout, running.begun.rollout]
    assert await rows.value("select count(*) from revisions") == 2
    assert await rows.value("select count(*) from routes") == 2


async def test_a_blue_that_drains_keeps_its_rollout(rows: Rows) -> None:
    policy = {**SHORT, "revision_history_limit": 1, "rollback_window": {"revisions": 0}}
    first = await replace_live(rows, "run-1", policy=policy)
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    await rows.finish(second)
    await written_now(rows.table)
    await let_pass(rows.table, 400 * DAY)
    await prune_all(rows)
    assert await kept_rollouts(rows) == [first.begun.rollout, second.begun.rollout]

    await end_set(rows, second, first.green)
    await let_pass(rows.table, 2 * DAY)
    await prune_all(rows)

    assert await kept_rollouts(rows) == [second.begun.rollout]
    assert await rows.value("select blue_set from rollouts") is None
    assert await rows.value("select from_revision from rollouts") == 1
    assert await rows.value("select count(*) from revisions") == 2


async def test_a_set_that_is_not_gone_yet_keeps_its_rollout(rows: Rows) -> None:
    first = await replace_live(
        rows, "run-1", policy={**SHORT, "revision_history_limit": 1, "rollback_window": {"revisions": 0}}
    )
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    await rows.finish(second)
    await written_now(rows.table)
    await rows.sql("update routes set status = 'terminated', ended_at = now() where set_id = :set", set=first.green)
    await let_pass(rows.table, 400 * DAY)

    await prune_all(rows)

    assert await kept_rollouts(rows) == [first.begun.rollout, second.begun.rollout]


async def test_the_newest_promoted_rollouts_stay_for_a_rollback(rows: Rows) -> None:
    policy = {"event_retention": "1d", "revision_history_limit": 1, "rollback_window": {"revisions": 2}}
    opened = [await replace_live(rows, f"run-{number}", policy=policy if number == 0 else {}) for number in range(5)]
    await let_pass(rows.table, 400 * DAY)

    await prune_all(rows)

    assert await kept_rollouts(rows) == [one.begun.rollout for one in opened[2:]]


async def test_the_installations_defaults_say_how_long_where_a_deployment_says_nothing(rows: Rows) -> None:
    given = {"event_retention": "1d", "revision_history_limit": 1, "rollback_window": {"revisions": 2}}
    async with rows.table.transaction() as tx:
        author = Author(by="ann", door=Channel.CLI)
        await set_defaults(tx, BlueGreenPolicy.model_validate(given, strict=False), (), author, lambda *_: None)
    opened = [await replace_live(rows, f"run-{number}") for number in range(5)]
    await let_pass(rows.table, 10 * DAY)

    await prune_all(rows)

    assert await kept_rollouts(rows) == [one.begun.rollout for one in opened[2:]]


async def test_revisions_that_only_a_pruned_rollout_named_go_and_no_number_comes_twice(rows: Rows) -> None:
    for number in range(5):
        await replace_live(rows, f"run-{number}", policy={**SHORT, "revision_history_limit": 1} if number == 0 else {})
    await let_pass(rows.table, 2 * DAY)

    await prune_all(rows)

    assert [row["number"] for row in await rows.rows("select number from revisions order by 1")] == [3, 4, 5]
    assert (await rows.begin("run-9")).to_revision == 6


async def test_a_revision_that_waits_for_its_first_rollout_stays_for_a_day(rows: Rows) -> None:
    await replace_live(rows, "run-1", policy=SHORT)
    await rows.sql(
        "insert into revisions (deployment, number, digest, content) select 'chat', n, n::text, '{}' from "
        "generate_series(2, 9) n"
    )
    assert (await prune_all(rows)).total() == 0

    await let_pass(rows.table, 2 * DAY)
    await prune_all(rows)

    assert [row["number"] for row in await rows.rows("select number from revisions order by 1")] == [1, 8, 9]


async def test_a_revision_that_waits_for_its_turn_stays(rows: Rows) -> None:
    await replace_live(rows, "run-1", policy=SHORT)
    await rows.sql(
        "insert into revisions (deployment, number, digest, content) select 'chat', n, n::text, '{}' from "
        "generate_series(2, 9) n"
    )
    await rows.sql(
        "insert into next_rollouts (deployment, revision, mode, asked, requested_by, verified, reason, request_id) "
        "values ('chat', 3, 'queue', '{}', 'ben', false, '', '')"
    )
    await let_pass(rows.table, 2 * DAY)

    await prune_all(rows)

    assert [row["number"] for row in await rows.rows("select number from revisions order by 1")] == [1, 3, 8, 9]


async def test_replicas_of_a_live_set_that_ended_long_ago_go(rows: Rows) -> None:
    live = await replace_live(rows, "run-1", policy=SHORT)
    [route] = live.routes
    for _ in range(3):
        await rows.end(live, route, status=RouteStatus.TERMINATED)
        route = await rows.add(live, HEALTHY)
    await let_pass(rows.table, 2 * DAY)

    await prune_all(rows)

    assert [row["status"] for row in await rows.rows("select status from routes")] == ["running"]


async def test_a_rollout_stays_until_everybody_has_been_told(rows: Rows) -> None:
    await replace_live(
        rows, "run-1", policy={**SHORT, "revision_history_limit": 1, "rollback_window": {"revisions": 0}}
    )
    first = await kept_rollouts(rows)
    await replace_live(rows, "run-2")
    await rows.sql(
        """
        with told as (
            insert into notifications (deployment, rollout, kind, at, notice)
            values ('chat', :rollout, 'completed', now(), '{}') returning id, rollout)
        insert into deliveries (notification, rollout, target, state, due_at, next_attempt_at)
        select id, rollout, 'team', 'waiting', now(), now() from told
        """,
        rollout=first[0],
    )
    await let_pass(rows.table, 2 * DAY)
    await prune_all(rows)
    assert first[0] in await kept_rollouts(rows)

    await rows.sql("update deliveries set state = 'dead'")
    await prune_all(rows)

    assert first[0] not in await kept_rollouts(rows)
    assert await rows.value("select count(*) from notifications") == 0


async def test_a_destroyed_deployment_goes_once_nothing_of_it_is_left(rows: Rows) -> None:
    live = await replace_live(rows, "run-1", policy=SHORT)
    await rows.router("edge-1", 3)
    await rows.delete()
    await end_set(rows, live)
    epoch = await rows.value("select epoch from deployments")
    await let_pass(rows.table, 2 * DAY)

    await prune_all(rows)

    assert await rows.value("select count(*) from deployments") == 0
    assert await rows.value("select count(*) from router_acks") == 0
    begun = await rows.begin("run-2")
    assert begun.to_revision == 1
    assert await rows.value("select epoch from deployments") > epoch


async def test_a_rollout_that_begins_while_its_destroyed_deployment_goes_begins_a_new_one(rows: Rows) -> None:
    live = await replace_live(rows, "run-1", policy=SHORT)
    await rows.delete()
    await end_set(rows, live)
    await let_pass(rows.table, 2 * DAY)
    async with rows.table.transaction() as tx:
        while await prune_some(tx, "chat"):
            if not await tx.scalar(text("select count(*) from deployments")):
                break
        beginning = asyncio.create_task(rows.begin("run-2"))
        await until_somebody_waits(rows.table)

    assert (await beginning).to_revision == 1


async def test_a_dry_run_counts_what_goes_and_changes_nothing(rows: Rows) -> None:
    await rows.router("edge-1", 1)
    for number in range(5):
        await replace_live(rows, f"run-{number}", policy={**SHORT, "revision_history_limit": 1} if number == 0 else {})
    await rows.scale(2)
    await let_pass(rows.table, 2 * DAY)
    before = await rows.dump()
    async with rows.table.transaction() as tx:
        counted = await count_doomed(tx, "chat") + await count_doomed_of_installation(tx)
    assert await rows.dump() == before

    went = await prune_all(rows)

    # Revisions that rollouts name go once the rollouts have gone, so a count at one moment is of some of them.
    assert {**went, "revisions": 0} == {**counted, "revisions": 0}
    assert went["revisions"] >= counted["revisions"]
    assert went["rollouts"] == 3


async def test_an_operator_may_say_another_age_for_once(rows: Rows) -> None:
    for number in range(15):
        await replace_live(rows, f"run-{number}")
    await let_pass(rows.table, 31 * DAY)
    assert (await prune_all(rows))["rollouts"] == 0

    assert (await prune_all(rows, 30 * DAY))["rollouts"] == 5


async def test_the_audit_log_tells_what_went_and_a_look_for_it_says_that_it_was_pruned(rows: Rows) -> None:
    policy = {**SHORT, "revision_history_limit": 1, "rollback_window": {"revisions": 0}}
    for number in range(4):
        await replace_live(rows, f"run-{number}", policy=policy if number == 0 else {})
    first, *_, last = await kept_rollouts(rows)
    await let_pass(rows.table, 2 * DAY)
    went = await prune_all(rows)
    async with rows.table.transaction() as tx:
        await tell_pruned(tx, "chat", went, Asker(by="keeper", door=Channel.KEEPER))

    [line] = await rows.rows("select * from rollout_events where kind = 'pruned'")
    assert (line["actor"], line["evidence"]["rollouts"]) == ("keeper", "3")
    for rollout, told in (
        (first, "was pruned, or never was one of chat"),
        (last + 1, f"chat has no rollout {last + 1}"),
    ):
        with pytest.raises(RefusedError, match=told) as refused:
            async with rows.table.transaction() as tx:
                await read_past_rollouts(tx, "chat", rollout=rollout, limit=1)
        assert refused.value.refusal.code is RefusalCode.NO_SUCH_ROLLOUT
    with pytest.raises(RefusedError, match="revision 1 of chat was pruned"):
        await rows.begin("run-9", revision=1)


async def test_what_only_lost_lines_of_its_log_is_told_of_nothing_more(rows: Rows) -> None:
    await rows.live()
    async with rows.table.transaction() as tx:
        await tell_pruned(tx, "chat", Tally({"rollout_events": 5}), Asker(by="keeper"))

    assert await rows.value("select count(*) from rollout_events where kind = 'pruned'") == 0


# Races: the deployment's lock and the foreign keys decide.


async def test_a_rollout_back_to_r1_that_begins_first_keeps_r1(rows: Rows) -> None:
    await _r1_is_doomed(rows)
    async with rows.table.transaction() as tx:
        await tx.execute(text("select from deployments for no key update"))
        beginning = asyncio.create_task(rows.begin("back", revision=1))
        await until_somebody_waits(rows.table)
        pruning = asyncio.create_task(prune_all(rows))
        await until_somebody_waits(rows.table, 2)
    await asyncio.gather(beginning, pruning)

    assert (await beginning).to_revision == 1
    assert await rows.value("select count(*) from revisions where number = 1") == 1


async def test_a_rollout_back_to_r1_that_comes_second_is_told_that_r1_was_pruned(rows: Rows) -> None:
    await _r1_is_doomed(rows)
    async with rows.table.transaction() as tx:
        while await prune_some(tx, "chat"):
            pass
        beginning = asyncio.create_task(rows.begin("back", revision=1))
        await until_somebody_waits(rows.table)

    with pytest.raises(RefusedError, match="revision 1 of chat was pruned"):
        await beginning


async def test_rollouts_run_beside_pruning(rows: Rows) -> None:
    await replace_live(rows, "run-0", policy={**SHORT, "revision_history_limit": 1})
    await let_pass(rows.table, 2 * DAY)
    done = asyncio.Event()

    async def prune_on() -> Tally:
        total = Tally()
        while not done.is_set():
            total += await prune_all(rows)
        return total

    pruning = asyncio.create_task(prune_on())
    for number in range(1, 8):
        opened = await rows.switched(f"run-{number}")
        if number % 3 == 0:
            assert (await rows.switch_back(opened)).refusal is None
            await rows.close(opened, opened.green)
            await end_set(rows, opened)
            await rows.finish(opened, RolloutOutcome.ROLLED_BACK)
        else:
            await rows.close(opened, opened.blue)
            await end_set(rows, opened, opened.blue)
            await rows.finish(opened)
        await written_now(rows.table)
        await let_pass(rows.table, 2 * DAY)
        await rows.sql("update keepers set seen_at = now() + interval '1 hour'")
    done.set()
    total = await pruning

    assert total["rollouts"] >= 4
    assert await rows.value("select count(*) from route_sets where state <> 'gone'") == 1


async def test_a_switch_waits_for_one_step_of_pruning_at_most_and_goes_through(rows: Rows) -> None:
    await _r1_is_doomed(rows)
    ready = await rows.ready("run-8")
    async with rows.table.transaction() as tx:
        assert (await prune_some(tx, "chat")).total()
        switching = asyncio.create_task(rows.switch(ready))
        await until_somebody_waits(rows.table)

    assert (await switching).refusal is None


async def _r1_is_doomed(rows: Rows) -> None:
    policy = {"event_retention": "1d", "revision_history_limit": 1, "rollback_window": {"revisions": 0}}
    for number in range(3):
        await replace_live(rows, f"run-{number}", policy=policy if number == 0 else {})
    await let_pass(rows.table, timedelta(days=2))
    await rows.sql("update keepers set seen_at = now() + interval '1 hour'")


async def test_a_gone_blue_stays_while_the_rollout_under_way_names_it(rows: Rows) -> None:
    """Its drain may be asked for once more: the answer was lost, or the workflow was reset."""
    await replace_live(rows, "run-1", policy={**SHORT, "revision_history_limit": 1})
    failed = await rows.switched("run-2")
    await rows.close(failed, failed.blue)
    await end_set(rows, failed, failed.blue)
    await rows.finish(failed, RolloutOutcome.FAILED)
    running = await rows.switched("run-3")
    await rows.close(running, running.blue)
    await end_set(rows, running, running.blue)
    await written_now(rows.table)
    await let_pass(rows.table, 400 * DAY)

    await prune_all(rows)

    assert await rows.value("select blue_set from rollouts where outcome is null") == failed.green
    await rows.close(running, running.blue)
    await rows.finish(running)
    await written_now(rows.table)
    await let_pass(rows.table, 400 * DAY)
    await prune_all(rows)
    assert failed.begun.rollout not in await kept_rollouts(rows)


async def test_a_schedule_that_has_fired_goes_once_temporal_has_removed_its_own(rows: Rows) -> None:
    await replace_live(rows, "run-1", policy={"event_retention": "1d"})
    await rows.sql(
        """
        insert into schedules (deployment, name, command, argument, at, cron, zone, author, issuer, verified, roles,
                               scope, reason)
        select 'chat', name, 'promote', '{}', now() + make_interval(days => day), cron, 'UTC', 'ann', '', false,
               '{}', '{}', ''
        from (values ('last-week', -7, ''), ('before', -9, ''), ('to-come', 1, ''), ('nightly', null, '0 3 * * *'))
             as given (name, day, cron)
        """
    )
    async with rows.table.transaction() as tx:
        assert (await count_doomed(tx, "chat"))["schedules"] == 1

    went = await prune_all(rows)

    assert went["schedules"] == 1
    kept = {one["name"] for one in await rows.rows("select name from schedules")}
    assert kept == {"last-week", "to-come", "nightly"}
