"""The invariants, each a function of the table before and after one step of a story."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from celadon.domain.decisions.publication import EndpointState
from celadon.domain.language.states import DeploymentLifecycle, RolloutOutcome, RouteSetState
from tests.invariants.snapshot import Snapshot


def at_most_one_set_is_live(_: Snapshot, after: Snapshot) -> None:
    """Traffic goes to the live set's replicas and to nobody else's."""
    deployment = after.deployment
    live = set() if deployment is None or deployment.live_set is None else {deployment.live_set}
    assert set(after.tables.active_sets) <= live


def the_live_set_is_open(_: Snapshot, after: Snapshot) -> None:
    """The keeper keeps the live set full."""
    deployment = after.deployment
    if deployment is not None and deployment.live_set is not None:
        assert after.route_set(deployment.live_set).state is RouteSetState.OPEN


def a_deployment_never_goes_dark(before: Snapshot, after: Snapshot) -> None:
    """What has been live once has a live set until it is deleted."""
    if before.deployment is None or before.deployment.live_set is None:
        return
    assert after.deployment is not None
    if after.deployment.lifecycle in {DeploymentLifecycle.DESTROYING, DeploymentLifecycle.DESTROYED}:
        return
    assert after.deployment.live_set is not None


def epochs_only_rise(before: Snapshot, after: Snapshot) -> None:
    """And what routers are told never changes without a new one."""
    if before.deployment is None:
        return
    assert after.deployment is not None
    assert after.deployment.epoch >= before.deployment.epoch
    if after.deployment.epoch == before.deployment.epoch:
        assert after.publication == before.publication, "traffic changed within one epoch"


def a_live_set_is_published(_: Snapshot, after: Snapshot) -> None:
    """As long as a member of it is there, whatever its health."""
    deployment, publication = after.deployment, after.publication
    if deployment is None or deployment.live_set is None or publication is None:
        return
    members = [one for one in publication.endpoints if one.route_set == deployment.live_set]
    if members and after.route_set(deployment.live_set).wanted:
        assert any(one.state is EndpointState.HEALTHY for one in members), "the live set is published empty"


def only_the_live_set_gets_new_requests(_: Snapshot, after: Snapshot) -> None:
    """Green is reached through its preview alone, and what drains is reached by nobody new."""
    deployment, publication = after.deployment, after.publication
    if deployment is None or publication is None:
        return
    for endpoint in publication.endpoints:
        if endpoint.state is EndpointState.HEALTHY:
            assert endpoint.route_set == deployment.live_set
    for endpoint in publication.preview:
        if endpoint.state is EndpointState.HEALTHY:
            assert endpoint.route_set != deployment.live_set
            assert after.route_set(endpoint.route_set).state is RouteSetState.OPEN


def one_rollout_at_a_time(_: Snapshot, after: Snapshot) -> None:
    """A deployment has at most one unfinished rollout."""
    assert len([one for one in after.tables.rollouts if one.outcome is None]) <= 1


def an_outcome_is_told_once(before: Snapshot, after: Snapshot) -> None:
    """An ended rollout stays ended as it was, and the audit log says so once."""
    for rollout in before.tables.rollouts:
        if rollout.outcome is not None:
            assert after.rollout(rollout.id) == rollout
    ended = {one.id: 1 for one in after.tables.rollouts if one.outcome is not None}
    assert Counter(after.tables.completed) == ended


def an_outcome_tells_what_happened(_: Snapshot, after: Snapshot) -> None:
    """Promoted and rolled back are told of what switched, aborted and its like of what never did."""
    for rollout in after.tables.rollouts:
        switched = (rollout.switch_epoch is not None, rollout.switch_back_epoch is not None)
        match rollout.outcome:
            case RolloutOutcome.PROMOTED:
                assert switched == (True, False), f"rollout {rollout.id} is promoted, but switched: {switched}"
            case RolloutOutcome.ROLLED_BACK:
                assert switched == (True, True), f"rollout {rollout.id} is rolled back, but switched: {switched}"
            case RolloutOutcome.ABORTED | RolloutOutcome.EXPIRED | RolloutOutcome.SUPERSEDED:
                assert switched == (False, False), (
                    f"rollout {rollout.id} is {rollout.outcome}, but switched: {switched}"
                )
            case RolloutOutcome.FAILED | None:
                pass


def an_ended_rollout_leaves_no_open_set_but_the_live_one(_: Snapshot, after: Snapshot) -> None:
    """Every other open set is a colour of the rollout that is under way."""
    deployment = after.deployment
    if deployment is None:
        return
    under_way = [one for one in after.tables.rollouts if one.outcome is None]
    allowed = {deployment.live_set, *(one.blue_set for one in under_way), *(one.green_set for one in under_way)}
    left = {one.id for one in after.tables.sets if one.state is RouteSetState.OPEN} - allowed
    assert not left, f"sets {left} are open, but no rollout owns them"


def what_is_gone_is_gone(before: Snapshot, after: Snapshot) -> None:
    """A set that is gone has no replica and never comes back; nor does a replica that has ended."""
    for one in before.tables.sets:
        if one.state is RouteSetState.GONE:
            assert after.route_set(one.id).state is RouteSetState.GONE
    ended = {one.id: one.status for one in before.tables.routes if one.has_ended}
    for route in after.tables.routes:
        if route.id in ended:
            assert route.status is ended[route.id]
    for one in after.tables.sets:
        if one.state is RouteSetState.GONE:
            assert not after.routes_of(one.id), f"set {one.id} is gone, but has replicas"


def a_switch_makes_nothing_unreachable(before: Snapshot, after: Snapshot) -> None:
    """When the pointer moves, somebody serves behind it, unless no replicas are wanted."""
    if before.deployment is None or after.deployment is None or after.publication is None:
        return
    live = after.deployment.live_set
    if live is None or live == before.deployment.live_set or not after.route_set(live).wanted:
        return
    serving = [one for one in after.publication.endpoints if one.state is EndpointState.HEALTHY]
    assert serving, "the pointer moved to a set that nobody can reach"


def a_pending_abort_keeps_blue(before: Snapshot, after: Snapshot) -> None:
    """While an abort waits for blue, nobody lets blue drain."""
    for rollout in after.tables.rollouts:
        was = before.rollout(rollout.id)
        if was is None or was.pending_abort is None or rollout.pending_abort is None or rollout.blue_set is None:
            continue
        if before.route_set(rollout.blue_set).state is RouteSetState.OPEN:
            state = after.route_set(rollout.blue_set).state
            assert state is RouteSetState.OPEN, f"blue of rollout {rollout.id} is {state} while an abort is pending"


def an_ended_rollout_waits_for_nothing(_: Snapshot, after: Snapshot) -> None:
    """No abort of it is pending, and nobody owes it a signal."""
    for rollout in after.tables.rollouts:
        if rollout.outcome is not None:
            assert (rollout.awaits_signal, rollout.pending_abort) == (None, None)


ALL: Final[tuple[Callable[[Snapshot, Snapshot], None], ...]] = (
    at_most_one_set_is_live,
    the_live_set_is_open,
    a_deployment_never_goes_dark,
    epochs_only_rise,
    a_live_set_is_published,
    only_the_live_set_gets_new_requests,
    one_rollout_at_a_time,
    an_outcome_is_told_once,
    an_outcome_tells_what_happened,
    an_ended_rollout_leaves_no_open_set_but_the_live_one,
    what_is_gone_is_gone,
    a_switch_makes_nothing_unreachable,
    a_pending_abort_keeps_blue,
    an_ended_rollout_waits_for_nothing,
)


def check(before: Snapshot, after: Snapshot) -> None:
    """Check every invariant.

    Raises:
        AssertionError: one is broken; its name is in the traceback.

    """
    for rule in ALL:
        rule(before, after)
