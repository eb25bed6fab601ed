"""Approvals: the switch counts verified people under its lock, each once, and only for the decision that stands."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import text

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.language.commands import BakeCommand, PromoteCommand
from celadon.domain.language.contracts import PROMOTE, WITHDRAW
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.messages import StartMemo
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import Channel, RolloutPhase, RouteHealthStatus
from celadon.domain.language.steps import BeginStep, Begun, JudgeStep, Message, PhaseStep, SwitchAnswer
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.route_sets import enter_phase, judge
from celadon.table.rollouts.scaling import ScaleOrder, scale
from celadon.table.rollouts.switch import switch, switch_back
from tests.table.locks import until_somebody_waits
from tests.table.rows import NOW, Opened, Rows, begin_step

SIGNED: Final = "signed"
BELIEVING: Final = Authority(unsigned=Unsigned.ALL, verifies=lambda _, signature: signature == SIGNED)
"""An installation that lets unsigned messages do everything, and believes whatever says that it is signed."""
TWO: Final = {"approvals": {"count": 2}}
AWAITING, VERIFYING = RolloutPhase.AWAITING_PROMOTION, RolloutPhase.VERIFYING


def signed(verb: str, by: str, request_id: str, issuer: str = "idp", **said: Any) -> Message:
    kind = PromoteCommand if verb == PROMOTE else BakeCommand
    command = kind(
        by=by,
        issuer=issuer,
        door=Channel.API,
        rights=(Verb.PROMOTE, Verb.FORCE, Verb.ABORT),
        valid_until=datetime.now(UTC) + timedelta(hours=1),
        signature=SIGNED,
        **said,
    )
    return Message(verb=verb, request_id=request_id, came_by=Channel.UPDATE, command=command)


async def phase(rows: Rows, opened: Opened, to: RolloutPhase, minutes: int, *, spends: bool = False) -> None:
    step = PhaseStep(
        deployment="chat",
        rollout=opened.begun.rollout,
        phase=to,
        at=NOW + timedelta(minutes=minutes),
        spends_approvals=spends,
    )
    async with rows.table.transaction() as tx:
        await enter_phase(tx, step)


async def awaiting(rows: Rows, policy: dict[str, Any] | None = None, **request: Any) -> Opened:
    await rows.live()
    opened = await rows.ready("run-2", policy=TWO if policy is None else policy, **request)
    await phase(rows, opened, AWAITING, 1)
    return opened


async def promote(
    rows: Rows, opened: Opened, message: Message | None, *, decision: str = "", run: str = "run-2", **step: Any
) -> SwitchAnswer:
    asks = opened.switch_step(message=message, decision=decision, run=run, **step)
    async with rows.table.transaction() as tx:
        return await switch(tx, asks, BELIEVING)


async def approve(rows: Rows, opened: Opened, by: str, request_id: str = "", **said: Any) -> SwitchAnswer:
    return await promote(rows, opened, signed(PROMOTE, by, request_id or f"id-{by}", **said))


async def withdraw(rows: Rows, opened: Opened, message: Message) -> RefusalCode | None:
    step = JudgeStep(deployment="chat", rollout=opened.begun.rollout, messages=(message,), at=NOW, run="run-2")
    async with rows.table.transaction() as tx:
        judged = await judge(tx, step, BELIEVING)
    return None if judged.refusals[0] is None else judged.refusals[0].code


def code(answer: SwitchAnswer) -> RefusalCode | None:
    return None if answer.refusal is None else answer.refusal.code


def people(answer: SwitchAnswer) -> list[str]:
    return [one.by for one in answer.approvals]


async def live_set(rows: Rows) -> int:
    live: int = await rows.value("select live_set from deployments where name = 'chat'")
    return live


async def test_the_last_of_two_approvals_switches(rows: Rows) -> None:
    opened = await awaiting(rows)

    first = await approve(rows, opened, "ann")
    assert (first.recorded, first.epoch, code(first), people(first)) == (True, None, None, ["ann"])
    assert await live_set(rows) == opened.blue

    second = await approve(rows, opened, "ben")
    assert (second.recorded, people(second)) == (False, ["ann", "ben"])
    assert second.epoch is not None
    assert await live_set(rows) == opened.green


async def test_each_approval_is_written_into_the_audit_log_before_the_switch(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", reason="looks well")
    await approve(rows, opened, "ben")

    events = await rows.rows(
        "select kind, actor, reason, verified, evidence from rollout_events where rollout = :id and kind in "
        "('approved', 'switched') order by id",
        id=opened.begun.rollout,
    )

    assert [(one["kind"], one["actor"], one["verified"]) for one in events] == [
        ("approved", "ann", True),
        ("approved", "ben", True),
        ("switched", "ben", True),
    ]
    assert (events[0]["reason"], events[0]["evidence"]) == ("looks well", {"approvals": "1", "needed": "2"})


async def test_two_of_two_by_one_person_is_one(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1")

    again = await approve(rows, opened, "ann", "id-2")

    assert (again.recorded, people(again)) == (True, ["ann"])
    assert await live_set(rows) == opened.blue


async def test_the_same_name_by_another_issuer_is_another_person(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1", issuer="idp")

    other = await approve(rows, opened, "ann", "id-2", issuer="token")

    assert other.epoch is not None


@pytest.mark.parametrize("command", [{}, {"signature": "wrong", "issuer": "idp"}], ids=["bare", "wrongly signed"])
async def test_an_unsigned_promotion_is_no_approval_and_says_so(rows: Rows, command: dict[str, Any]) -> None:
    opened = await awaiting(rows, {"approvals": {"count": 1}})
    bare = Message(verb=PROMOTE, came_by=Channel.SIGNAL, command=PromoteCommand(by="ann", **command))

    answer = await promote(rows, opened, bare)

    assert (code(answer), answer.message_refused) == (RefusalCode.UNSIGNED, True)
    assert "an unsigned promotion is no approval" in str(answer.refusal)
    assert await rows.value("select count(*) from approvals") == 0
    assert await live_set(rows) == opened.blue


async def start(rows: Rows, policy: dict[str, Any], memo: StartMemo | None) -> Begun:
    step: BeginStep = begin_step("run-2", policy=policy)
    async with rows.table.transaction() as tx:
        return await begin(tx, step.model_copy(update={"memo": memo, "taken_at": datetime.now(UTC)}), BELIEVING)


def start_memo(*rights: Verb) -> StartMemo:
    return StartMemo(
        request_id="start-1",
        door=Channel.API,
        issuer="idp",
        rights=rights or (Verb.START, Verb.CREATE),
        valid_until=datetime.now(UTC) + timedelta(minutes=5),
        signature=SIGNED,
    )


EXCLUDES: Final = {"approvals": {"count": 1, "exclude_requester": True}}


async def test_the_requesters_approval_is_excluded(rows: Rows) -> None:
    await rows.live()
    opened = await rows.fill(await start(rows, EXCLUDES, start_memo()))
    await phase(rows, opened, AWAITING, 1)

    own = await approve(rows, opened, "ann")

    assert (code(own), own.message_refused) == (RefusalCode.REQUESTER_EXCLUDED, True)
    assert "ann requested this rollout" in str(own.refusal)
    assert (await approve(rows, opened, "ben")).epoch is not None


async def test_a_policy_that_excludes_the_requester_needs_a_verified_start(rows: Rows) -> None:
    await rows.live()
    before = await rows.dump()

    with pytest.raises(RefusedError) as refused:
        await start(rows, EXCLUDES, None)

    assert refused.value.refusal.code is RefusalCode.UNSIGNED
    assert "nobody vouches for who requests this rollout" in str(refused.value)
    assert await rows.dump() == before


@pytest.mark.parametrize(
    ("wanted", "is_allowed"),
    [
        ({}, True),
        ({"approvals": {"count": 3, "exclude_requester": True}}, True),
        ({"approvals": None}, False),
        ({"approvals": {"count": 1, "exclude_requester": True}}, False),
        ({"approvals": {"count": 2}}, False),
    ],
)
async def test_fewer_approvals_than_the_deployments_own_policy_take_the_right_to_waive_them(
    rows: Rows, wanted: dict[str, Any], *, is_allowed: bool
) -> None:
    await rows.live()
    own = '{"approvals": {"count": 2, "exclude_requester": true}}'
    await rows.sql("update deployments set policy = cast(:own as jsonb)", own=own)
    rights: tuple[Verb, ...] = (Verb.START, Verb.CREATE)

    if not is_allowed:
        with pytest.raises(RefusedError) as refused:
            await start(rows, wanted, start_memo(*rights))
        assert refused.value.refusal.code is RefusalCode.FORBIDDEN
        rights = (*rights, Verb.WAIVE_APPROVALS)

    assert await start(rows, wanted, start_memo(*rights))


async def test_a_first_deployment_waits_for_its_approvals_too(rows: Rows) -> None:
    opened = await rows.ready(policy={"auto_promote": True, **TWO})
    assert opened.begun.gated
    await phase(rows, opened, AWAITING, 1)

    answer = await promote(rows, opened, None, door=Channel.POLICY)

    assert code(answer) is RefusalCode.APPROVALS_MISSING


async def test_a_withdrawn_approval_does_not_count(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1")

    assert await withdraw(rows, opened, signed(WITHDRAW, "ann", "id-2")) is None
    assert people(await approve(rows, opened, "ben")) == ["ben"]
    assert await live_set(rows) == opened.blue

    assert (await approve(rows, opened, "ann", "id-3")).epoch is not None
    [event] = await rows.rows("select actor, evidence from rollout_events where kind = 'approval_withdrawn'")
    assert (event["actor"], event["evidence"]) == ("ann", {"approvals": "0", "needed": "2"})


@pytest.mark.parametrize(
    "message",
    [
        signed(WITHDRAW, "ben", "id-2"),
        signed(WITHDRAW, "ann", "id-2", issuer="token"),
        Message(verb=WITHDRAW, came_by=Channel.SIGNAL, command=BakeCommand(by="ann")),
    ],
    ids=["somebody else", "the same name by another issuer", "unsigned"],
)
async def test_only_who_approved_takes_the_approval_back(rows: Rows, message: Message) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1")

    assert await withdraw(rows, opened, message) is RefusalCode.NO_OWN_APPROVAL
    assert await rows.value("select count(*) from approvals") == 1


async def test_after_the_switch_no_approval_is_taken_back(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann")
    await approve(rows, opened, "ben")

    assert await withdraw(rows, opened, signed(WITHDRAW, "ann", "id-9")) is RefusalCode.NO_PENDING_ABORT
    assert await rows.value("select count(*) from approvals") == 2


async def test_a_last_approval_that_a_freeze_refuses_is_not_counted_and_the_others_stay(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann")
    await rows.sql("insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')")

    refused = await approve(rows, opened, "ben", "id-1")
    assert (code(refused), people(refused)) == (RefusalCode.FROZEN, ["ann"])

    await rows.sql("update freezes set ends_at = now()")
    assert people(await approve(rows, opened, "ann", "id-2")) == ["ann"]
    assert (await approve(rows, opened, "ben", "id-3")).epoch is not None


async def test_a_re_check_that_finds_green_sick_spends_the_approvals(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1")
    await rows.set_health(opened, opened.routes[0], RouteHealthStatus.UNHEALTHY)

    refused = await promote(rows, opened, signed(PROMOTE, "ben", "id-2"), decision="run-2/2")
    again = await promote(rows, opened, signed(PROMOTE, "ben", "id-2"), decision="run-2/2")

    assert (code(refused), people(refused)) == (RefusalCode.NO_HEALTHY_GREEN, [])
    assert again == refused
    await rows.set_health(opened, opened.routes[0], RouteHealthStatus.HEALTHY)
    assert people(await approve(rows, opened, "ben", "id-3")) == ["ben"]
    assert (await approve(rows, opened, "ann", "id-4")).epoch is not None
    [event] = await rows.rows("select reason, evidence from rollout_events where kind = 'approvals_spent'")
    assert event["evidence"] == {"approved_by_1": "ann"}


async def test_a_green_that_grows_because_it_was_scaled_spends_no_approval(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1")
    async with rows.table.transaction() as tx:
        await scale(tx, ScaleOrder(deployment="chat", replicas=3, by="ann", door=Channel.CLI))

    refused = await approve(rows, opened, "ben")

    assert (code(refused), refused.scaled, people(refused)) == (RefusalCode.NO_HEALTHY_GREEN, True, ["ann"])


async def test_a_regression_spends_the_approvals_once(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1")

    await phase(rows, opened, VERIFYING, 2, spends=True)
    assert (await approve(rows, opened, "ann", "id-2", force=True)).recorded
    # An attempt of the same step that comes late spends nothing that was given since.
    await phase(rows, opened, VERIFYING, 2, spends=True)

    assert (await approve(rows, opened, "ben", "id-3", force=True)).epoch is not None
    assert await rows.value("select count(*) from rollout_events where kind = 'approvals_spent'") == 1


async def test_a_timer_switches_only_what_enough_people_have_approved(rows: Rows) -> None:
    opened = await awaiting(rows, {"auto_promote": True, **TWO})
    await approve(rows, opened, "ann")

    answer = await promote(rows, opened, None, door=Channel.TIMER, decision="run-2/2")

    assert (code(answer), answer.message_refused, people(answer)) == (RefusalCode.APPROVALS_MISSING, False, ["ann"])
    assert "1 of 2 approved (ann at " in str(answer.refusal)
    assert "1 approval is missing, by another verified person" in str(answer.refusal)
    assert await live_set(rows) == opened.blue


async def test_a_promotion_that_a_reset_brings_again_counts_nobody_twice(rows: Rows) -> None:
    opened = await awaiting(rows)
    await promote(rows, opened, signed(PROMOTE, "ann", "id-1"), decision="run-2/1")

    replayed = await promote(rows, opened, signed(PROMOTE, "ann", "id-1"), decision="run-3/1", run="run-3")

    assert (code(replayed), people(replayed)) == (RefusalCode.REQUEST_SPENT, ["ann"])
    assert await live_set(rows) == opened.blue


async def test_a_late_attempt_of_an_approval_brings_nothing_back_that_was_withdrawn(rows: Rows) -> None:
    opened = await awaiting(rows)
    asked = signed(PROMOTE, "ann", "id-1")
    first = await promote(rows, opened, asked, decision="run-2/1")
    await withdraw(rows, opened, signed(WITHDRAW, "ann", "id-2"))

    late = await promote(rows, opened, asked, decision="run-2/1")

    assert late == first
    assert await rows.value("select count(*) from approvals") == 0


async def test_a_second_attempt_of_an_approval_gets_the_same_answer(rows: Rows) -> None:
    opened = await awaiting(rows)
    asked = signed(PROMOTE, "ann", "id-1")
    first = await promote(rows, opened, asked, decision="run-2/1")
    before = await rows.dump()

    assert await promote(rows, opened, asked, decision="run-2/1") == first
    assert await rows.dump() == before


async def test_force_counts_only_where_every_counted_approval_says_it(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1")
    await phase(rows, opened, VERIFYING, 2)

    forced = await approve(rows, opened, "ben", "id-2", force=True, reason="blue is down")
    assert forced.recorded
    assert [one.by for one in forced.approvals if one.force] == ["ben"]

    assert (await approve(rows, opened, "ann", "id-3", force=True, reason="blue is down")).epoch is not None


async def test_two_people_who_approve_at_once_make_one_switch(rows: Rows) -> None:
    opened = await awaiting(rows)

    async with rows.table.transaction() as tx:
        await tx.execute(text("select 1 from route_sets where id = :green for update"), {"green": opened.green})
        asked = [asyncio.create_task(approve(rows, opened, by)) for by in ("ann", "ben")]
        await until_somebody_waits(rows.table, len(asked))
    answers = await asyncio.gather(*asked)

    assert sorted(answer.recorded for answer in answers) == [False, True]
    assert await live_set(rows) == opened.green


async def test_an_approval_that_is_being_withdrawn_does_not_count_for_the_last_one(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann", "id-1")
    taken_back = signed(WITHDRAW, "ann", "id-2")
    step = JudgeStep(deployment="chat", rollout=opened.begun.rollout, messages=(taken_back,), at=NOW, run="run-2")

    async with rows.table.transaction() as tx:
        await judge(tx, step, BELIEVING)
        asked = asyncio.create_task(approve(rows, opened, "ben"))
        await until_somebody_waits(rows.table)
    last = await asked

    assert (last.recorded, people(last)) == (True, ["ben"])
    assert await live_set(rows) == opened.blue


async def test_the_way_back_needs_no_approval(rows: Rows) -> None:
    opened = await awaiting(rows)
    await approve(rows, opened, "ann")
    await approve(rows, opened, "ben")

    async with rows.table.transaction() as tx:
        answer = await switch_back(tx, opened.switch_back_step(), BELIEVING)

    assert answer.epoch is not None
    assert await live_set(rows) == opened.blue


async def test_a_rollout_whose_policy_asks_for_no_approvals_has_none(rows: Rows) -> None:
    opened = await awaiting(rows, {})

    answer = await approve(rows, opened, "ann")

    assert answer.epoch is not None
    assert await rows.value("select count(*) from approvals") == 0
