"""What a plan says of the way to the switch."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celadon.domain.decisions import gate
from celadon.domain.decisions.plan import (
    UnderWay,
    deciders,
    guards_of_green,
    guards_of_switch,
    is_already_there,
    moments_of_switch,
)
from celadon.domain.language.freeze import Freeze
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.policy import BlueGreenPolicy, resolve_policy
from celadon.domain.language.states import RolloutPhase

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""
MINUTE = timedelta(minutes=1)
NIGHTS = {"days": ["mon"], "from": "20:00", "to": "22:00", "zone": "UTC"}
R1, R2 = RevisionNumber(1), RevisionNumber(2)


def _policy(**given: Any) -> BlueGreenPolicy:
    return resolve_policy(BlueGreenPolicy.model_validate(given, strict=False))


def _frozen(begins: timedelta, ends: timedelta | None, **more: Any) -> Freeze:
    ends_at = None if ends is None else NOW + ends
    return Freeze(id=1, everywhere=False, begins_at=NOW + begins, ends_at=ends_at, by="ann", reason="audit", **more)


def _moments(*freezes: Freeze, gated: bool = True, goes_back: bool = False, **policy: Any) -> tuple[Any, Any, Any]:
    found = moments_of_switch(_policy(**policy), freezes, NOW, gated=gated, goes_back=goes_back)
    return tuple(None if one is None else one - NOW for one in (found.earliest, found.by_itself, found.latest))  # type: ignore[return-value]


def test_guards_are_told_in_the_order_in_which_a_rollout_asks() -> None:
    asked = {
        "abort": gate.abort_requested,
        "failed": gate.green_failed,
        "room": gate.green_not_open,
        "ready": gate.green_not_ready,
        "pause": gate.paused,
        "freeze": gate.frozen,
        "approvals": gate.approvals,
        "window": gate.window_closed,
        "timer": gate.timer,
        "deadline": gate.deadline,
    }

    policy = _policy(max_total_replicas=9, preview_replicas=1)

    green = [one.guard for one in guards_of_green(policy, "chat", 3, None, gated=True, asked=True)]
    switch = [one.guard for one in guards_of_switch(policy, "chat", (), NOW, gated=True, goes_back=False)]

    assert [*green, *switch] == [
        "abort",
        "failed",
        "room",
        "preview",
        "ready",
        "checks",
        "pause",
        "freeze",
        "approvals",
        "window",
        "timer",
        "deadline",
    ]
    ordered = [name for name in [*green, *switch] if name in asked]
    assert ordered == sorted(asked, key=lambda name: gate.GUARDS.index(asked[name]))


def test_guards_of_green_say_what_it_takes() -> None:
    policy = _policy(min_healthy="50%", provisioning_deadline="7m", max_replacements=2, preview_replicas=2)

    guards = guards_of_green(policy, "chat", 6, None, gated=True, asked=True)

    assert {one.guard: one.told for one in guards} == {
        "abort": "'celadon abort chat' goes first, in every phase",
        "failed": "up to 2 replicas of green that fail are replaced, then the rollout ends as failed",
        "preview": "green has 2 until its switch is decided, then it grows to 6 and is verified again",
        "ready": "1 of 2 replicas of green must be healthy within 7m, or the rollout ends as failed",
        "checks": "none: this version runs no checks beside the health check",
    }


def test_who_decides_is_every_command_and_whoever_the_policy_does_not_count() -> None:
    policy = _policy(approvals={"count": 2, "exclude_requester": True})

    told = {one.decision: (tuple(role.value for role in one.roles), one.condition) for one in deciders(policy, "ann")}

    people = "2 different verified people, not ann, who requests it"
    assert told == {
        "promote": (("approver", "admin"), people),
        "promote with force": (("approver", "admin"), people),
        "abort": (("operator", "approver", "admin"), ""),
        "roll back": (("approver", "admin"), ""),
        "finish the bake": (("approver", "admin"), ""),
        "pause or resume": (("operator", "approver", "admin"), ""),
        "reschedule": (("operator", "approver", "admin"), ""),
        "reschedule to a switch that comes sooner": (("approver", "admin"), ""),
        "freeze": (("operator", "approver", "admin"), ""),
        "unfreeze": (("approver", "admin"), ""),
    }
    assert not any(one.condition for one in deciders(_policy(), "ann"))
    assert not any(one.condition for one in deciders(None, "ann"))


def test_guards_say_what_they_do() -> None:
    policy = _policy(
        auto_promote=True,
        promote_after="5m",
        promotion_deadline="1h",
        approvals={"count": 2, "exclude_requester": True},
        windows=[NIGHTS],
    )

    guards = guards_of_switch(policy, "chat", (_frozen(-MINUTE, MINUTE),), NOW, gated=True, goes_back=False)

    assert [one.guard for one in guards if not one.binds] == ["pause"]
    assert [one.told for one in guards] == [
        "none: 'celadon pause chat' stops every timer",
        "chat is frozen since 2026-03-02 11:59:00 UTC by ann, until 2026-03-02 12:01:00 UTC: audit",
        "2 different verified people must promote, the requester not among them; no timer switches without them",
        "for timers: closed until 2026-03-02 20:00:00 UTC",
        "promotes 5m after green is verified",
        "aborts when green has waited for 1h",
    ]


def test_what_is_not_asked_binds_nothing() -> None:
    assert not any(one.binds for one in guards_of_switch(_policy(), "chat", (), NOW, gated=True, goes_back=False))


def test_a_person_may_switch_at_once_and_nothing_switches_by_itself() -> None:
    assert _moments() == (timedelta(0), None, None)


def test_a_delay_counts_from_the_moment_of_the_plan_at_the_earliest() -> None:
    assert _moments(auto_promote=True, promote_after="5m") == (timedelta(0), 5 * MINUTE, None)


def test_windows_hold_timers_and_those_for_everyone_people_too() -> None:
    assert _moments(auto_promote=True, windows=[NIGHTS]) == (timedelta(0), timedelta(hours=8), None)
    everyone = {**NIGHTS, "applies_to": "everyone"}
    assert _moments(auto_promote=True, windows=[everyone]) == (timedelta(hours=8), timedelta(hours=8), None)


def test_a_freeze_that_ends_inside_a_window_gives_the_moment() -> None:
    freeze = _frozen(-MINUTE, timedelta(hours=9))

    assert _moments(freeze, auto_promote=True, windows=[NIGHTS])[:2] == (timedelta(hours=9), timedelta(hours=9))


def test_a_freeze_without_an_end_leaves_no_moment_in_sight() -> None:
    assert _moments(_frozen(-MINUTE, None), auto_promote=True)[:2] == (None, None)


def test_a_freeze_that_is_to_come_holds_a_timer_that_is_due_in_it() -> None:
    freeze = _frozen(2 * MINUTE, 30 * MINUTE)

    assert _moments(freeze, auto_promote=True, promote_after="5m")[:2] == (timedelta(0), 30 * MINUTE)


def test_a_rollback_inside_its_window_is_held_by_a_freeze_of_rollbacks_alone() -> None:
    assert _moments(_frozen(-MINUTE, MINUTE), gated=False, goes_back=True)[0] == timedelta(0)
    assert _moments(_frozen(-MINUTE, MINUTE, rollbacks=False), gated=False, goes_back=True)[0] == MINUTE


def test_a_deadline_that_aborts_gives_the_latest_moment_and_others_none() -> None:
    given: dict[str, Any] = {"provisioning_deadline": "10m", "promotion_deadline": "1h"}

    assert _moments(**given)[2] == 70 * MINUTE
    assert _moments(**given, on_deadline="hold")[2] is None
    assert _moments(**given, on_deadline="promote") == (timedelta(0), 60 * MINUTE, None)


def test_a_policy_that_asks_for_approvals_switches_by_itself_at_no_moment() -> None:
    assert _moments(auto_promote=True, approvals={"count": 2}) == (timedelta(0), None, None)
    given: dict[str, Any] = {"promotion_deadline": "1h", "on_deadline": "promote", "approvals": {"count": 1}}
    assert _moments(**given)[1] is None


@pytest.mark.parametrize(
    ("freezes", "policy", "by_itself"),
    [
        ((), {"promote_after": "2h", "promotion_deadline": "1h"}, None),
        ((), {"promote_after": "2h", "promotion_deadline": "1h", "on_deadline": "hold"}, None),
        ((), {"promote_after": "2h", "promotion_deadline": "1h", "on_deadline": "promote"}, timedelta(hours=1)),
        ((), {"promote_after": "1h", "promotion_deadline": "1h"}, timedelta(hours=1)),
        ((), {"promotion_deadline": "1h", "windows": [NIGHTS]}, None),
        ((), {"promotion_deadline": "9h", "windows": [NIGHTS]}, timedelta(hours=8)),
        ((), {"promotion_deadline": "8h", "windows": [NIGHTS]}, timedelta(hours=8)),
        ((), {"promotion_deadline": "7h", "windows": [NIGHTS]}, None),
        ((), {"promotion_deadline": "1h", "on_deadline": "promote", "windows": [NIGHTS]}, timedelta(hours=8)),
        ((_frozen(-MINUTE, 90 * MINUTE),), {"promotion_deadline": "1h"}, 90 * MINUTE),
        ((_frozen(-MINUTE, None),), {"promotion_deadline": "1h"}, None),
    ],
)
def test_a_deadline_that_comes_first_stops_the_timer(
    freezes: tuple[Freeze, ...], policy: dict[str, Any], by_itself: timedelta | None
) -> None:
    assert _moments(*freezes, auto_promote=True, **policy)[1] == by_itself


def _is_there(
    *, wanted: RevisionNumber = R1, replicas: int | None = None, under_way: UnderWay | None = None, bake: str = "5m"
) -> bool:
    request = RolloutRequest(deployment="chat", revision=wanted, replicas=replicas)
    return is_already_there(request, wanted, _policy(bake=bake), live=R1, replicas=3, under_way=under_way)


def _way(phase: RolloutPhase = RolloutPhase.VERIFYING) -> UnderWay:
    return UnderWay(to_revision=R2, replicas=5, phase=phase, policy=_policy())


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ({}, True),
        ({"replicas": 3}, True),
        ({"bake": "1s"}, True),
        ({"replicas": 5}, False),
        ({"wanted": R2}, False),
        ({"under_way": _way()}, False),
        ({"wanted": R2, "under_way": _way()}, True),
        ({"wanted": R2, "replicas": 5, "under_way": _way()}, True),
        ({"wanted": R2, "replicas": 3, "under_way": _way()}, False),
        ({"wanted": R2, "bake": "1s", "under_way": _way()}, False),
        ({"wanted": R2, "under_way": _way(RolloutPhase.ROLLING_BACK)}, False),
    ],
)
def test_what_is_live_or_under_way_is_already_there(given: dict[str, Any], there: bool) -> None:  # noqa: FBT001
    assert _is_there(**given) is there
