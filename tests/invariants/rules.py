"""The invariants, each a function of the table before and after one step of a story."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from celadon.domain.decisions.publication import EndpointState
from celadon.domain.decisions.reschedule import TIMER_KEYS
from celadon.domain.language.states import DeploymentLifecycle, RolloutOutcome, RouteSetState
from celadon.table.core.policies import read_policy
from tests.invariants.snapshot import RolloutRow, Snapshot


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
    """And what routers are told never changes without a new one; another deployment of the name goes on above them."""
    assert after.deployment is None or after.deployment.epoch >= after.tables.epoch_floor
    if before.deployment is None:
        return
    if after.deployment is None:
        assert before.deployment.lifecycle is DeploymentLifecycle.DESTROYED
        assert after.tables.epoch_floor > before.deployment.epoch
        return
    assert after.deployment.epoch >= before.deployment.epoch
    if after.deployment.epoch == before.deployment.epoch:
        assert after.publication == before.publication, "traffic changed within one epoch"


def a_live_set_is_published(_: Snapshot, after: Snapshot) -> None:
    """As long as a member of it is there that stays, whatever its health, unless blue takes the traffic for it."""
    deployment, publication = after.deployment, after.publication
    if deployment is None or deployment.live_set is None or publication is None:
        return
    endpoints = [one for one in publication.endpoints if one.departure is None]
    members = [one for one in endpoints if one.route_set == deployment.live_set]
    if members and after.route_set(deployment.live_set).wanted:
        serving = [one for one in publication.endpoints if one.state is EndpointState.HEALTHY]
        is_published = any(one.route_set == deployment.live_set or one.is_fallback for one in serving)
        assert is_published, "the live set is published empty"


def only_the_live_set_gets_new_requests(_: Snapshot, after: Snapshot) -> None:
    """Green is reached through its preview alone, and what drains is reached by nobody new.

    Blue is reached while it bakes, where its rollout lets it be, by what no live replica can take.
    """
    deployment, publication = after.deployment, after.publication
    if deployment is None or publication is None:
        return
    nets = {
        one.blue_set
        for one in after.tables.rollouts
        if one.outcome is None and one.green_set == deployment.live_set and one.policy["failover"]
    }
    for endpoint in publication.endpoints:
        if endpoint.state is EndpointState.HEALTHY:
            assert endpoint.is_fallback is (endpoint.route_set != deployment.live_set)
            assert not endpoint.is_fallback or endpoint.route_set in nets
    for endpoint in publication.preview:
        if endpoint.state is EndpointState.HEALTHY:
            assert endpoint.route_set != deployment.live_set
            assert after.route_set(endpoint.route_set).state is RouteSetState.OPEN


def one_rollout_at_a_time(_: Snapshot, after: Snapshot) -> None:
    """A deployment has at most one unfinished rollout."""
    assert len([one for one in after.tables.rollouts if one.outcome is None]) <= 1


def what_waits_begins_by_itself_only_after_a_good_end(before: Snapshot, after: Snapshot) -> None:
    """One waits at most; after a bad end it is held, and what is held has no turn."""
    assert len(after.tables.waiting) <= 1
    assert not any(one.held and one.due_at for one in after.tables.waiting)
    ended_badly = any(
        one.outcome not in {None, RolloutOutcome.PROMOTED, RolloutOutcome.SUPERSEDED}
        and any(earlier.id == one.id and earlier.outcome is None for earlier in before.tables.rollouts)
        for one in after.tables.rollouts
    )
    known = {one.id for one in before.tables.waiting}
    if ended_badly:
        assert all(one.held for one in after.tables.waiting if one.id in known)


def what_waits_begins_once(before: Snapshot, after: Snapshot) -> None:
    """A rollout that has waited is the one that waited until now, or that of a workflow which was reset."""
    known = {one.id for one in before.tables.rollouts}
    waited = {one.id for one in before.tables.waiting if not one.held}
    reset = {one.next for one in before.tables.rollouts if one.outcome is None}
    for rollout in after.tables.rollouts:
        if rollout.id not in known and rollout.next is not None:
            assert rollout.next in waited | reset, f"what waited under {rollout.next} begins once more"
            assert rollout.next not in {one.id for one in after.tables.waiting}


def an_outcome_is_told_once(before: Snapshot, after: Snapshot) -> None:
    """An ended rollout stays ended as it was, and the audit log says so once."""
    for rollout in before.tables.rollouts:
        now = after.rollout(rollout.id)
        if rollout.outcome is None or now is None:
            continue
        # Its blue may have gone with the rollout that opened it.
        blue = rollout.blue_set if rollout.blue_set in {one.id for one in after.tables.sets} else None
        assert now == rollout.model_copy(update={"blue_set": blue})
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
            assert after.state_of(one.id) is RouteSetState.GONE
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


def as_many_people_approve_as_the_policy_asks_for(before: Snapshot, after: Snapshot) -> None:
    """What traffic goes to was approved before, by different people, in the decision that stood."""
    for rollout in after.tables.rollouts:
        people = {(one.issuer, one.subject) for one in after.approvals_of(rollout)}
        if rollout.switch_epoch is not None:
            assert len(people) >= rollout.needed, f"rollout {rollout.id} switched with the approvals of {people}"
        assert rollout.excluded not in people, f"who requested rollout {rollout.id} has approved it"
        was = before.rollout(rollout.id)
        assert was is None or was.spent_decisions <= rollout.spent_decisions


def an_ended_rollout_waits_for_nothing(_: Snapshot, after: Snapshot) -> None:
    """No abort of it is pending, and nobody owes it a signal."""
    for rollout in after.tables.rollouts:
        if rollout.outcome is not None:
            assert (rollout.awaits_signal, rollout.pending_abort, rollout.growth) == (None, None, None)


def a_rollout_keeps_what_it_began_with(before: Snapshot, after: Snapshot) -> None:
    """Other defaults and policies count for rollouts that begin later; a person changes the timers of one alone."""
    for rollout in after.tables.rollouts:
        was = before.rollout(rollout.id)
        if was is not None:
            kept = rollout.policy.keys() - {*TIMER_KEYS, "windows"}
            assert {key: rollout.policy[key] for key in kept} == {key: was.policy[key] for key in kept}


def only_a_way_back_passes_no_gate(_: Snapshot, after: Snapshot) -> None:
    """Where something was live before, every rollout has a gate but a rollback inside its window."""
    for rollout in after.tables.rollouts:
        if rollout.blue_set is not None and not rollout.gated:
            assert (rollout.rollback_window or "").startswith("inside"), f"rollout {rollout.id} has no gate"


def no_preview_is_live(before: Snapshot, after: Snapshot) -> None:
    """A green that was opened as a preview has grown to all its replicas before traffic goes to it."""
    for rollout in after.tables.rollouts:
        was = before.rollout(rollout.id)
        if rollout.switch_epoch is None or rollout.green_set is None or was is None or was.switch_epoch is not None:
            continue
        green = after.route_set(rollout.green_set)
        wanted = rollout.replicas if rollout.scaled_to is None else rollout.scaled_to
        assert (green.wanted, green.preview) == (wanted, False), f"rollout {rollout.id} switched to a preview"


def no_replica_is_started_beyond_the_bound(before: Snapshot, after: Snapshot) -> None:
    """The bound is that of the rollout under way, or of the deployment; what was there before may be more."""
    known = {one.id for one in before.tables.routes}
    there = [one.id for one in after.tables.routes if not one.has_ended]
    if after.deployment is None or known.issuperset(there):
        return
    # A replica may have been started for a rollout that has ended since.
    bounds = [_bound_of(moment) for moment in (before, after) if moment.deployment is not None]
    bound = max((one for one in bounds if one is not None), default=0)
    assert None in bounds or len(there) <= bound, f"{len(there)} replicas, and max_total_replicas is {bound}"


def _bound_of(moment: Snapshot) -> int | None:
    under_way = [one.policy for one in moment.tables.rollouts if one.outcome is None]
    of_deployment = {} if moment.deployment is None else moment.deployment.policy
    bound: int | None = (under_way or [of_deployment])[0].get("max_total_replicas")
    return bound


def the_audit_log_of_a_kept_rollout_is_whole(before: Snapshot, after: Snapshot) -> None:
    """Lines go with their rollout, all at once, and those of no rollout by themselves."""
    kept = {one.id for one in after.tables.rollouts}
    there = {one.id for one in after.tables.lines}
    lost = [one for one in before.tables.lines if one.rollout in kept and one.id not in there]
    assert not lost, f"lines of rollouts that are kept are gone: {lost}"
    assert not {one.rollout for one in after.tables.lines} - kept - {None}


def nothing_that_is_needed_goes(before: Snapshot, after: Snapshot) -> None:
    """Neither what is live, drains, runs or waits, nor what a rollback may go back to."""
    sets, revisions = {one.id for one in after.tables.sets}, set(after.tables.revisions)
    there = [one for one in before.tables.sets if one.state is not RouteSetState.GONE]
    assert sets.issuperset(one.id for one in there)
    assert {one.id for one in after.tables.rollouts}.issuperset(one.rollout for one in there)
    assert revisions.issuperset(one.revision for one in there)
    assert {one.id for one in after.tables.routes}.issuperset(
        one.id for one in before.tables.routes if not one.has_ended
    )
    for rollout in before.tables.rollouts:
        if rollout.outcome is None:
            now = after.rollout(rollout.id)
            assert now is not None
            assert now.blue_set == rollout.blue_set, f"unfinished rollout {rollout.id} has lost its blue"
            assert sets | {None} >= {rollout.blue_set, rollout.green_set}
            assert revisions | {None} >= {rollout.from_revision, rollout.to_revision}
    assert revisions.issuperset(one.revision for one in after.tables.waiting)
    newest = _within_reach(before)
    assert {one.id for one in after.tables.rollouts}.issuperset(one.id for one in newest)
    assert revisions.issuperset(one.to_revision for one in newest)


def _within_reach(moment: Snapshot) -> list[RolloutRow]:
    """Return the promoted rollouts to which a rollback inside its window may go back."""
    deployment = moment.deployment
    if deployment is None or deployment.lifecycle is DeploymentLifecycle.DESTROYED:
        return []
    policy = read_policy(deployment.policy)
    promoted = [one for one in moment.tables.rollouts if one.outcome is RolloutOutcome.PROMOTED]
    return promoted[-max(policy.revision_history_limit, policy.rollback_window.revisions + 1) :]


def nothing_goes_but_by_pruning(before: Snapshot, after: Snapshot) -> None:
    """No other step forgets a rollout, a set, a revision or a line of the audit log."""
    assert {one.id for one in after.tables.rollouts}.issuperset(one.id for one in before.tables.rollouts)
    assert {one.id for one in after.tables.sets}.issuperset(one.id for one in before.tables.sets)
    assert {one.id for one in after.tables.lines}.issuperset(one.id for one in before.tables.lines)
    assert set(after.tables.revisions) >= set(before.tables.revisions)


ALL: Final[tuple[Callable[[Snapshot, Snapshot], None], ...]] = (
    at_most_one_set_is_live,
    the_live_set_is_open,
    a_deployment_never_goes_dark,
    epochs_only_rise,
    a_live_set_is_published,
    only_the_live_set_gets_new_requests,
    what_waits_begins_by_itself_only_after_a_good_end,
    what_waits_begins_once,
    one_rollout_at_a_time,
    an_outcome_is_told_once,
    an_outcome_tells_what_happened,
    an_ended_rollout_leaves_no_open_set_but_the_live_one,
    what_is_gone_is_gone,
    a_switch_makes_nothing_unreachable,
    a_pending_abort_keeps_blue,
    as_many_people_approve_as_the_policy_asks_for,
    an_ended_rollout_waits_for_nothing,
    a_rollout_keeps_what_it_began_with,
    only_a_way_back_passes_no_gate,
    no_preview_is_live,
    no_replica_is_started_beyond_the_bound,
    the_audit_log_of_a_kept_rollout_is_whole,
    nothing_that_is_needed_goes,
)


def check(before: Snapshot, after: Snapshot, *, prunes: bool = False) -> None:
    """Check every invariant.

    Args:
        before: the step.
        after: the step.
        prunes: whether it was pruning.

    Raises:
        AssertionError: one is broken; its name is in the traceback.

    """
    for rule in ALL:
        rule(before, after)
    if not prunes:
        nothing_goes_but_by_pruning(before, after)
