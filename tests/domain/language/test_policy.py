"""The policy: what it accepts, how its layers are merged, how many replicas it requires."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from celadon.domain.language.errors import RefusedError
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.notification import MAX_TARGETS, NotificationKind
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.policy import (
    LATER_KEYS,
    BlueGreenPolicy,
    OnDeadline,
    OnNoRoom,
    required_healthy,
    resolve_policy,
)
from celadon.domain.language.window import MAX_WINDOWS, Weekday


def policy(**keys: Any) -> BlueGreenPolicy:
    return BlueGreenPolicy.model_validate_json(json.dumps(keys))


def test_promotion_is_a_persons_by_default() -> None:
    known = BlueGreenPolicy()

    assert known.auto_promote is False
    assert known.promotion_deadline is None
    assert known.min_healthy == "100%"


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"auto_promote": "yes"}, "valid boolean"),
        ({"auto_promote": 1}, "valid boolean"),
        ({"auto_promote": True, "promote_after": "soon"}, "no duration"),
        ({"auto_promote": True, "promote_after": -1}, "never negative"),
        ({"auto_promote": False, "promote_after": "5m"}, "no effect with auto_promote: false"),
        ({"auto_promote": False, "promote_at": "2026-03-01T12:00:00Z"}, "no effect with auto_promote: false"),
        ({"auto_promote": True, "promote_at": "2026-03-01T12:00:00"}, "timezone"),
        ({"auto_promote": True, "promote_at": "tomorrow"}, "valid datetime"),
        ({"on_deadline": "panic"}, "'abort', 'promote' or 'hold'"),
        ({"min_healthy": 0}, "at least 1"),
        ({"min_healthy": -1}, "at least 1"),
        ({"min_healthy": True}, "is a count"),
        ({"min_healthy": 1.5}, "is a count"),
        ({"min_healthy": None}, "is a count"),
        ({"min_healthy": "80"}, "is a count"),
        ({"min_healthy": "0%"}, "above 0%"),
        ({"min_healthy": "101%"}, "up to 100%"),
        ({"min_healthy": "-5%"}, "is a count"),
        ({"max_replacements": -1}, "greater than or equal to 0"),
        ({"max_replacements": 1.0}, "valid integer"),
        ({"max_regressions": "3"}, "valid integer"),
        ({"router_ack_timeout": 0}, "above 0s"),
        ({"router_ack_timeout": 0.0001}, "above 0s"),
        ({"bake": True}, "no duration"),
        ({"bakes": "5m"}, "Extra inputs"),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        policy(**keys)


@pytest.mark.parametrize("key", sorted(LATER_KEYS))
def test_a_key_of_a_later_version_is_refused_by_name(key: str) -> None:
    with pytest.raises(RefusedError, match=f"{key}: not carried out by this version"):
        parse_payload(BlueGreenPolicy, {key: 1})


def test_no_later_key_is_carried_out_already() -> None:
    assert not LATER_KEYS & set(BlueGreenPolicy.model_fields)


@pytest.mark.parametrize("key", sorted(BlueGreenPolicy.model_fields))
def test_json_carries_only_the_keys_that_were_given(key: str) -> None:
    default = resolve_policy().model_dump(mode="json")[key]

    assert json.loads(policy(**{key: default}).model_dump_json()) == {key: default}


def test_the_resolved_policy_gives_every_key() -> None:
    resolved = resolve_policy(policy(auto_promote=True))

    assert set(resolved.model_dump(mode="json")) == set(BlueGreenPolicy.model_fields)


def test_a_resolved_policy_survives_the_way_through_json() -> None:
    resolved = resolve_policy(policy(auto_promote=True, promote_after="5m", promotion_deadline="1h", min_healthy=2))

    assert BlueGreenPolicy.model_validate_json(resolved.model_dump_json()) == resolved
    assert BlueGreenPolicy.model_validate(resolved.model_dump(mode="json"), strict=False) == resolved


def test_the_stronger_layer_wins_key_by_key() -> None:
    resolved = resolve_policy(policy(bake="1m", min_healthy=1), None, policy(bake="2m"))

    assert resolved.bake == timedelta(minutes=2)
    assert resolved.min_healthy == 1
    assert resolved.drain_timeout == BlueGreenPolicy().drain_timeout


def test_a_value_equal_to_the_default_still_wins_over_a_weaker_layer() -> None:
    assert resolve_policy(policy(auto_promote=True), policy(auto_promote=False)).auto_promote is False


def test_a_weaker_delay_lapses_when_automatic_promotion_is_switched_off() -> None:
    weaker = policy(auto_promote=True, promote_after="5m", promote_at="2026-03-01T12:00:00Z")
    resolved = resolve_policy(weaker, policy(auto_promote=False))

    assert resolved.promote_after == timedelta(0)
    assert resolved.promote_at is None


def test_a_weaker_choice_at_the_deadline_lapses_when_the_deadline_is_taken_away() -> None:
    resolved = resolve_policy(policy(promotion_deadline="1h", on_deadline="promote"), policy(promotion_deadline=None))

    assert resolved.on_deadline is OnDeadline.ABORT
    assert resolved.promotion_deadline is None


def test_a_weaker_wait_for_room_lapses_when_the_bound_is_taken_away() -> None:
    resolved = resolve_policy(policy(max_total_replicas=4, on_no_room="wait"), policy(max_total_replicas=None))

    assert resolved.on_no_room is OnNoRoom.REFUSE
    assert resolved.max_total_replicas is None


@pytest.mark.parametrize("key", ["preview_replicas", "max_total_replicas"])
@pytest.mark.parametrize("value", [0, -1, True, "3", 1.5, 20_001])
def test_a_count_of_replicas_is_a_whole_number_above_none(key: str, value: object) -> None:
    with pytest.raises(RefusedError):
        parse_payload(BlueGreenPolicy, {key: value})


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([{"promote_after": "5m"}], "without auto_promote: true"),
        ([{"auto_promote": False}, {"promote_after": "5m"}], "without auto_promote: true"),
        ([{"promote_at": "2026-03-01T12:00:00Z"}], "without auto_promote: true"),
        ([{"on_deadline": "hold"}], "without promotion_deadline"),
        ([{"promotion_deadline": None, "on_deadline": "hold"}], "without promotion_deadline"),
        ([{"on_no_room": "wait"}], "without max_total_replicas"),
        ([{"max_total_replicas": 4}, {"max_total_replicas": None, "on_no_room": "wait"}], "without max_total_replicas"),
    ],
)
def test_a_merged_policy_says_nothing_in_vain(layers: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve_policy(*(policy(**layer) for layer in layers))


@pytest.mark.parametrize(
    ("replicas", "min_healthy", "required"),
    [
        (3, "100%", 3),
        (3, "50%", 2),
        (3, "34%", 2),
        (3, "33.3%", 1),
        (10, "90%", 9),
        (10, "30%", 3),
        (7, "100 %", 7),
        (3, 2, 2),
        (3, 5, 3),
        (1, 1, 1),
        (0, 1, 0),
        (0, "100%", 0),
        (3, "0.00000001%", 1),
    ],
)
def test_a_share_is_rounded_up_and_never_more_than_all(replicas: int, min_healthy: int | str, required: int) -> None:
    assert required_healthy(replicas, policy(min_healthy=min_healthy).min_healthy) == required


@given(
    st.integers(min_value=1, max_value=10_000),
    st.one_of(
        st.integers(min_value=1, max_value=20_000),
        st.floats(min_value=0.001, max_value=100).map(lambda share: f"{share:.6f}%"),
    ),
)
def test_of_any_replicas_at_least_one_must_be_healthy(replicas: int, min_healthy: int | str) -> None:
    assert 1 <= required_healthy(replicas, min_healthy) <= replicas


def test_a_window_is_written_with_the_keys_that_it_is_read_by() -> None:
    given = {"days": ["fri", "sat"], "from": "22:00", "to": "24:00", "zone": "Europe/Berlin", "applies_to": "everyone"}

    policy = parse_payload(BlueGreenPolicy, {"windows": [given]})

    assert policy.model_dump(mode="json") == {"windows": [given]}
    assert resolve_policy(policy).windows == policy.windows
    assert resolve_policy(policy, parse_payload(BlueGreenPolicy, {"windows": []})).windows == ()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("50." + "0" * 90_000 + "%", "50%"),
        ("50" + " " * 90_000 + "%", "50%"),
        ("0" * 90_000 + "80%", "80%"),
        ("33.333333333333333333%", "33.333333333333%"),
        ("0." + "0" * 300 + "1%", "0.000000000001%"),
        ("100%", "100%"),
    ],
    ids=["zeros", "spaces", "leading zeros", "thirds", "tiny", "whole"],
)
def test_a_share_is_kept_short_however_it_was_written(written: str, kept: str) -> None:
    policy = parse_payload(RolloutRequest, {"deployment": "chat", "revision": 2, "policy": {"min_healthy": written}})

    assert policy.policy.min_healthy == kept
    assert parse_payload(BlueGreenPolicy, {"min_healthy": kept}).min_healthy == kept


@given(share=st.floats(min_value=1e-15, max_value=100), replicas=st.integers(1, 10_000))
def test_a_share_asks_for_as_many_replicas_as_it_did_as_it_was_written(share: float, replicas: int) -> None:
    written = f"{share:.17f}%"
    assume(float(written[:-1]) > 0)

    kept = BlueGreenPolicy(min_healthy=written).min_healthy

    assert isinstance(kept, str)
    assert len(kept) <= 20
    assert required_healthy(replicas, kept) == required_healthy(replicas, written)


def test_the_largest_policy_leaves_room_for_what_travels_beside_it() -> None:
    events = [kind.value for kind in NotificationKind]
    targets = [{"target": f"t{number:063}", "events": events} for number in range(MAX_TARGETS)]
    days = [day.value for day in Weekday]
    window = {"days": days, "from": "09:00", "to": "17:00", "zone": "A" * 64, "applies_to": "everyone"}
    approvals = {"count": 10, "exclude_requester": True}
    said = {"windows": [window] * MAX_WINDOWS, "notify": targets, "approvals": approvals}
    request = parse_payload(RolloutRequest, {"deployment": "chat", "revision": 2, "policy": said})

    assert len(resolve_policy(request.policy).model_dump_json().encode()) < 24 * 1024
