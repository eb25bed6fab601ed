"""Who is told what."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from celadon.domain.language.notification import NotificationKind, NotifyRule, TargetSubscription, audience
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy

SWITCHED, FAILED = NotificationKind.SWITCHED, NotificationKind.FAILED


def rules(*given: dict[str, Any]) -> tuple[NotifyRule, ...]:
    return BlueGreenPolicy.model_validate_json(json.dumps({"notify": given})).notify


def everywhere(name: str, *events: NotificationKind) -> TargetSubscription:
    return TargetSubscription(name=name, every_deployment=True, events=frozenset(events))


@pytest.mark.parametrize(
    ("kind", "given", "subscriptions", "told"),
    [
        (SWITCHED, (), (), ()),
        (SWITCHED, ({"target": "ops"},), (), ("ops",)),
        (SWITCHED, ({"target": "ops", "events": ["failed"]},), (), ()),
        (FAILED, ({"target": "ops", "events": ["failed"]},), (), ("ops",)),
        (SWITCHED, ({"target": "ops"}, {"target": "chat"}), (), ("chat", "ops")),
        (SWITCHED, (), (everywhere("audit"),), ("audit",)),
        (SWITCHED, (), (everywhere("audit", FAILED),), ()),
        (FAILED, (), (everywhere("audit", FAILED),), ("audit",)),
        (SWITCHED, ({"target": "ops"},), (everywhere("audit"),), ("audit", "ops")),
        # The policy is more particular than what a target is told of everything.
        (SWITCHED, ({"target": "audit", "events": ["failed"]},), (everywhere("audit"),), ()),
        (FAILED, ({"target": "audit", "events": ["failed"]},), (everywhere("audit", SWITCHED),), ("audit",)),
        (SWITCHED, (), (TargetSubscription(name="ops", every_deployment=False, events=frozenset()),), ()),
    ],
)
def test_a_fact_is_told_to(
    kind: NotificationKind,
    given: tuple[dict[str, Any], ...],
    subscriptions: tuple[TargetSubscription, ...],
    told: tuple[str, ...],
) -> None:
    assert audience(kind, rules(*given), subscriptions) == told


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (({"target": "Ops"},), "no target's name"),
        (({"target": "-ops"},), "no target's name"),
        (({"target": "ops"}, {"target": "ops", "events": ["failed"]}), "a target is listed twice"),
        (({"target": "ops", "events": []},), "at least 1 item"),
        (({"target": "ops", "events": ["failed", "failed"]},), "an event is listed twice"),
        (({"target": "ops", "events": ["test"]},), "Input should be 'started'"),
        (({"target": "ops", "event": ["failed"]},), "Extra inputs"),
        (({"events": ["failed"]},), "Field required"),
        (tuple({"target": f"t{number}"} for number in range(21)), "at most 20 items"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_reason(given: tuple[dict[str, Any], ...], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        rules(*given)


def test_the_rules_of_a_stronger_layer_stand_in_place_of_a_weaker_ones() -> None:
    weak, strong = BlueGreenPolicy(notify=rules({"target": "ops"})), BlueGreenPolicy(notify=rules({"target": "chat"}))

    assert [rule.target for rule in resolve_policy(weak, strong).notify] == ["chat"]
    assert [rule.target for rule in resolve_policy(weak, BlueGreenPolicy()).notify] == ["ops"]
    assert resolve_policy(weak, BlueGreenPolicy(notify=())).notify == ()


def test_rules_survive_the_table() -> None:
    policy = resolve_policy(BlueGreenPolicy(notify=rules({"target": "ops", "events": ["failed"]})))
    stored = json.loads(json.dumps(policy.model_dump(mode="json")))

    assert BlueGreenPolicy.model_validate(stored, strict=False) == policy
