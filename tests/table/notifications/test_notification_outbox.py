"""One notification for each fact, written with it, and told to whom it concerns."""

from datetime import timedelta
from typing import Any

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.notification import NotificationKind, TargetKind
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase
from celadon.domain.language.steps import Note, PhaseStep
from celadon.domain.language.targets import TargetRequest
from celadon.table.core.author import Author
from celadon.table.notifications.targets import add_target, remove_target
from celadon.table.rollouts.default_policy import set_defaults
from celadon.table.rollouts.route_sets import enter_phase
from tests.table.rows import NOW, Opened, Rows, promotion

DEADLINE_AT = NOW + timedelta(hours=10)
OPS: dict[str, Any] = {"notify": [{"target": "ops"}]}


async def add(rows: Rows, name: str = "ops", **given: Any) -> None:
    request = {"url": "https://ops.example/hook", "signing_secrets": ("hook-key",), **given}
    async with rows.table.transaction() as tx:
        await add_target(tx, TargetRequest(name=name, **request), "ann")


async def told(rows: Rows, target: str = "ops") -> list[tuple[str, str]]:
    found = await rows.rows(
        "select kind, state from deliveries join notifications on notifications.id = notification "
        "where target = :target order by seq",
        target=target,
    )
    return [(row["kind"], row["state"]) for row in found]


async def kinds(rows: Rows, target: str = "ops") -> list[str]:
    return [kind for kind, _ in await told(rows, target)]


async def enter(rows: Rows, opened: Opened, phase: RolloutPhase, *notes: Note) -> None:
    async with rows.table.transaction() as tx:
        step = PhaseStep(
            deployment=opened.begun.deployment,
            rollout=opened.begun.rollout,
            phase=phase,
            at=NOW,
            notes=notes,
        )
        await enter_phase(tx, step)


def note(seq: int, kind: str, **evidence: str) -> Note:
    return Note(seq=seq, at=NOW, kind=kind, evidence=evidence)


def waits(seq: int) -> Note:
    return note(seq, "awaiting_promotion", waits_for="a person", deadline=DEADLINE_AT.isoformat())


async def test_a_rollout_tells_its_way(rows: Rows) -> None:
    await add(rows)
    await rows.live(policy=OPS)
    opened = await rows.ready("run-2")
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, note(1, "awaiting_promotion", waits_for="a person"))
    await rows.switch(opened)
    await rows.switch_back(opened)
    await rows.finish(opened, RolloutOutcome.ROLLED_BACK)

    # A first deployment is promoted by nobody.
    first = ["started", "switched", "completed"]
    way = ["verified", "waiting_for_promotion", "promoted", "switched", "rolled_back", "completed"]
    assert await kinds(rows) == [*first, "started", *way]


async def test_nobody_is_told_of_a_rollout_that_concerns_nobody(rows: Rows) -> None:
    await add(rows)
    await rows.live()

    assert await rows.value("select count(*) from notifications") == 0
    assert await rows.value("select count(*) from deliveries") == 0


async def test_a_target_of_every_deployment_is_told_its_events(rows: Rows) -> None:
    await add(rows, "audit", every_deployment=True, events=(NotificationKind.SWITCHED,))
    await rows.live()

    assert await kinds(rows, "audit") == ["switched"]


async def test_a_fact_is_told_once_although_its_step_runs_twice(rows: Rows) -> None:
    await add(rows)
    await rows.live(policy=OPS)
    opened = await rows.ready("run-2")
    for _ in range(2):
        await rows.begin("run-2")
        await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, note(1, "awaiting_promotion", waits_for="a person"))
    for _ in range(2):
        await rows.switch(opened)
    for _ in range(2):
        await rows.finish(opened)

    way = ["verified", "waiting_for_promotion", "promoted", "switched", "completed"]
    assert await kinds(rows) == ["started", "switched", "completed", "started", *way]


async def test_a_step_of_a_rollout_that_owns_nothing_tells_nothing(rows: Rows) -> None:
    await add(rows)
    opened = await rows.ready(policy=OPS)
    await rows.finish(opened, RolloutOutcome.ABORTED)
    before = await kinds(rows)

    with pytest.raises(RefusedError):
        await enter(rows, opened, RolloutPhase.ROLLING_BACK, note(1, "aborted"))

    assert await kinds(rows) == before


async def test_a_switch_that_is_refused_tells_nothing(rows: Rows) -> None:
    await add(rows)
    opened = await rows.open(policy=OPS)

    assert (await rows.switch(opened)).refusal is not None
    assert await kinds(rows) == ["started"]


async def test_a_failure_is_told_when_it_is_decided_and_once(rows: Rows) -> None:
    await add(rows)
    opened = await rows.open(policy=OPS)
    await enter(rows, opened, RolloutPhase.ROLLING_BACK, note(1, "failed"))
    await rows.finish(opened, RolloutOutcome.FAILED)

    assert await kinds(rows) == ["started", "failed", "completed"]


async def test_a_rollout_left_behind_is_told_as_failed(rows: Rows) -> None:
    await add(rows)
    await rows.open("run-1", policy=OPS)
    await rows.open("run-2", at=NOW + timedelta(minutes=1))

    assert await kinds(rows) == ["started", "failed", "completed", "started"]


async def test_a_deadline_is_owed_ahead_of_it(rows: Rows) -> None:
    await add(rows)
    opened = await rows.ready(policy={**OPS, "promotion_deadline": "10h"})
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, waits(1))

    due = await rows.value(
        "select due_at from deliveries join notifications n on n.id = notification where kind = 'deadline_near'",
    )
    assert due == DEADLINE_AT - timedelta(hours=1)


@pytest.mark.parametrize("kind", ["regressed", "promotion_refused", "aborted", "expired", "failed"])
async def test_a_deadline_is_not_told_once_the_gate_is_left(rows: Rows, kind: str) -> None:
    await add(rows)
    opened = await rows.ready(policy={**OPS, "promotion_deadline": "10h"})
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, waits(1))

    await enter(rows, opened, RolloutPhase.VERIFYING, note(2, kind))

    assert ("deadline_near", "cancelled") in await told(rows)


async def test_a_deadline_is_not_told_after_the_switch(rows: Rows) -> None:
    await add(rows)
    await rows.live()
    opened = await rows.ready("run-2", policy={**OPS, "promotion_deadline": "10h"})
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, waits(1))

    await rows.switch(opened)

    assert ("deadline_near", "cancelled") in await told(rows)


async def test_the_same_deadline_is_owed_again_when_green_recovers(rows: Rows) -> None:
    await add(rows)
    opened = await rows.ready(policy={**OPS, "promotion_deadline": "10h"})
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, waits(1))
    await enter(rows, opened, RolloutPhase.VERIFYING, note(2, "regressed"))
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, waits(3))

    assert [one for one in await told(rows) if one[0] == "deadline_near"] == [("deadline_near", "waiting")]


async def test_a_deadline_that_was_told_is_not_told_again(rows: Rows) -> None:
    await add(rows)
    opened = await rows.ready(policy={**OPS, "promotion_deadline": "10h"})
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, waits(1))
    await rows.sql(
        "update deliveries set state = 'delivered', delivered_at = now() from notifications n "
        "where n.id = notification and n.kind = 'deadline_near'",
    )
    await enter(rows, opened, RolloutPhase.VERIFYING, note(2, "regressed"))
    await enter(rows, opened, RolloutPhase.AWAITING_PROMOTION, waits(3))

    assert [one for one in await told(rows) if one[0] == "deadline_near"] == [("deadline_near", "delivered")]


async def test_a_policy_that_names_no_target_there_is_is_refused(rows: Rows) -> None:
    with pytest.raises(RefusedError, match="notifies ops, which nobody has added") as refused:
        await rows.begin(policy=OPS)

    assert refused.value.refusal.code is RefusalCode.NO_SUCH_TARGET
    assert await rows.value("select count(*) from rollouts") == 0


async def test_a_target_that_an_unfinished_rollout_names_stays_unless_forced(rows: Rows) -> None:
    await add(rows)
    opened = await rows.open(policy=OPS)

    with pytest.raises(RefusedError, match="unfinished rollouts notify ops: chat") as refused:
        async with rows.table.transaction() as tx:
            await remove_target(tx, "ops")
    assert refused.value.refusal.code is RefusalCode.TARGET_IN_USE

    async with rows.table.transaction() as tx:
        await remove_target(tx, "ops", force=True)
    await enter(rows, opened, RolloutPhase.ROLLING_BACK, note(1, "aborted"))

    assert await told(rows) == [("started", "dead"), ("aborted", "dead")]


async def test_a_notification_carries_who_decided_through_which_door(rows: Rows) -> None:
    await add(rows)
    await rows.live()
    opened = await rows.ready("run-2", policy=OPS)
    await rows.switch(opened, message=promotion(by="ben", reason="looks good"))

    notice = await rows.value("select notice from notifications where kind = 'promoted'")
    assert {name: notice[name] for name in ("actor", "door", "reason", "from_revision", "to_revision")} == {
        "actor": "ben",
        "door": "update",
        "reason": "looks good",
        "from_revision": 1,
        "to_revision": 2,
    }


async def test_names_of_targets_are_taken_once(rows: Rows) -> None:
    await add(rows)

    with pytest.raises(RefusedError, match="there is a target ops already"):
        await add(rows)
    async with rows.table.transaction() as tx:
        slack = TargetRequest(name="ops", kind=TargetKind.SLACK, url_secret="slack-url")  # noqa: S106 - a name
        await add_target(tx, slack, "ann", replace=True)
    assert await rows.value("select kind from notify_targets") == "slack"


async def test_a_target_that_the_installations_defaults_name_is_removed_by_force_alone(rows: Rows) -> None:
    await add(rows)
    policy = BlueGreenPolicy.model_validate({"notify": [{"target": "ops"}]}, strict=False)
    async with rows.table.transaction() as tx:
        await set_defaults(tx, policy, (), Author(by="ann", door=Channel.CLI), lambda *_: None)

    with pytest.raises(RefusedError, match="defaults notify ops"):
        async with rows.table.transaction() as tx:
            await remove_target(tx, "ops")
    async with rows.table.transaction() as tx:
        await remove_target(tx, "ops", force=True)
