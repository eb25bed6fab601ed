"""A request eases a policy when it lets green go live by itself where the deployment's own would not, or later."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.automatic_switch import (
    eased_keys,
    lets_people_switch_at_other_times,
    switches_after,
    verbs_of_policy,
)
from celadon.domain.decisions.gate import Enter, GoAhead, GoBack, Wait, decide
from celadon.domain.language.messages import GreenChanged
from celadon.domain.language.names import RouteSetId
from celadon.domain.language.payload import parse_payload
from celadon.domain.language.permissions import Verb
from celadon.domain.language.policy import BlueGreenPolicy, required_healthy, resolve_policy
from celadon.domain.language.progress import Progress
from celadon.domain.language.states import RolloutPhase, SetCondition

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
REPLICAS = 3


def layer(**policy: Any) -> BlueGreenPolicy:
    return parse_payload(BlueGreenPolicy, policy)


def eased(own: dict[str, Any], request: dict[str, Any], **gates: bool) -> tuple[str, ...]:
    return eased_keys(resolve_policy(layer(**own)), resolve_policy(layer(**own), layer(**request)), **gates)


AUTO = {"auto_promote": True, "promote_after": "24h"}
AT = {"auto_promote": True, "promote_at": "2026-03-02T12:00:00Z"}
DAY = {"days": ["mon"], "from": "09:00", "to": "17:00", "zone": "UTC"}
NIGHT = {"days": ["sun"], "from": "22:00", "to": "04:00", "zone": "UTC"}
FOR_ALL = {"applies_to": "everyone"}
BY_DAY = {"auto_promote": True, "windows": [DAY]}
EXPIRES = {"promotion_deadline": "4s", "on_deadline": "abort"}


@pytest.mark.parametrize(
    ("own", "request_policy", "keys"),
    [
        ({}, {}, ()),
        ({}, {"auto_promote": True}, ("auto_promote",)),
        ({}, {"promotion_deadline": "1h"}, ()),
        ({}, {"min_healthy": "50%", "provisioning_deadline": "1h"}, ()),
        (EXPIRES, {"on_deadline": "promote"}, ("on_deadline",)),
        ({"on_deadline": "hold", "promotion_deadline": "4s"}, {"on_deadline": "promote"}, ("on_deadline",)),
        (AUTO, {}, ()),
        (AUTO, {"promote_after": "0s"}, ("promote_after",)),
        (AUTO, {"promote_after": "48h"}, ()),
        (AUTO, {"auto_promote": False}, ()),
        (AT, {}, ()),
        (AT, {"promote_at": "2026-03-03T12:00:00Z"}, ()),
        (AT, {"promote_at": "2026-03-02T11:00:00Z"}, ("promote_at",)),
        (AT, {"promote_at": None}, ("promote_at",)),
        (AT, {"auto_promote": False}, ()),
        (AUTO, {"promote_at": "2026-03-02T12:00:00Z"}, ()),
        ({}, AT, ("auto_promote", "promote_at")),
        (AUTO, {"promotion_deadline": "1h", "on_deadline": "promote"}, ("promotion_deadline", "on_deadline")),
        (AUTO, {"promotion_deadline": "1h", "on_deadline": "abort"}, ()),
        (BY_DAY, {}, ()),
        (BY_DAY, {"windows": []}, ("windows",)),
        (BY_DAY, {"windows": [NIGHT]}, ("windows",)),
        (BY_DAY, {"windows": [DAY, NIGHT]}, ("windows",)),
        (BY_DAY, {"windows": [DAY, DAY | FOR_ALL]}, ()),
        (BY_DAY, {"windows": [], "auto_promote": False}, ()),
        ({"auto_promote": True, "windows": [DAY, NIGHT]}, {"windows": [NIGHT]}, ()),
        ({"auto_promote": True, "windows": [DAY, DAY | FOR_ALL]}, {"windows": [DAY]}, ("windows",)),
        (AUTO, {"windows": [DAY]}, ()),
        ({"windows": [DAY]}, {"auto_promote": True}, ("auto_promote",)),
        (AUTO, {"approvals": {"count": 2}}, ()),
        ({}, {"auto_promote": True, "approvals": {"count": 1}}, ()),
        (AUTO | {"approvals": {"count": 2}}, {"approvals": None}, ("approvals",)),
        (AUTO, {"min_healthy": 1}, ("min_healthy",)),
        (AUTO, {"provisioning_deadline": "1h"}, ("provisioning_deadline",)),
        (AUTO, {"provisioning_deadline": "1m"}, ()),
        (AUTO, {"max_replacements": 9}, ("max_replacements",)),
        (AUTO, {"max_regressions": 99}, ("max_regressions",)),
        (AUTO, {"bake": "0s", "drain_timeout": "1s"}, ()),
        # A green that is verified late meets its end before the delay is over: without the end it would go live.
        ({**AUTO, "promotion_deadline": "25h"}, {"promotion_deadline": "99h"}, ("promotion_deadline",)),
        ({**AUTO, "promotion_deadline": "25h"}, {"on_deadline": "hold"}, ()),
        ({**AUTO, "promotion_deadline": "25h"}, {"promotion_deadline": None}, ("promotion_deadline",)),
        ({**AUTO, **EXPIRES}, {"promote_after": "3s"}, ("promote_after",)),
        ({**AUTO, **EXPIRES}, {"promote_after": "5s"}, ()),
    ],
)
def test_a_request_eases_a_policy_by_the_keys_that_let_green_go_live_sooner(
    own: dict[str, Any],
    request_policy: dict[str, Any],
    keys: tuple[str, ...],
) -> None:
    assert eased(own, request_policy) == keys


def test_a_first_deployment_without_a_gate_is_eased_by_what_it_needs_to_be_healthy() -> None:
    gates = {"own_gated": False, "wanted_gated": False}
    assert eased({}, {"min_healthy": 1}, **gates) == ("min_healthy",)
    assert eased({}, {"bake": "1s"}, **gates) == ()


@pytest.mark.parametrize(
    ("policy", "verbs"),
    [({}, ()), (EXPIRES, ()), ({"min_healthy": 1}, ()), (AUTO, (Verb.PROMOTE,)), ({"auto_promote": False}, ())],
)
def test_a_deployments_policy_that_switches_by_itself_takes_the_right_to_promote(
    policy: dict[str, Any],
    verbs: tuple[Verb, ...],
) -> None:
    assert verbs_of_policy(layer(**policy)) == verbs


SECONDS = st.integers(0, 12)


@pytest.mark.parametrize(
    ("own", "wanted", "lets"),
    [
        ([], [], False),
        ([], [DAY | FOR_ALL], False),
        ([DAY], [], False),
        ([DAY | FOR_ALL], [DAY], True),
        ([DAY | FOR_ALL], [NIGHT | FOR_ALL], True),
        ([DAY | FOR_ALL, NIGHT | FOR_ALL], [NIGHT | FOR_ALL], False),
    ],
)
def test_windows_that_are_gone_or_others_let_people_promote_at_other_times(
    own: list[Any], wanted: list[Any], lets: object
) -> None:
    policies = [resolve_policy(layer(windows=windows)) for windows in (own, wanted)]

    assert lets_people_switch_at_other_times(*policies) is lets


@st.composite
def layers(draw: st.DrawFn) -> BlueGreenPolicy:
    """Return a layer that says any of the keys that bear on an automatic switch."""
    keys: dict[str, st.SearchStrategy[Any]] = {
        "auto_promote": st.booleans(),
        "promote_after": SECONDS.map(lambda seconds: f"{seconds}s"),
        "promote_at": st.one_of(st.none(), SECONDS.map(lambda seconds: str(START + timedelta(seconds=seconds)))),
        "promotion_deadline": st.one_of(st.none(), st.integers(1, 20).map(lambda seconds: f"{seconds}s")),
        "on_deadline": st.sampled_from(["abort", "promote", "hold"]),
        "min_healthy": st.sampled_from([1, 2, 3, "50%", "67%", "100%"]),
        "provisioning_deadline": st.integers(1, 20).map(lambda seconds: f"{seconds}s"),
        "max_regressions": st.integers(0, 3),
    }
    said = draw(st.sets(st.sampled_from(sorted(keys))))
    policy = {name: draw(keys[name]) for name in sorted(said)}
    if policy.get("auto_promote") is False:
        policy.pop("promote_after", None)
        policy.pop("promote_at", None)
    return layer(**policy)


def merged(*given_layers: BlueGreenPolicy) -> BlueGreenPolicy | None:
    try:
        return resolve_policy(*given_layers)
    except ValueError:
        return None


def switched_at(policy: BlueGreenPolicy, healthy: list[int]) -> int | None:
    """Run a rollout by the real decisions, second by second; ``healthy`` are the replicas of green in each.

    Returns:
        The second of its automatic switch, or ``None`` when it comes to another end or to none.

    """
    progress = Progress(
        deployment="chat",
        phase=RolloutPhase.PROVISIONING,
        since=START,
        policy=policy,
        unverified_since=START,
    )
    required = required_healthy(REPLICAS, policy.min_healthy)
    for second, ready in enumerate(healthy):
        now = START + timedelta(seconds=second)
        condition = SetCondition.READY if ready >= required else SetCondition.RUNNING
        green = GreenChanged(
            route_set=RouteSetId(2),
            seq=second + 1,
            condition=condition,
            running=REPLICAS,
            ready=ready,
            required=required,
            wanted=REPLICAS,
        )
        dips = progress.phase is RolloutPhase.AWAITING_PROMOTION and condition is not SetCondition.READY
        regressed_since_verified = {"regressed_since_verified": True, "regressed_by_itself": True} if dips else {}
        progress = progress.model_copy(update={"green": green, **regressed_since_verified})
        while not isinstance(decision := decide(progress, now), Wait):
            match decision:
                case GoAhead():
                    return second
                case GoBack():
                    return None
                case Enter():
                    progress = _entered(progress, decision.phase, now)
    return None


def _entered(progress: Progress, phase: RolloutPhase, now: datetime) -> Progress:
    """Return what the workflow knows when it has entered a phase before the switch."""
    regressed = progress.phase is RolloutPhase.AWAITING_PROMOTION
    waits = phase is RolloutPhase.AWAITING_PROMOTION
    return progress.model_copy(
        update={
            "phase": phase,
            "since": now,
            "unverified_since": now if regressed else progress.unverified_since,
            "verified_since": now if waits else None,
            "waited_since": (progress.waited_since or now) if waits else progress.waited_since,
            "regressions": progress.regressions + (1 if regressed and progress.regressed_by_itself else 0),
            "regressed_since_verified": False,
            "regressed_by_itself": False,
        },
    )


@given(layers(), layers(), st.lists(st.integers(0, REPLICAS), min_size=1, max_size=60))
def test_an_operator_alone_brings_no_switch_about_that_the_deployments_policy_would_not_have_by_then(
    own_layer: BlueGreenPolicy,
    request_layer: BlueGreenPolicy,
    healthy: list[int],
) -> None:
    own, wanted = merged(own_layer), merged(own_layer, request_layer)
    if own is None or wanted is None or eased_keys(own, wanted):
        return
    switched = switched_at(wanted, healthy)
    if switched is not None:
        by_itself = switched_at(own, healthy)
        assert by_itself is not None
        assert by_itself <= switched


@given(layers(), st.integers(0, 40))
def test_the_time_of_the_switch_is_the_one_at_which_the_gate_decides(own_layer: BlueGreenPolicy, late: int) -> None:
    policy = merged(own_layer)
    if policy is None or policy.promote_at is not None:
        return
    verified = timedelta(seconds=late)
    expected = switches_after(policy, verified, gated=True)
    progress = Progress(
        deployment="chat",
        phase=RolloutPhase.AWAITING_PROMOTION,
        since=START,
        policy=policy,
        green=GreenChanged(
            route_set=RouteSetId(2),
            seq=1,
            condition=SetCondition.READY,
            running=3,
            ready=3,
            required=3,
            wanted=3,
        ),
        waited_since=START,
        verified_since=START + verified,
    )
    moments = [START + verified + timedelta(seconds=second) for second in range(80)]
    first = next((now for now in moments if not isinstance(decide(progress, now), Wait)), None)
    switches = first is not None and isinstance(decide(progress, first), GoAhead)
    assert (first - START if switches and first is not None else None) == expected
