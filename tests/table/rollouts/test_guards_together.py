"""Freezes, windows, approvals and the rollback window in one policy: each binds whom it binds, in their order."""

import json
from typing import Any, Final

from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.states import Channel
from celadon.domain.language.steps import SwitchAnswer
from tests.invariants.machine import CLOSED, OPEN
from tests.table.rollouts.test_approvals import approve, awaiting, code, people, promote
from tests.table.rows import Rows

CLOSED_FOR_ALL: Final[dict[str, Any]] = {"approvals": {"count": 2}, "windows": [CLOSED | {"applies_to": "everyone"}]}


FORCED: Final[dict[str, Any]] = {"force": True, "reason": "incident"}


async def test_outside_of_windows_for_everyone_the_first_approval_is_recorded_and_the_last_one_is_refused(
    rows: Rows,
) -> None:
    opened = await awaiting(rows, CLOSED_FOR_ALL)

    first = await approve(rows, opened, "ann")
    assert (first.recorded, code(first), people(first)) == (True, None, ["ann"])

    last = await approve(rows, opened, "ben")
    assert (last.recorded, code(last), people(last)) == (False, RefusalCode.WINDOW_CLOSED, ["ann"])
    assert last.openings is None
    await rows.sql("update rollouts set policy = jsonb_set(policy, '{windows}', '[]') where outcome is null")
    assert (await approve(rows, opened, "ben", "id-2")).epoch is not None


async def test_a_timer_outside_of_its_windows_is_told_of_them_before_approvals(rows: Rows) -> None:
    opened = await awaiting(rows, CLOSED_FOR_ALL | {"auto_promote": True})

    answer = await promote(rows, opened, None, by="policy", door=Channel.TIMER)

    assert code(answer) is RefusalCode.WINDOW_CLOSED
    assert answer.openings is not None


async def test_outside_of_windows_for_everyone_each_counted_approval_must_be_forced(rows: Rows) -> None:
    opened = await awaiting(rows, CLOSED_FOR_ALL)

    assert (await approve(rows, opened, "ann", **FORCED)).recorded
    refused = await approve(rows, opened, "ben")
    assert code(refused) is RefusalCode.WINDOW_CLOSED
    assert refused.refusal is not None
    assert refused.refusal.next_step.endswith("or now with 'celadon promote chat --force --reason WHY'")
    assert (await approve(rows, opened, "ben", "id-2", **FORCED)).epoch is not None


async def test_an_approval_without_force_is_named_to_who_forces_and_is_forced_by_its_own_author(rows: Rows) -> None:
    opened = await awaiting(rows, CLOSED_FOR_ALL)
    assert (await approve(rows, opened, "ann")).recorded

    refused = await approve(rows, opened, "ben", **FORCED)
    assert code(refused) is RefusalCode.WINDOW_CLOSED
    assert refused.refusal is not None
    assert "these are without force: ann" in refused.refusal.message
    assert "celadon withdraw chat" in refused.refusal.next_step

    again = await approve(rows, opened, "ann", "id-2", **FORCED)
    assert (again.recorded, [(one.by, one.force) for one in again.approvals]) == (True, [("ann", True)])
    assert (await approve(rows, opened, "ben", "id-3", **FORCED)).epoch is not None


async def test_the_last_who_had_approved_without_force_goes_through_with_it(rows: Rows) -> None:
    opened = await awaiting(rows, {"approvals": {"count": 2}, "windows": [OPEN | {"applies_to": "everyone"}]})
    assert (await approve(rows, opened, "ann", **FORCED)).recorded
    await rows.sql(
        "insert into approvals (rollout, decision, issuer, subject, request_id, door, reason, force) "
        "select rollout, decision, issuer, 'ben', 'id-ben', door, '', false from approvals",
    )
    closed = (
        "update rollouts set policy = jsonb_set(policy, '{windows}', cast(:windows as jsonb)) where outcome is null"
    )
    await rows.sql(closed, windows=json.dumps(CLOSED_FOR_ALL["windows"]))

    assert (await approve(rows, opened, "ben", "id-2", **FORCED)).epoch is not None


async def test_no_freeze_and_no_silent_keeper_lets_a_first_approval_be_recorded(rows: Rows) -> None:
    opened = await awaiting(rows, CLOSED_FOR_ALL)
    await rows.sql("insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')")
    assert code(await approve(rows, opened, "ann")) is RefusalCode.FROZEN

    await rows.sql("delete from freezes")
    await rows.sql("update keepers set seen_at = now() - interval '1 hour'")
    answer = await approve(rows, opened, "ann", "id-2")
    assert (code(answer), people(answer)) == (RefusalCode.KEEPER_SILENT, [])


async def test_a_freeze_comes_before_windows_and_approvals(rows: Rows) -> None:
    opened = await awaiting(rows, CLOSED_FOR_ALL)
    await rows.sql("insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')")

    assert code(await approve(rows, opened, "ann", force=True, reason="incident")) is RefusalCode.FROZEN


async def test_a_rollback_inside_its_window_needs_neither_approvals_nor_open_windows_nor_a_thaw(rows: Rows) -> None:
    policy = {"auto_promote": True, **CLOSED_FOR_ALL}
    await rows.live()
    await rows.finish(await rows.switched("run-2"))
    back = await rows.ready("run-3", revision=1, rollback=True, policy=policy)
    await rows.sql("insert into freezes (deployment, begins_at, actor) values ('chat', now(), 'ann')")
    assert not back.begun.gated

    answer: SwitchAnswer = await rows.switch(back, message=None, door=Channel.POLICY)

    assert code(answer) is None
