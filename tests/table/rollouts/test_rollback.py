"""A rollback that is started when no rollout is under way: the database decides whether it needs a gate."""

from datetime import timedelta
from typing import Any

import pytest

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import RolloutRequest, StartMemo
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import Channel, RolloutOutcome
from celadon.domain.language.steps import BeginStep, Begun
from celadon.table.core.models import Deployment
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.rollback import rollback_target
from tests.table.retention.aging import DAY, end_set, let_pass, prune_all, replace_live, written_now
from tests.table.rows import NOW, Opened, Rows

HOUR = timedelta(hours=1)
BY_ITSELF = {"message": None, "by": "policy", "door": Channel.POLICY, "reason": "rollback inside its window"}
BELIEVED = Authority(unsigned=Unsigned.NONE, verifies=lambda _text, signature: signature == "good")


async def back(rows: Rows, run: str, revision: int, **request: Any) -> Opened:
    """Begin a rollback to a revision and let its green be healthy."""
    return await rows.ready(run, revision=revision, rollback=True, **request)


async def through(rows: Rows, opened: Opened) -> None:
    """Let a rollback switch by itself and end."""
    assert (await rows.switch(opened, **BY_ITSELF)).refusal is None
    await rows.close(opened, opened.blue)
    await end_set(rows, opened, opened.blue)
    await rows.finish(opened)
    await written_now(rows.table)


async def target(rows: Rows) -> int:
    async with rows.table.transaction() as tx:
        return await rollback_target(tx, await tx.get_one(Deployment, "chat"))


async def refusal(rows: Rows, **request: Any) -> RefusalCode:
    before = await rows.dump()
    with pytest.raises(RefusedError) as refused:
        await rows.begin("back", rollback=True, **request)
    assert await rows.dump() == before
    return refused.value.refusal.code


async def test_inside_the_window_it_needs_no_gate_and_the_log_says_why(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await replace_live(rows, "run-2")

    opened = await back(rows, "run-3", 1)

    assert not opened.begun.gated
    record = await rows.value("select rollback_window from rollouts where id = :id", id=opened.begun.rollout)
    assert record.startswith("inside the rollback window: r1 is 1 revision back")
    told = await rows.value(
        "select evidence ->> 'rollback' from rollout_events where rollout = :id and kind = 'started'",
        id=opened.begun.rollout,
    )
    assert told == record
    assert (await rows.switch(opened, **BY_ITSELF)).refusal is None


async def test_outside_the_window_the_ordinary_gate_applies(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await replace_live(rows, "run-2")
    await let_pass(rows.table, 25 * HOUR)
    await rows.sql("update keepers set seen_at = now() + interval '1 hour'")

    opened = await back(rows, "run-3", 1)

    assert opened.begun.gated
    record = await rows.value("select rollback_window from rollouts where id = :id", id=opened.begun.rollout)
    assert "outside the rollback window: traffic left r1 at" in record
    answer = await rows.switch(opened, **BY_ITSELF)
    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.FORBIDDEN


async def test_health_is_never_skipped(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await replace_live(rows, "run-2")
    opened = await rows.open("run-3", revision=1, rollback=True)
    await rows.add(opened)

    answer = await rows.switch(opened, **BY_ITSELF)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.NO_HEALTHY_GREEN


async def test_a_freeze_holds_no_rollback_inside_the_window_and_any_other(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await replace_live(rows, "run-2")
    await rows.sql("insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')")
    inside = await back(rows, "run-3", 1)
    await through(rows, inside)
    assert await rows.value("select revision from route_sets join deployments on live_set = route_sets.id") == 1

    await let_pass(rows.table, 25 * HOUR)
    await rows.sql("update keepers set seen_at = now() + interval '1 hour'")
    outside = await back(rows, "run-4", 2)
    answer = await rows.switch(outside)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.FROZEN


async def test_a_b_a_b_and_a_b_a_c_b(rows: Rows) -> None:
    await replace_live(rows, "a")
    await replace_live(rows, "b")
    assert await target(rows) == 1
    await through(rows, await back(rows, "back-to-a", 1))
    with pytest.raises(RefusedError, match="there is no revision to go back to"):
        await target(rows)

    again = await back(rows, "b-again", 2)
    assert again.begun.gated
    assert (await rows.switch(again)).refusal is None
    await rows.close(again, again.blue)
    await end_set(rows, again, again.blue)
    await rows.finish(again)
    await replace_live(rows, "c")

    assert await target(rows) == 2
    await through(rows, await back(rows, "back-to-b", 2))
    assert await rows.value("select revision from route_sets join deployments on live_set = route_sets.id") == 2


async def test_a_rollout_that_was_rolled_back_while_it_baked_is_nothing_to_go_back_to(rows: Rows) -> None:
    await replace_live(rows, "a")
    await replace_live(rows, "b")
    bad = await rows.switched("bad")
    assert (await rows.switch_back(bad)).refusal is None
    await rows.close(bad, bad.green)
    await end_set(rows, bad)
    await rows.finish(bad, RolloutOutcome.ROLLED_BACK)

    assert await target(rows) == 1


async def test_there_is_nothing_to_go_back_from_while_nothing_is_live(rows: Rows) -> None:
    opened = await rows.ready("run-1")
    await rows.close(opened, opened.green)
    await end_set(rows, opened)
    await rows.finish(opened, RolloutOutcome.ABORTED)

    assert await refusal(rows, revision=1) is RefusalCode.NO_BLUE


async def test_what_is_live_is_nothing_to_go_back_to(rows: Rows) -> None:
    await replace_live(rows, "run-1")

    assert await refusal(rows, revision=1) is RefusalCode.ALREADY_LIVE


async def test_a_rollback_names_a_revision_by_its_number() -> None:
    with pytest.raises(RefusedError, match="a rollback names the number"):
        parse_payload(RolloutRequest, {"deployment": "chat", "revision": {"command": ["x"]}, "rollback": True})


async def begin_as(rows: Rows, rights: set[Verb], **request: Any) -> Begun:
    """Begin a rollback to r1 by somebody with these rights, whom a door vouches for."""
    given = {"deployment": "chat", "revision": 1, "rollback": True, "requested_by": "ann", **request}
    memo = StartMemo(
        request_id="id-1",
        door=Channel.API,
        issuer="tokens",
        rights=tuple(rights),
        valid_until=NOW + DAY,
        signature="good",
    )
    step = BeginStep(
        request=parse_payload(RolloutRequest, given),
        workflow_id="rollout-chat",
        run_id="back",
        at=NOW,
        memo=memo,
        taken_at=NOW,
    )
    async with rows.table.transaction() as tx:
        return await begin(tx, step, BELIEVED)


async def test_inside_the_window_the_right_to_roll_back_is_enough(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await replace_live(rows, "run-2")
    with pytest.raises(RefusedError, match="no right to rollback chat: inside the rollback window"):
        await begin_as(rows, {Verb.START})

    assert not (await begin_as(rows, {Verb.ROLLBACK})).gated


async def test_outside_the_window_it_takes_the_right_to_start(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await replace_live(rows, "run-2")
    await let_pass(rows.table, 25 * HOUR)
    with pytest.raises(RefusedError, match="no right to start chat: outside the rollback window"):
        await begin_as(rows, {Verb.ROLLBACK})

    assert (await begin_as(rows, {Verb.START})).gated


async def test_a_window_that_the_request_widens_takes_the_right_to_promote(rows: Rows) -> None:
    await replace_live(rows, "run-1")
    await replace_live(rows, "run-2")
    await let_pass(rows.table, 25 * HOUR)
    wider = {"rollback_window": {"age": "48h"}}
    with pytest.raises(RefusedError, match="no right to promote chat: only the rollback_window of the request"):
        await begin_as(rows, {Verb.ROLLBACK}, policy=wider)

    assert not (await begin_as(rows, {Verb.ROLLBACK, Verb.PROMOTE}, policy=wider)).gated


async def test_an_old_rollback_target_survives_pruning(rows: Rows) -> None:
    policy = {"event_retention": "1d", "revision_history_limit": 1, "rollback_window": {"revisions": 1, "age": "400d"}}
    for run in ("a", "b", "c"):
        await replace_live(rows, run, policy=policy if run == "a" else {})
    await let_pass(rows.table, 300 * DAY)
    await rows.sql("update keepers set seen_at = now() + interval '1 hour'")
    await prune_all(rows)

    assert await target(rows) == 2
    opened = await back(rows, "back", 2)

    assert not opened.begun.gated


async def test_a_blue_that_drained_is_refused_with_the_command_that_helps(rows: Rows) -> None:
    await replace_live(rows, "a")
    opened = await rows.switched("b")
    await rows.close(opened, opened.blue)
    await end_set(rows, opened, opened.blue)

    answer = await rows.switch_back(opened)

    assert answer.refusal is not None
    assert answer.refusal.code is RefusalCode.BLUE_DRAINED
    assert "'celadon rollback chat' starts one back" in answer.refusal.next_step
