"""The bound on the replicas of all sets of a deployment: who counts, who is refused, who waits, and what room is."""

import asyncio
import random
import uuid
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RouteId, RouteSetId
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel, RolloutOutcome, RouteStatus
from celadon.domain.language.steps import GreenOpened, Step
from celadon.table.core.author import Author
from celadon.table.replicas.keeper_reads import read_managed_sets
from celadon.table.replicas.routes import add_route, route_ended
from celadon.table.rollouts.default_policy import set_defaults
from celadon.table.rollouts.own_policy import set_policy
from celadon.table.rollouts.planning import plan_start
from celadon.table.rollouts.route_sets import open_green
from tests.revisions import serving
from tests.table.rollouts.test_next_rollouts import Person, take
from tests.table.rows import Opened, Rows

SIX = {"max_total_replicas": 6}
WAITS = {**SIX, "on_no_room": "wait"}


async def code(attempt: Any) -> tuple[RefusalCode, str]:
    with pytest.raises(RefusedError) as refused:
        await attempt
    return refused.value.refusal.code, str(refused.value.refusal)


async def open_now(rows: Rows, begun: Any) -> GreenOpened:
    async with rows.table.transaction() as tx:
        return await open_green(tx, Step(deployment="chat", rollout=begun.rollout))


async def signals(rows: Rows) -> list[str]:
    return [row["signal"] for row in await rows.rows("select signal from outbox where signal = 'room_changed'")]


async def add(rows: Rows, route_set: RouteSetId) -> bool:
    async with rows.table.transaction() as tx:
        return await add_route(tx, rows.fence, route_set, RouteId(str(uuid.uuid4())), host="127.0.0.1", port=9000)


async def drained_but(rows: Rows, left: int, **policy: Any) -> Opened:
    """Return a deployment of three, with ``left`` replicas of an earlier set that drain."""
    first = await rows.live(replicas=3, policy={**SIX, **policy})
    second = await rows.switched("run-2")
    await rows.close(second, first.green)
    for route in first.routes[left:]:
        await rows.end(first, route, failed=False, error="")
    await rows.finish(second)
    return Opened(first.begun, first.green, first.routes[:left])


# No room: refused, waiting, room appears.


async def test_no_room_for_green_refuses_the_start_with_the_figures(rows: Rows) -> None:
    await drained_but(rows, 2)
    before = await rows.dump()

    refusal, told = await code(rows.begin("run-3"))

    assert refusal is RefusalCode.NO_ROOM
    assert "no room for 3 more replicas of chat: its sets have 5, and max_total_replicas is 6" in told
    assert await rows.dump() == before


async def test_a_start_that_waits_opens_no_green_until_the_room_appears(rows: Rows) -> None:
    old = await drained_but(rows, 2, on_no_room="wait")
    begun = await rows.begin("run-3")

    opened = await open_now(rows, begun)
    assert (opened.route_set, opened.wanted) == (None, 3)
    assert "its sets have 5" in opened.no_room
    assert await rows.value("select awaits_signal from rollouts where outcome is null") == "room_changed"

    await rows.end(old, old.routes[0], failed=False, error="")
    assert await signals(rows) == []
    await rows.end(old, old.routes[1], failed=False, error="")

    assert await signals(rows) == ["room_changed"]
    [told] = await rows.rows("select payload from outbox where signal = 'room_changed'")
    assert told["payload"] == {"rollout": begun.rollout, "used": 3, "bound": 6}
    assert await rows.value("select awaits_signal from rollouts where outcome is null") is None
    assert (await open_now(rows, begun)).route_set is not None


async def test_room_that_a_scaling_makes_is_told_too(rows: Rows) -> None:
    await drained_but(rows, 2, on_no_room="wait")
    begun = await rows.begin("run-3")
    await open_now(rows, begun)

    await rows.scale(2)

    assert await signals(rows) == ["room_changed"]
    assert (await open_now(rows, begun)).wanted == 2


async def test_who_asks_again_before_there_is_room_waits_on(rows: Rows) -> None:
    await drained_but(rows, 1, on_no_room="wait")
    begun = await rows.begin("run-3")

    first, second = await open_now(rows, begun), await open_now(rows, begun)

    assert first == second
    assert first.route_set is None


async def test_a_second_attempt_to_open_green_finds_the_first_ones_set(rows: Rows) -> None:
    await rows.live(replicas=3, policy=WAITS)
    begun = await rows.begin("run-2")

    first, second = await open_now(rows, begun), await open_now(rows, begun)

    assert first == second
    assert first.route_set is not None


# A bound that no rollout could keep.


@pytest.mark.parametrize("on_no_room", ["refuse", "wait"])
async def test_a_bound_that_no_rollout_could_keep_is_refused_at_begin(rows: Rows, on_no_room: str) -> None:
    await rows.live(replicas=3)

    policy = {"max_total_replicas": 5, "on_no_room": on_no_room, "preview_replicas": 1}
    refusal, told = await code(rows.begin("run-2", policy=policy))

    assert refusal is RefusalCode.POLICY_CONFLICT
    assert "max_total_replicas of 5 leaves no room for a rollout of chat" in told
    assert "blue has 3 and green needs 3 beside it" in told


async def test_a_first_deployment_needs_room_for_green_alone(rows: Rows) -> None:
    assert (await rows.begin(replicas=3, policy={"max_total_replicas": 3})).replicas == 3


async def test_a_first_deployment_larger_than_its_bound_is_refused(rows: Rows) -> None:
    refusal, told = await code(rows.begin(replicas=3, policy={"max_total_replicas": 2}))

    assert refusal is RefusalCode.POLICY_CONFLICT
    assert "green needs 3" in told


async def test_a_policy_whose_bound_no_rollout_could_keep_is_refused(rows: Rows) -> None:
    await rows.live(replicas=3)

    async def bound(count: int) -> None:
        author = Author(by="ann", door=Channel.CLI, reason="less")
        async with rows.table.transaction() as tx:
            given = BlueGreenPolicy(max_total_replicas=count)
            await set_policy(tx, "chat", given, (), author, lambda _verb, _why: None)

    refusal, _ = await code(bound(5))
    assert refusal is RefusalCode.POLICY_CONFLICT
    await bound(6)
    assert await rows.value("select policy->>'max_total_replicas' from deployments") == "6"


async def _bound_by_default(rows: Rows, count: int) -> None:
    author = Author(by="ann", door=Channel.CLI, reason="few cards")
    async with rows.table.transaction() as tx:
        given = BlueGreenPolicy(max_total_replicas=count)
        await set_defaults(tx, given, (), author, lambda _verb, _why: None)


async def test_a_default_bound_that_a_deployment_cannot_keep_is_refused_with_its_name(rows: Rows) -> None:
    await rows.live(replicas=3)

    refusal, told = await code(_bound_by_default(rows, 5))

    assert refusal is RefusalCode.POLICY_CONFLICT
    assert "no room for a rollout of chat" in told
    await _bound_by_default(rows, 6)


async def test_a_bound_of_its_own_beats_the_default_one(rows: Rows) -> None:
    await rows.live(replicas=3, policy=SIX)

    await _bound_by_default(rows, 2)

    assert (await code(rows.scale(7)))[0] is RefusalCode.NO_ROOM
    assert (await rows.scale(6)).changed


async def test_a_default_bound_holds_for_scaling_and_for_replicas_that_are_started(rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await _bound_by_default(rows, 4)

    assert (await code(rows.scale(5)))[0] is RefusalCode.NO_ROOM
    await rows.sql("update route_sets set wanted = 9")
    assert [await add(rows, live.green) for _ in range(3)] == [True, True, False]


async def test_other_keys_of_a_policy_may_change_whatever_its_bound(rows: Rows) -> None:
    await rows.live(replicas=3, policy=SIX)
    await rows.scale(5)

    author = Author(by="ann", door=Channel.CLI, reason="longer")
    async with rows.table.transaction() as tx:
        given = BlueGreenPolicy(max_replacements=5)
        changed = await set_policy(tx, "chat", given, (), author, lambda _verb, _why: None)

    assert changed.policy.max_replacements == 5


# Scaling.


async def test_scaling_without_room_is_refused_with_the_figures(rows: Rows) -> None:
    await drained_but(rows, 2)
    before = await rows.dump()

    refusal, told = await code(rows.scale(5))

    assert refusal is RefusalCode.NO_ROOM
    assert "no room for 2 more replicas of chat: its sets have 5" in told
    assert await rows.dump() == before
    assert (await rows.scale(4)).changed


async def test_scaling_in_a_rollout_counts_both_colours(rows: Rows) -> None:
    await rows.live(replicas=2, policy=SIX)
    await rows.open("run-2")

    assert (await code(rows.scale(4)))[0] is RefusalCode.NO_ROOM
    assert (await rows.scale(3)).changed


async def test_scaling_between_begin_and_open_leaves_room_for_green(rows: Rows) -> None:
    await rows.live(replicas=2, policy=SIX)
    begun = await rows.begin("run-2")

    assert (await code(rows.scale(4)))[0] is RefusalCode.NO_ROOM
    assert (await rows.scale(3)).changed
    assert (await open_now(rows, begun)).wanted == 3


async def test_fewer_replicas_never_lack_room(rows: Rows) -> None:
    await rows.live(replicas=5)
    await rows.sql("update deployments set policy = jsonb_build_object('max_total_replicas', 3)")

    assert (await rows.scale(4)).changed


# The replicas that there are.


async def test_no_replica_is_started_beyond_the_bound(rows: Rows) -> None:
    live = await rows.live(replicas=3, policy=SIX)
    opened = await rows.open("run-2")
    await rows.sql("update route_sets set wanted = 9 where id = :id", id=live.green)

    added = [await add(rows, live.green) for _ in range(4)]

    assert added == [True, True, True, False]
    assert not await add(rows, opened.green)
    assert await rows.value("select count(*) from routes where ended_at is null") == 6


async def test_a_replica_that_leaves_counts_until_it_has_ended(rows: Rows) -> None:
    live = await rows.live(replicas=3, policy={"max_total_replicas": 4, "on_no_room": "wait"})
    await rows.scale(1)
    await rows.mark_surplus(live)
    opened = await rows.open("run-2")

    assert await add(rows, opened.green)
    await rows.scale(2)
    assert not await add(rows, opened.green)


async def test_replicas_of_two_sets_never_go_beyond_the_bound_together(rows: Rows) -> None:
    live = await rows.live(replicas=3, policy=SIX)
    opened = await rows.open("run-2")
    await rows.sql("update route_sets set wanted = 6")

    added = await asyncio.gather(*(add(rows, one) for one in (live.green, opened.green) * 4))

    assert sum(added) == 3
    assert await rows.value("select count(*) from routes where ended_at is null") == 6


async def test_a_rollout_under_way_goes_by_the_bound_that_it_began_with(rows: Rows) -> None:
    live = await rows.live(replicas=1)
    opened = await rows.open("run-2", replicas=3, policy={"max_total_replicas": 5})
    await rows.sql("update route_sets set wanted = 9 where id = :id", id=live.green)

    assert [await add(rows, opened.green) for _ in range(3)] == [True, True, True]
    assert [await add(rows, live.green) for _ in range(2)] == [True, False]


# The way back with no room.


async def test_the_way_back_is_never_refused_for_lack_of_room_and_blue_grows_as_room_comes(rows: Rows) -> None:
    live = await rows.live(replicas=3, policy=SIX)
    opened = await rows.switched("run-2")
    await rows.close(opened, live.green)
    await rows.end(live, live.routes[0], failed=False, error="")
    await rows.end(live, live.routes[1], failed=False, error="")
    await rows.scale(4)

    answer = await rows.switch_back(opened)

    assert answer.refusal is None
    assert await rows.value("select wanted from route_sets where id = :id", id=live.green) == 4
    # Green's three and blue's one leave two of the three that blue lacks.
    await rows.close(opened, opened.green)
    assert [await add(rows, live.green) for _ in range(3)] == [True, True, False]
    await rows.end(opened, opened.routes[0], failed=False, error="")
    assert await add(rows, live.green)


# A plan.


async def plan(rows: Rows, **request: Any) -> Any:
    given = parse_payload(RolloutRequest, {"deployment": "chat", "revision": serving("other"), **request})
    before = await rows.dump()
    async with rows.table.transaction() as tx:
        planned = await plan_start(tx, given, verified=True, require=lambda _verb, _why: None)
    assert await rows.dump() == before
    return planned


async def test_a_plan_says_what_would_be_refused_for_room(rows: Rows) -> None:
    await drained_but(rows, 2)

    planned = await plan(rows)

    assert planned.refused is not None
    assert planned.refused.code is RefusalCode.NO_ROOM
    assert planned.capacity_now == 5


async def test_a_plan_says_what_would_wait_for_room(rows: Rows) -> None:
    await drained_but(rows, 2, on_no_room="wait")

    planned = await plan(rows)

    assert planned.refused is None
    [room] = [one for one in planned.guards if one.guard == "room"]
    assert room.binds
    assert "green is opened once there is room: no room for 3 more replicas of chat" in room.told


async def test_a_plan_says_that_there_is_room(rows: Rows) -> None:
    await rows.live(replicas=3, policy=SIX)

    planned = await plan(rows, policy={"preview_replicas": 1})

    told = {one.guard: (one.binds, one.told) for one in planned.guards if one.guard in {"room", "preview"}}
    assert told["room"] == (False, "there is room for green within max_total_replicas of 6")
    assert told["preview"][1].startswith("green has 1 until its switch is decided, then it grows to 3")


async def test_what_is_under_way_is_already_there_whatever_room_there_is(rows: Rows) -> None:
    await rows.live(replicas=3, policy=SIX)
    await rows.open("run-2", policy={"preview_replicas": 1})

    planned = await plan(rows, revision=serving("run-2"), policy={"preview_replicas": 1})

    assert planned.already_there
    assert planned.refused is not None
    assert planned.refused.code is RefusalCode.ROLLOUT_RUNNING


# At every moment.


@pytest.mark.parts
@pytest.mark.parametrize("seed", range(4))
async def test_the_bound_holds_at_every_moment_whatever_meets(rows: Rows, seed: int) -> None:
    """Begin, grow, scale, go back, supersede, start and end replicas, several at once, in random order."""
    bound = 6
    dice = random.Random(seed)
    policy = {"max_total_replicas": bound, "on_no_room": dice.choice(["refuse", "wait"]), "preview_replicas": 1}
    await rows.live(replicas=2, policy=policy)
    for number in range(8):
        run = f"run-{number + 2}"
        try:
            begun = await rows.begin(run, replicas=dice.randint(1, 3))
        except RefusedError:
            await _end_some(rows, dice)
            continue
        opened = await open_now(rows, begun)
        for _ in range(4):
            await _at_once(rows, dice, begun, opened.route_set, bound)
            opened = await open_now(rows, begun)
        if opened.route_set is None:
            await rows.finish(Opened(begun, RouteSetId(0)), RolloutOutcome.ABORTED)
            continue
        rollout = Opened(begun, opened.route_set)
        switched = await rows.value("select switch_epoch from rollouts where id = :id", id=begun.rollout)
        outcome = RolloutOutcome.SUPERSEDED if switched is None else RolloutOutcome.PROMOTED
        await rows.finish(rollout, outcome)
        await _check(rows, bound)
        await _begin_newer(rows, dice, f"{run}-newer", bound)


async def _at_once(rows: Rows, dice: random.Random, begun: Any, green: RouteSetId | None, bound: int) -> None:
    sets = [row["id"] for row in await rows.rows("select id from route_sets where state <> 'gone'")]
    attempts: list[Awaitable[object]] = [add(rows, dice.choice(sets)) for _ in range(3)]
    attempts += [_scale(rows, dice.randint(0, 4)), _end_some(rows, dice), _ask_for_newer(rows, dice.randint(1, 3))]
    if green is not None:
        opened = Opened(begun, green)
        attempts += [_make_healthy(rows, green), rows.switch(opened, decision=str(uuid.uuid4()))]
        attempts += [rows.switch(opened, decision=str(uuid.uuid4()), grown=True, message=None)]
        attempts += [rows.switch_back(opened, decision=str(uuid.uuid4()))]
    dice.shuffle(attempts)
    ends = asyncio.create_task(_watch(rows, bound))
    await asyncio.gather(*attempts)
    ends.cancel()
    await asyncio.gather(ends, return_exceptions=True)
    if ends.done() and not ends.cancelled() and ends.exception() is not None:
        raise AssertionError("the bound was broken for a moment") from ends.exception()
    await _check(rows, bound)


async def _ask_for_newer(rows: Rows, replicas: int) -> None:
    with suppress(RefusedError):
        await Person(rows).asks("newer", replicas=replicas, policy={"on_new_revision": "replace"})


async def _begin_newer(rows: Rows, dice: random.Random, run: str, bound: int) -> None:
    """Begin what has waited, if anything has; what finds no room waits on, and is dropped."""
    waiting = await rows.value("select max(id) from next_rollouts")
    if waiting is None:
        return
    try:
        begun = await take(rows, int(str(waiting)), run)
    except RefusedError:
        await Person(rows).drops()
        return
    opened = await open_now(rows, begun)
    await _at_once(rows, dice, begun, opened.route_set, bound)
    opened = await open_now(rows, begun)
    await rows.finish(Opened(begun, opened.route_set or RouteSetId(0)), RolloutOutcome.ABORTED)
    if await rows.value("select max(id) from next_rollouts") is not None:
        await Person(rows).drops()
    await _check(rows, bound)


async def _watch(rows: Rows, bound: int) -> None:
    while True:
        await _check(rows, bound)
        await asyncio.sleep(0.002)


async def _check(rows: Rows, bound: int) -> None:
    assert await rows.value("select count(*) from routes where ended_at is null") <= bound


async def _scale(rows: Rows, replicas: int) -> None:
    try:
        await rows.scale(replicas)
    except RefusedError as error:
        assert error.refusal.code is RefusalCode.NO_ROOM  # noqa: PT017 - nothing else may refuse it


async def _make_healthy(rows: Rows, route_set: RouteSetId) -> None:
    async with rows.table.transaction() as tx:
        await tx.execute(
            text(
                "update routes set status = 'running', health = 'healthy', health_fence = :fence, ready_at = now() "
                "where set_id = :id and ended_at is null and leaving_epoch is null"
            ),
            {"id": route_set, "fence": rows.fence},
        )


async def _end_some(rows: Rows, dice: random.Random) -> None:
    async with rows.table.transaction() as tx:
        kept = await read_managed_sets(tx, ["chat"])
    found = [(one, route) for one in kept for route in one.routes]
    for managed, route in dice.sample(found, min(2, len(found))):
        async with rows.table.transaction() as tx:
            await route_ended(tx, rows.fence, managed, route.route, status=RouteStatus.TERMINATED, failed=False)
