"""A deployment's own policy, changed."""

from typing import Any

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.rollouts.own_policy import ChangedPolicy, set_policy
from tests.table.permitting import allow, without
from tests.table.rows import Rows

ANN = Author(by="ann", door=Channel.CLI, reason="since the incident", verified=True, issuer="token")


async def _set(rows: Rows, *unset: str, require: Any = allow, **given: Any) -> ChangedPolicy:
    policy = BlueGreenPolicy.model_validate(given, strict=False)
    async with rows.table.transaction() as tx:
        return await set_policy(tx, "chat", policy, unset, ANN, require)


async def _refused(rows: Rows, *unset: str, **given: Any) -> RefusalCode:
    before = await rows.dump()
    with pytest.raises(RefusedError) as refused:
        await _set(rows, *unset, **given)
    assert await rows.dump() == before
    return refused.value.refusal.code


async def test_a_key_that_is_set_counts_for_the_next_rollout_and_others_stay(rows: Rows) -> None:
    await rows.live(policy={"drain_timeout": "1m"})

    changed = await _set(rows, bake="10m")

    assert [(one.field, one.before, one.after) for one in changed.changes] == [
        ("bake", "5m (default)", "10m (deployment)")
    ]
    assert await rows.value("select policy from deployments") == {"bake": "10m", "drain_timeout": "1m"}
    begun = await rows.begin("run-2")
    assert (begun.policy.bake.total_seconds(), begun.policy.drain_timeout.total_seconds()) == (600, 60)


async def test_a_rollout_under_way_keeps_the_policy_that_it_began_with(rows: Rows) -> None:
    await rows.live()
    opened = await rows.ready("run-2")

    await _set(rows, bake="10m")

    assert (await rows.begin("run-2")).policy == opened.begun.policy
    assert await rows.value("select policy ->> 'bake' from rollouts where outcome is null") == "5m"


async def test_a_key_that_is_unset_is_at_its_default_again(rows: Rows) -> None:
    await rows.live(policy={"bake": "10m", "drain_timeout": "1m"})

    await _set(rows, "bake")

    assert await rows.value("select policy from deployments") == {"drain_timeout": "1m"}


async def test_a_change_is_written_into_the_audit_log_with_who_and_what(rows: Rows) -> None:
    await rows.live()

    await _set(rows, bake="10m")

    [event] = await rows.rows("select * from rollout_events where kind = 'policy_changed'")
    assert (event["actor"], event["door"], event["verified"]) == ("ann", "cli", True)
    assert event["reason"] == "since the incident"
    assert event["evidence"] == {"bake": "5m (default) → 10m (deployment)"}


async def test_the_same_policy_again_changes_nothing(rows: Rows) -> None:
    await rows.live(policy={"bake": "10m"})
    before = await rows.dump()

    assert (await _set(rows, bake="10m")).changes == ()
    assert await rows.dump() == before


async def test_a_delay_lapses_with_its_automatic_promotion(rows: Rows) -> None:
    await rows.live(policy={"auto_promote": True, "promote_after": "5m"})

    await _set(rows, auto_promote=False)

    assert await rows.value("select policy from deployments") == {"auto_promote": False}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"promote_after": "5m"}, RefusalCode.POLICY_CONFLICT),
        ({"on_deadline": "promote"}, RefusalCode.POLICY_CONFLICT),
        ({"notify": [{"target": "nowhere"}]}, RefusalCode.NO_SUCH_TARGET),
        (
            {"windows": [{"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "Mars/Base"}]},
            RefusalCode.INVALID_PAYLOAD,
        ),
    ],
)
async def test_a_policy_that_no_rollout_could_have_is_refused(
    rows: Rows, given: dict[str, Any], code: RefusalCode
) -> None:
    await rows.live()

    assert await _refused(rows, **given) is code


async def test_an_unset_key_that_another_one_needs_is_refused(rows: Rows) -> None:
    await rows.live(policy={"auto_promote": True, "promote_after": "5m"})

    assert await _refused(rows, "auto_promote") is RefusalCode.POLICY_CONFLICT


@pytest.mark.parametrize("lifecycle", ["destroying", "destroyed"])
async def test_what_is_deleted_has_no_policy_to_change(rows: Rows, lifecycle: str) -> None:
    await rows.live()
    await rows.sql("update deployments set lifecycle = :lifecycle", lifecycle=lifecycle)

    assert await _refused(rows, bake="1m") is RefusalCode.DEPLOYMENT_DELETED


async def test_what_is_not_there_has_none_either(rows: Rows) -> None:
    assert await _refused(rows, bake="1m") is RefusalCode.NO_SUCH_DEPLOYMENT


@pytest.mark.parametrize(
    ("own", "given", "right"),
    [
        ({}, {"auto_promote": True}, Verb.PROMOTE),
        ({"auto_promote": True, "promote_after": "1h"}, {"promote_after": "1s"}, Verb.PROMOTE),
        ({}, {"promotion_deadline": "1h", "on_deadline": "promote"}, Verb.PROMOTE),
        ({"approvals": {"count": 2}}, {"approvals": {"count": 1}}, Verb.WAIVE_APPROVALS),
        ({"approvals": {"count": 2}}, {"approvals": None}, Verb.WAIVE_APPROVALS),
    ],
)
async def test_what_eases_the_switch_takes_the_right_to_it(
    rows: Rows, own: dict[str, Any], given: dict[str, Any], right: Verb
) -> None:
    await rows.live()
    if own:
        await _set(rows, **own)

    assert await _refused(rows, require=without(right), **given) is RefusalCode.FORBIDDEN
    assert (await _set(rows, **given)).changes


async def test_what_makes_the_switch_harder_takes_no_further_right(rows: Rows) -> None:
    await rows.live(policy={"auto_promote": True, "promote_after": "1m"})

    changed = await _set(rows, require=without(Verb.PROMOTE), promote_after="1h")

    assert [one.field for one in changed.changes] == ["promote_after"]
