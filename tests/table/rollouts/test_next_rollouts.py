"""What waits for its turn: who takes the one place, whom it ends, when it begins, and that it begins once."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from celadon.domain.decisions.authority import Authority, Unsigned
from celadon.domain.decisions.hosts import ClaimableHosts, HostRules
from celadon.domain.language.contracts import SUCCESSOR_WAITS
from celadon.domain.language.errors import RefusalCode, RefusedError, refuse
from celadon.domain.language.identity import KEY_ISSUER
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import DeploymentName
from celadon.domain.language.next_rollout import NextRollout, StartState, Successor
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase
from celadon.domain.language.steps import BeginStep, Begun, PhaseStep, Step
from celadon.table.core.author import Author
from celadon.table.core.locks import lock_deployment
from celadon.table.read.overview import list_deployments, view_deployment
from celadon.table.replicas.due_rollouts import DueRollout, read_due_rollouts
from celadon.table.rollouts.begin import begin
from celadon.table.rollouts.next_rollouts import HeldError, drop, hold_refused, read_successor
from celadon.table.rollouts.placing import Met, meet
from celadon.table.rollouts.retrying import Retried, retry
from celadon.table.rollouts.route_sets import enter_phase, open_green
from tests.revisions import serving
from tests.table.rows import NOW, TRUSTING, Opened, Rows

ALL = frozenset(Verb)
QUEUE = {"on_new_revision": "queue"}
REPLACE = {"on_new_revision": "replace"}
GONE = refuse(RefusalCode.NO_SUCH_TARGET, "the target is gone", "add it")
HOSTS = HostRules(ClaimableHosts(listed=("*.example.com",)))
DECISIONS = Authority(unsigned=Unsigned.DECISIONS)


@dataclass(frozen=True)
class Person:
    """Somebody who asks for rollouts, through the API."""

    rows: Rows
    name: str = "ben"
    rights: frozenset[Verb] = ALL
    verified: bool = True
    issuer: str = field(default=KEY_ISSUER)

    @property
    def author(self) -> Author:
        issuer = self.issuer if self.verified else ""
        return Author(by=self.name, door=Channel.API, reason="newer", verified=self.verified, issuer=issuer)

    def require(self, verb: Verb, why: str) -> None:
        if verb not in self.rights:
            raise refuse(RefusalCode.FORBIDDEN, f"{self.name} may not {verb.value}: {why}")

    async def asks(self, label: str | int = "newer", request_id: str = "", **request: Any) -> Met | None:
        """Ask for a rollout; ``None`` when it is to begin now."""
        revision = label if isinstance(label, int) else serving(label)
        given = {"deployment": "chat", "revision": revision, "requested_by": self.name, "reason": "newer", **request}
        async with self.rows.table.transaction() as tx:
            return await meet(
                tx,
                parse_payload(RolloutRequest, given),
                self.author,
                self.rights,
                require=self.require,
                request_id=request_id,
                hosts=HOSTS,
            )

    async def waits(self, label: str | int = "newer", **request: Any) -> int:
        """Ask for a rollout that waits; return the number under which it does."""
        met = await self.asks(label, **request)
        assert met is not None
        assert (met.state, met.waiting is None) == (StartState.WAITS, False)
        assert met.waiting is not None
        return met.waiting.id

    async def is_refused(self, label: str | int = "newer", **request: Any) -> RefusalCode:
        """Ask for a rollout that is refused; return why, having checked that nothing has changed."""
        before = await self.rows.dump()
        with pytest.raises(RefusedError) as refused:
            await self.asks(label, **request)
        assert await self.rows.dump() == before
        return refused.value.refusal.code

    async def drops(self) -> object:
        async with self.rows.table.transaction() as tx:
            return await drop(tx, await lock_deployment(tx, "chat"), self.author)

    async def retries(self) -> Retried:
        async with self.rows.table.transaction() as tx:
            return await retry(tx, "chat", self.author, self.require, HOSTS)


@pytest.fixture
def ben(rows: Rows) -> Person:
    return Person(rows)


async def take(rows: Rows, number: int, run: str = "run-next", authority: Authority = TRUSTING) -> Begun:
    """Begin what has waited under a number."""
    step = BeginStep(
        request=NextRollout(deployment=DeploymentName("chat"), next=number),
        workflow_id="rollout-chat",
        run_id=run,
        at=NOW + timedelta(minutes=10),
    )
    async with rows.table.transaction() as tx:
        return await begin(tx, step, authority, hosts=HOSTS)


async def is_not_taken(rows: Rows, number: int, run: str = "run-next") -> RefusalCode:
    """Return why what has waited cannot begin, having checked that nothing has changed."""
    before = await rows.dump()
    with pytest.raises(RefusedError) as refused:
        await take(rows, number, run)
    assert await rows.dump() == before
    return refused.value.refusal.code


async def due(rows: Rows) -> list[DueRollout]:
    async with rows.table.transaction() as tx:
        return await read_due_rollouts(tx)


async def successor(rows: Rows, under_way: Opened, authority: Authority = TRUSTING) -> Successor | None:
    """Return what a rollout is told of what waits behind it."""
    step = Step(deployment="chat", rollout=under_way.begun.rollout)
    async with rows.table.transaction() as tx:
        return (await read_successor(tx, step, authority)).successor


async def events(rows: Rows, kind: str) -> list[Any]:
    return list(await rows.rows("select * from rollout_events where kind = :kind order by id", kind=kind))


async def signals(rows: Rows) -> list[Any]:
    query = "select payload from outbox where signal = :signal order by id"
    return [row["payload"] for row in await rows.rows(query, signal=SUCCESSOR_WAITS)]


async def in_phase(rows: Rows, opened: Opened, phase: RolloutPhase) -> None:
    step = PhaseStep(deployment="chat", rollout=opened.begun.rollout, phase=phase, at=NOW)
    async with rows.table.transaction() as tx:
        await enter_phase(tx, step)


# Who waits.


async def test_a_request_is_refused_while_a_rollout_runs_unless_the_policy_lets_it_wait(
    rows: Rows, ben: Person
) -> None:
    await rows.open()

    assert await ben.is_refused() is RefusalCode.ROLLOUT_RUNNING
    assert await ben.is_refused(policy={"on_new_revision": "reject"}) is RefusalCode.ROLLOUT_RUNNING


async def test_a_queued_request_waits_with_its_revision_registered_and_the_rollout_is_told(
    rows: Rows, ben: Person
) -> None:
    opened = await rows.open()

    met = await ben.asks(policy=QUEUE, replicas=3)

    assert met is not None
    waiting = met.waiting
    assert waiting is not None
    assert (met.state, met.rollout, met.revision, met.replaced) == (StartState.WAITS, opened.begun.rollout, 2, None)
    assert (waiting.revision, waiting.replicas, waiting.mode.value) == (2, 3, "queue")
    assert (waiting.requested_by, waiting.verified, waiting.after) == ("ben", True, opened.begun.rollout)
    assert waiting.waits_for == f"the end of rollout {opened.begun.rollout}"
    assert await rows.value("select count(*) from revisions") == 2
    assert await rows.value("select count(*) from rollouts") == 1
    assert await signals(rows) == [{"rollout": opened.begun.rollout, "id": waiting.id}]
    [line] = await events(rows, "successor_waits")
    assert (line["actor"], line["door"], line["verified"], line["rollout"]) == (
        "ben",
        "api",
        True,
        opened.begun.rollout,
    )


async def test_the_deployments_own_policy_lets_requests_wait_too(rows: Rows, ben: Person) -> None:
    await rows.live(policy=QUEUE)
    await rows.open("run-2")

    await ben.waits()


async def test_a_request_begins_at_once_when_no_rollout_runs(rows: Rows, ben: Person) -> None:
    assert await ben.asks(policy=QUEUE) is None
    await rows.live()
    assert await ben.asks(policy=QUEUE) is None


async def test_one_that_begin_would_refuse_is_refused_before_anything_is_closed(rows: Rows, ben: Person) -> None:
    await rows.live()
    await rows.open("run-2")

    contradicts = {**REPLACE, "promote_after": "5m"}
    assert await ben.is_refused(9, policy=REPLACE) is RefusalCode.NO_SUCH_REVISION
    assert await ben.is_refused(policy=contradicts) is RefusalCode.POLICY_CONFLICT
    assert await ben.is_refused(policy=REPLACE, labels={"team": "other"}) is RefusalCode.LABELS_DIFFER
    unlisted = {"hosts": ["llm.example.org"]}
    assert await ben.is_refused(policy=REPLACE, traffic=unlisted) is RefusalCode.HOST_NOT_ALLOWED
    assert await ben.is_refused(policy={**REPLACE, "notify": [{"target": "nobody"}]}) is RefusalCode.NO_SUCH_TARGET
    assert await ben.is_refused(policy={**REPLACE, "event_retention": "2h"}) is RefusalCode.POLICY_CONFLICT


@pytest.mark.parametrize(
    ("missing", "request_"),
    [
        (Verb.START, {"policy": QUEUE}),
        (Verb.CREATE, {"policy": QUEUE}),
        (Verb.SCALE, {"policy": QUEUE, "replicas": 5}),
        (Verb.PROMOTE, {"policy": {**QUEUE, "auto_promote": True}}),
        (Verb.ABORT, {"policy": REPLACE}),
    ],
)
async def test_whoever_lets_a_rollout_wait_needs_every_right_that_it_takes(
    rows: Rows, ben: Person, missing: Verb, request_: dict[str, Any]
) -> None:
    await rows.live()
    await rows.open("run-2")

    assert await replace(ben, rights=ALL - {missing}).is_refused(**request_) is RefusalCode.FORBIDDEN


async def test_to_end_a_bake_takes_the_right_to_finish_it(rows: Rows, ben: Person) -> None:
    await rows.live()
    await rows.switched("run-2")
    operator = replace(ben, rights=ALL - {Verb.PROMOTE})

    assert await operator.is_refused(policy=REPLACE) is RefusalCode.FORBIDDEN
    unsigned = replace(ben, verified=False, rights=ALL - {Verb.DELETE})
    assert await unsigned.is_refused(policy=REPLACE) is RefusalCode.UNSIGNED
    await operator.waits(policy=QUEUE)


async def test_a_rollback_never_waits(rows: Rows, ben: Person) -> None:
    await rows.live()
    await rows.live("run-2")
    await rows.open("run-3")

    assert await ben.is_refused(1, rollback=True, policy=QUEUE) is RefusalCode.ROLLOUT_RUNNING


# One place.


async def test_the_one_that_waited_is_replaced_and_told(rows: Rows, ben: Person) -> None:
    opened = await rows.open()
    first = await ben.waits(policy=QUEUE)

    met = await replace(ben, name="cid").asks("newest", policy=QUEUE)

    assert met is not None
    assert met.replaced is not None
    assert (met.replaced.id, met.replaced.requested_by) == (first, "ben")
    [row] = await rows.rows("select * from next_rollouts")
    assert (row["revision"], row["requested_by"]) == (3, "cid")
    [line] = await events(rows, "successor_replaced")
    assert (line["actor"], line["rollout"]) == ("cid", opened.begun.rollout)
    assert (line["evidence"]["next"], line["evidence"]["requested_by"]) == (str(first), "ben")
    assert await is_not_taken(rows, first) is RefusalCode.ALREADY_TAKEN


async def test_two_newer_requests_at_once_take_one_place(rows: Rows, ben: Person) -> None:
    await rows.open()

    one, other = await asyncio.gather(ben.asks("one", policy=QUEUE), ben.asks("other", policy=QUEUE))

    assert one is not None
    assert other is not None
    first, second = sorted((one, other), key=lambda met: 0 if met.waiting is None else met.waiting.id)
    assert first.waiting is not None
    assert second.replaced is not None
    assert second.replaced.id == first.waiting.id
    assert await rows.value("select count(*) from next_rollouts") == 1


async def test_the_table_has_one_place_for_each_deployment(rows: Rows, ben: Person) -> None:
    await rows.open()
    await ben.waits(policy=QUEUE)

    columns = "deployment, revision, mode, asked, requested_by, verified, reason, request_id"
    with pytest.raises(IntegrityError):
        await rows.sql(f"insert into next_rollouts ({columns}) select {columns} from next_rollouts")  # noqa: S608


async def test_what_waits_can_be_dropped(rows: Rows, ben: Person) -> None:
    opened = await rows.open()
    number = await ben.waits(policy=QUEUE)

    assert await ben.drops() is not None

    assert await ben.drops() is None
    [line] = await events(rows, "successor_dropped")
    assert (line["actor"], line["evidence"]["next"]) == ("ben", str(number))
    assert len(await signals(rows)) == 2
    assert await successor(rows, opened) is None


# What is there already.


async def test_a_request_for_what_waits_already_is_already_there(rows: Rows, ben: Person) -> None:
    await rows.open()
    number = await ben.waits(policy=QUEUE)

    met = await ben.asks(policy=QUEUE)

    assert met is not None
    assert met.waiting is not None
    assert (met.state, met.waiting.id) == (StartState.ALREADY_THERE, number)
    assert await ben.waits(policy=QUEUE, restart=True) != number


async def test_a_request_for_what_is_live_is_already_there_unless_it_says_restart(rows: Rows, ben: Person) -> None:
    await rows.live()

    met = await ben.asks("run-1")

    assert met is not None
    assert (met.state, met.rollout, met.revision, met.waiting) == (StartState.ALREADY_THERE, None, 1, None)
    assert await ben.asks("run-1", restart=True) is None
    assert await ben.asks("run-1", replicas=2) is None
    assert await ben.asks("run-1", traffic={"hosts": ["llm.example.com"]}) is None
    assert await ben.asks("run-1", traffic={"hosts": []}) is not None


async def test_a_request_for_what_is_under_way_is_already_there(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.open("run-2")

    met = await ben.asks("run-2", policy=REPLACE)

    assert met is not None
    assert (met.state, met.rollout) == (StartState.ALREADY_THERE, opened.begun.rollout)
    assert await ben.is_refused("run-2", policy={"bake": "1m"}) is RefusalCode.ROLLOUT_RUNNING


async def test_a_request_for_what_is_under_way_takes_the_place_of_what_waits(rows: Rows, ben: Person) -> None:
    await rows.live()
    await rows.open("run-2")
    await ben.waits(policy=QUEUE)

    await ben.waits("run-2", policy=QUEUE)

    assert await rows.value("select revision from next_rollouts") == 2


async def test_a_repeated_request_finds_what_waits(rows: Rows, ben: Person) -> None:
    await rows.open()
    number = await ben.waits(policy=QUEUE, request_id="id-1", restart=True)

    assert await ben.waits(policy=QUEUE, request_id="id-1", restart=True) == number


# Whom it ends.


@pytest.mark.parametrize(
    ("phase", "mode", "replaces"),
    [
        (RolloutPhase.PROVISIONING, REPLACE, True),
        (RolloutPhase.VERIFYING, REPLACE, True),
        (RolloutPhase.AWAITING_PROMOTION, REPLACE, True),
        (RolloutPhase.BAKING, REPLACE, True),
        (RolloutPhase.DRAINING, REPLACE, False),
        (RolloutPhase.ROLLING_BACK, REPLACE, False),
        (RolloutPhase.PROVISIONING, QUEUE, False),
        (RolloutPhase.AWAITING_PROMOTION, QUEUE, False),
        (RolloutPhase.BAKING, QUEUE, False),
        (RolloutPhase.DRAINING, QUEUE, False),
    ],
)
async def test_only_what_replaces_ends_a_rollout_before_its_drain(
    rows: Rows, ben: Person, phase: RolloutPhase, mode: dict[str, str], *, replaces: bool
) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    await in_phase(rows, opened, phase)
    number = await ben.waits(policy=mode)

    found = await successor(rows, opened)
    assert found is not None
    assert (found.id, found.revision, found.by, found.replaces) == (number, 3, "ben", replaces)


async def test_what_may_end_no_bake_waits_for_the_end_of_one_that_has_begun_meanwhile(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    await replace(ben, rights=ALL - {Verb.PROMOTE}).waits(policy=REPLACE)

    await rows.switch(opened)

    found = await successor(rows, opened)
    assert found is not None
    assert not found.replaces


async def test_one_whom_nobody_vouches_for_ends_no_bake(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    await rows.sql("insert into revisions values ('chat', 3, 'digest', '{\"command\": [\"serve\"]}')")
    await replace(ben, verified=False).waits(3, policy=REPLACE)

    before = await successor(rows, opened, DECISIONS)
    await rows.switch(opened)
    after = await successor(rows, opened, DECISIONS)

    assert before is not None
    assert after is not None
    assert (before.replaces, after.replaces) == (True, False)


# Room.


async def test_one_waits_whatever_room_the_rollout_under_way_has_left(rows: Rows, ben: Person) -> None:
    await rows.live(replicas=2, policy={"max_total_replicas": 4})
    await rows.ready("run-2")

    await ben.waits(policy=QUEUE)


async def test_one_that_no_bound_leaves_room_for_is_refused_before_anything_is_closed(rows: Rows, ben: Person) -> None:
    await rows.live(replicas=2, policy={"max_total_replicas": 4})
    await rows.ready("run-2")

    assert await ben.is_refused(policy=REPLACE, replicas=3) is RefusalCode.POLICY_CONFLICT


async def test_never_three_full_copies_when_the_bound_forbids_it(rows: Rows, ben: Person) -> None:
    await rows.live(replicas=2, policy={"max_total_replicas": 4, "on_no_room": "wait"})
    replaced = await rows.ready("run-2")
    number = await ben.waits(policy=REPLACE)
    await rows.close(replaced, replaced.green)
    await rows.finish(replaced, RolloutOutcome.SUPERSEDED)
    begun = await take(rows, number)
    step = Step(deployment="chat", rollout=begun.rollout)

    async with rows.table.transaction() as tx:
        assert (await open_green(tx, step)).no_room is not None
    for route in replaced.routes:
        await rows.end(replaced, route, failed=False, error="")
    async with rows.table.transaction() as tx:
        assert (await open_green(tx, step)).wanted == 2


# Its turn.


@pytest.mark.parametrize("outcome", [RolloutOutcome.PROMOTED, RolloutOutcome.SUPERSEDED])
async def test_it_is_its_turn_after_a_rollout_that_was_promoted_or_superseded(
    rows: Rows, ben: Person, outcome: RolloutOutcome
) -> None:
    await rows.live()
    promoted = outcome is RolloutOutcome.PROMOTED
    opened = await (rows.switched("run-2") if promoted else rows.open("run-2"))
    number = await ben.waits(policy=QUEUE)
    assert await due(rows) == []

    await rows.finish(opened, outcome)

    [one] = await due(rows)
    assert (one.deployment, one.number) == ("chat", number)
    begun = await take(rows, number)
    assert (begun.to_revision, begun.from_revision) == (3, 2 if promoted else 1)
    assert await due(rows) == []
    assert await rows.value("select count(*) from next_rollouts") == 0
    row = (await rows.rows("select * from rollouts order by id desc limit 1"))[0]
    assert (row["requested_by"], row["requester_issuer"], row["reason"]) == ("ben", KEY_ISSUER, "newer")
    assert row["next"] == number
    line = (await events(rows, "started"))[-1]
    assert (line["actor"], line["door"], line["verified"], line["evidence"]["next"]) == (
        "ben",
        "api",
        True,
        str(number),
    )


@pytest.mark.parametrize("outcome", [RolloutOutcome.FAILED, RolloutOutcome.ABORTED, RolloutOutcome.EXPIRED])
async def test_after_any_other_end_it_waits_for_a_retry(rows: Rows, ben: Person, outcome: RolloutOutcome) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    number = await ben.waits(policy=QUEUE)

    await rows.finish(opened, outcome)

    assert await due(rows) == []
    held = await rows.value("select held from next_rollouts")
    assert held == f"rollout {opened.begun.rollout}, for which it waited, ended as {outcome.value} (because)"
    assert await is_not_taken(rows, number) is RefusalCode.WAITS_FOR_RETRY
    [line] = await events(rows, "successor_held")
    assert (line["rollout"], line["evidence"]["requested_by"]) == (opened.begun.rollout, "ben")
    retried = await ben.retries()
    assert retried.begins
    assert retried.waiting is not None
    assert [one.number for one in await due(rows)] == [retried.waiting.id]
    assert (await take(rows, retried.waiting.id)).to_revision == 3


async def test_what_is_retried_is_not_begun_by_a_start_that_was_refused_before(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    number = await ben.waits(policy=QUEUE)
    await rows.finish(opened, RolloutOutcome.ABORTED)
    assert await is_not_taken(rows, number, "run-early") is RefusalCode.WAITS_FOR_RETRY

    retried = await ben.retries()

    # A worker that was paused tries the begin of the first start once more.
    assert await is_not_taken(rows, number, "run-early") is RefusalCode.ALREADY_TAKEN
    assert retried.waiting is not None
    assert (await take(rows, retried.waiting.id)).to_revision == 3


async def test_after_an_incidents_rollback_nothing_starts_by_itself(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.switched("run-2")
    await ben.waits(policy=QUEUE)

    await rows.switch_back(opened)
    await rows.finish(opened, RolloutOutcome.ROLLED_BACK)

    assert await due(rows) == []
    assert "ended as rolled_back" in await rows.value("select held from next_rollouts")


async def test_a_rollback_that_is_started_holds_what_waits_and_is_never_refused_for_it(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.switched("run-2")
    number = await ben.waits(policy=QUEUE)
    await rows.finish(opened)
    assert [one.number for one in await due(rows)] == [number]

    back = await rows.ready("run-3", revision=1, rollback=True)
    await rows.switch(back)
    await rows.finish(back)

    assert await due(rows) == []
    assert await rows.value("select held from next_rollouts") == "chat was rolled back meanwhile"
    assert await is_not_taken(rows, number) is RefusalCode.WAITS_FOR_RETRY


async def test_what_waits_begins_once(rows: Rows, ben: Person) -> None:
    opened = await rows.switched()
    number = await ben.waits(policy=QUEUE)
    await rows.finish(opened)

    begun = await take(rows, number, "run-a")

    assert await take(rows, number, "run-a") == begun
    await rows.finish(await rows.fill(begun), RolloutOutcome.ABORTED)
    assert await is_not_taken(rows, number, "run-b") is RefusalCode.ALREADY_TAKEN
    assert await rows.value("select count(*) from rollouts") == 2


async def test_what_waits_gives_hosts_when_it_begins_and_not_while_another_has_them(rows: Rows, ben: Person) -> None:
    opened = await rows.switched()
    number = await ben.waits(policy=QUEUE, traffic={"hosts": ["llm.example.com"]})
    await rows.finish(opened)
    assert await rows.rows("select host from deployment_hosts") == []
    await rows.live("run-code", deployment="code")
    await rows.sql("insert into deployment_hosts (host, deployment) values ('llm.example.com', 'code')")

    assert await is_not_taken(rows, number, "run-a") is RefusalCode.HOST_TAKEN
    await rows.sql("delete from deployment_hosts")
    await take(rows, number, "run-b")

    assert await rows.value("select deployment from deployment_hosts") == "chat"


async def test_two_runs_at_once_that_would_begin_it_begin_it_once(rows: Rows, ben: Person) -> None:
    opened = await rows.switched()
    number = await ben.waits(policy=QUEUE)
    await rows.finish(opened)

    answers = await asyncio.gather(take(rows, number, "run-a"), take(rows, number, "run-b"), return_exceptions=True)

    assert await rows.value("select count(*) from rollouts where next = :number", number=number) == 1
    assert any(isinstance(one, Begun) for one in answers)


async def test_a_workflow_that_was_reset_begins_what_waited_anew(rows: Rows, ben: Person) -> None:
    opened = await rows.switched()
    number = await ben.waits(policy=QUEUE)
    await rows.finish(opened)
    first = await take(rows, number, "run-a")

    again = await take(rows, number, "run-b")

    assert again.rollout != first.rollout
    assert (again.to_revision, again.policy) == (first.to_revision, first.policy)
    assert await rows.value("select outcome from rollouts where id = :id", id=first.rollout) == "failed"
    assert await rows.value("select next from rollouts where id = :id", id=again.rollout) == number


async def test_what_waits_behind_a_workflow_that_is_gone_does_not_begin_by_itself(rows: Rows, ben: Person) -> None:
    await rows.open()
    number = await ben.waits(policy=QUEUE)

    assert await is_not_taken(rows, number) is RefusalCode.WAITS_FOR_RETRY


async def test_rights_are_those_that_were_judged(rows: Rows, ben: Person) -> None:
    opened = await rows.switched(policy={"auto_promote": False})
    number = await replace(ben, rights=ALL - {Verb.PROMOTE}).waits(policy={**QUEUE, "auto_promote": False})
    await rows.finish(opened)
    await rows.sql("""update next_rollouts set asked = jsonb_set(asked, '{request,policy,auto_promote}', 'true')""")

    assert await is_not_taken(rows, number) is RefusalCode.FORBIDDEN


async def test_what_cannot_begin_is_held_so_that_nobody_starts_it_again_and_again(rows: Rows, ben: Person) -> None:
    opened = await rows.switched()
    number = await ben.waits(policy=QUEUE)
    await rows.finish(opened)

    for _ in range(2):
        async with rows.table.transaction() as tx:
            await hold_refused(tx, NextRollout(deployment=DeploymentName("chat"), next=number), GONE)

    assert await due(rows) == []
    assert await rows.value("select held from next_rollouts") == "the target is gone; add it"
    assert len(await events(rows, "successor_held")) == 1


async def test_what_is_refused_because_it_is_held_is_held_for_the_same_reason(rows: Rows, ben: Person) -> None:
    opened = await rows.switched()
    number = await ben.waits(policy=QUEUE)
    await rows.finish(opened)

    async with rows.table.transaction() as tx:
        await hold_refused(
            tx, NextRollout(deployment=DeploymentName("chat"), next=number), HeldError("chat", "rollout 1 failed")
        )

    assert await rows.value("select held from next_rollouts") == "rollout 1 failed"


# Others meet what waits.


async def test_a_plain_start_that_meets_a_waiting_row_is_refused_by_its_policy(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    await ben.waits(policy=QUEUE)
    await rows.finish(opened, RolloutOutcome.ABORTED)
    before = await rows.dump()

    with pytest.raises(RefusedError) as refused:
        await rows.begin("run-3")

    assert refused.value.refusal.code is RefusalCode.ANOTHER_WAITS
    assert await rows.dump() == before


@pytest.mark.parametrize("mode", [QUEUE, REPLACE])
async def test_a_plain_start_that_meets_a_waiting_row_takes_its_place_by_its_policy(
    rows: Rows, ben: Person, mode: dict[str, str]
) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    number = await ben.waits(policy=QUEUE)
    await rows.finish(opened, RolloutOutcome.SUPERSEDED)

    begun = await rows.begin("run-3", policy=mode)

    assert await rows.value("select count(*) from next_rollouts") == 0
    [line] = await events(rows, "successor_replaced")
    assert (line["rollout"], line["actor"]) == (begun.rollout, "ann")
    assert line["evidence"]["replaced_by"] == f"rollout {begun.rollout}"
    assert await is_not_taken(rows, number) is RefusalCode.ALREADY_TAKEN


async def test_a_workflow_that_was_reset_is_not_refused_for_what_waits_behind_it(rows: Rows, ben: Person) -> None:
    await rows.live()
    first = await rows.open("run-2")
    number = await ben.waits(policy=QUEUE)

    again = await rows.begin("run-2-reset", revision=2)

    assert again.rollout != first.begun.rollout
    assert "ended as failed (terminated)" in await rows.value("select held from next_rollouts")
    await rows.finish(await rows.fill(again), RolloutOutcome.SUPERSEDED)
    assert await is_not_taken(rows, number) is RefusalCode.WAITS_FOR_RETRY


async def test_nothing_waits_behind_a_deployment_that_is_deleted(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    await ben.waits(policy=QUEUE)
    await rows.finish(opened, RolloutOutcome.ABORTED)

    await rows.delete()

    assert await rows.value("select count(*) from next_rollouts") == 0
    assert len(await events(rows, "successor_dropped")) == 1


# Retry.


@pytest.mark.parametrize("outcome", [RolloutOutcome.FAILED, RolloutOutcome.ABORTED, RolloutOutcome.EXPIRED])
async def test_a_retry_asks_for_what_the_latest_rollout_was_asked_for(
    rows: Rows, ben: Person, outcome: RolloutOutcome
) -> None:
    await rows.live(labels={"team": "search"})
    opened = await rows.open("run-2", replicas=3, policy={"bake": "1m"}, labels={"team": "search"}, reason="weights")
    await rows.finish(opened, outcome)

    retried = await ben.retries()

    request = retried.request
    assert request is not None
    assert retried.of == opened.begun.rollout
    assert (request.revision, request.replicas, request.labels, request.reason) == (2, 3, None, "weights")
    assert request.policy.model_fields_set == {"bake"}


async def test_a_retry_of_a_rollout_of_an_earlier_version_knows_revision_and_replicas(rows: Rows, ben: Person) -> None:
    opened = await rows.open(replicas=3)
    await rows.finish(opened, RolloutOutcome.FAILED)
    await rows.sql("update rollouts set asked = null")

    request = (await ben.retries()).request

    assert request is not None
    assert (request.revision, request.replicas) == (1, 3)


async def test_nothing_is_retried_that_went_well_or_has_not_ended(rows: Rows, ben: Person) -> None:
    await rows.live()
    with pytest.raises(RefusedError) as promoted:
        await ben.retries()
    await rows.open("run-2")
    with pytest.raises(RefusedError) as running:
        await ben.retries()

    assert promoted.value.refusal.code is RefusalCode.NOTHING_TO_RETRY
    assert running.value.refusal.code is RefusalCode.ROLLOUT_RUNNING


async def test_whoever_retries_what_waits_needs_the_rights_that_it_takes(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    await ben.waits(policy={**QUEUE, "auto_promote": True})
    await rows.finish(opened, RolloutOutcome.FAILED)
    before = await rows.dump()

    with pytest.raises(RefusedError) as refused:
        await replace(ben, name="cid", rights=ALL - {Verb.PROMOTE}).retries()

    assert refused.value.refusal.code is RefusalCode.FORBIDDEN
    assert await rows.dump() == before


async def test_a_retry_while_a_rollout_runs_lets_what_is_held_start_at_its_end(rows: Rows, ben: Person) -> None:
    await rows.live()
    opened = await rows.switched("run-2")
    await ben.waits(policy=QUEUE)
    await rows.finish(opened)
    back = await rows.ready("run-3", revision=1, rollback=True)

    retried = await ben.retries()

    assert not retried.begins
    assert retried.waiting is not None
    assert retried.waiting.waits_for == f"the end of rollout {back.begun.rollout}"
    assert len(await events(rows, "successor_retried")) == 1
    await rows.switch(back)
    await rows.finish(back)
    assert [one.number for one in await due(rows)] == [retried.waiting.id]


# Looking.


async def test_what_waits_is_shown_with_who_asked_and_what_it_waits_for(rows: Rows, ben: Person) -> None:
    await rows.live()
    await rows.open("run-2")
    number = await ben.waits(policy=REPLACE)

    async with rows.table.transaction() as tx:
        view = await view_deployment(tx, "chat")
        [line] = await list_deployments(tx)

    assert view is not None
    assert view.next is not None
    assert view.next == line.next
    assert (view.next.id, view.next.requested_by) == (number, "ben")
    assert "which it replaces: green is being closed" in view.next.waits_for
