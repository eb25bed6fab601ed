"""A deployment and its latest rollout as a tree for people."""

from datetime import UTC, datetime
from typing import Final, assert_never

from celadon.client.rollout_view import NO_WORKFLOW, RolloutView
from celadon.client.wording import WAY, describe_event, in_words, revision_name
from celadon.domain.language.durations import format_duration
from celadon.domain.language.errors import Refusal
from celadon.domain.language.messages import RolloutStatus
from celadon.domain.language.moments import clock, moment, span
from celadon.domain.language.states import (
    Colour,
    RolloutOutcome,
    RolloutPhase,
    RouteHealthStatus,
    RouteSetState,
    RouteStatus,
)
from celadon.table.records.deployments import DeploymentView, FailureView, ReplicaView, RouterView, SetView
from celadon.table.records.events import AuditEvent
from celadon.table.records.rollouts import RolloutRecord
from celadon.terminal import Text, Tree

_SHOWN_REPLICAS: Final = 12
_SHOWN_REFUSALS: Final = 3
_SHOWN_OUTPUT_LINES: Final = 5


def rollout_tree(view: RolloutView, now: datetime | None = None) -> Tree:
    """Return the whole picture; ``now`` is the moment to which spans are counted, by default the present one."""
    now = now or datetime.now(UTC)
    deployment, status = view.deployment, view.status
    if deployment is None:
        return _unregistered(view)
    tree = Tree(_head(deployment), guide_style="dim")
    if deployment.rollout is not None:
        _add_rollout(tree, view, deployment.rollout, now)
    under_way = deployment.rollout is not None and deployment.rollout.outcome is None
    for one in deployment.sets:
        _add_set(tree, one, now, under_way=under_way)
    _add_routers(tree, deployment)
    if status is not None:
        _add_refusals(tree, status)
    _add_events(tree, deployment.events)
    _add_warnings(tree, view, deployment)
    return tree


def describe_outcome(rollout: RolloutRecord) -> Text:
    """Return how a rollout ended, in a line."""
    if rollout.outcome is None:
        return Text(in_words(rollout.phase.value), style="yellow")
    good = rollout.outcome is RolloutOutcome.PROMOTED
    line = Text(in_words(rollout.outcome.value), style="bold green" if good else "bold red")
    return line.append(f": {rollout.outcome_reason}", style="not bold default") if rollout.outcome_reason else line


def _unregistered(view: RolloutView) -> Tree:
    status = view.workflow.status
    if status is None:
        tree = Tree(f"its first rollout is not registered yet: {view.workflow.unanswered_because}")
        if view.next_step:
            tree.add(_next(view))
        return tree
    tree = Tree(Text(status.deployment, style="bold").append(" is new; its first rollout begins", style="not bold"))
    _add_refusals(tree, status)
    return tree


def _head(deployment: DeploymentView) -> Text:
    line = Text(deployment.deployment, style="bold")
    line.append(f"  {deployment.lifecycle.value}", style="not bold cyan")
    live = f"live: {revision_name(deployment.live_revision)}" if deployment.live_revision else "nothing is live"
    line.append(f"  {live}", style="not bold green" if deployment.live_revision else "not bold yellow")
    line.append(f"  epoch {deployment.epoch}  replicas {deployment.replicas}", style="not bold dim")
    if deployment.frozen:
        line.append("  FROZEN", style="bold blue")
    return line


def _add_rollout(tree: Tree, view: RolloutView, rollout: RolloutRecord, now: datetime) -> None:
    head = Text(f"rollout {rollout.rollout}", style="bold")
    move = f"  {revision_name(rollout.from_revision)} → {revision_name(rollout.to_revision)}"
    head.append(f"{move}  by {rollout.requested_by}", style="not bold")
    if rollout.reason:
        head.append(f": {rollout.reason}", style="not bold")
    branch = tree.add(head)
    if rollout.outcome is not None:
        line = describe_outcome(rollout)
        took = "" if rollout.completed_at is None else f"  after {span(rollout.completed_at - rollout.started_at)}"
        branch.add(line.append(f"{took}, {moment(rollout.completed_at)} UTC", style="not bold dim"))
        if rollout.requests_cut:
            branch.add(Text(f"{rollout.requests_cut} requests were cut", style="red"))
        return
    branch.add(_phases(view.phase or rollout.phase, view.phase_since or rollout.phase_since, now))
    if view.status is not None:
        _add_progress(branch, view.status, now)
    if view.next_step:
        branch.add(_next(view))


def _next(view: RolloutView) -> Text:
    return Text("next: ", style="bold").append(view.next_step, style="not bold")


def _add_progress(branch: Tree, status: RolloutStatus, now: datetime) -> None:
    """Add what only the workflow knows."""
    for timer in status.timers:
        branch.add(Text(f"timer: {timer.name} in {span(timer.fires_at - now)}", style="yellow"))
    if not status.timers and not status.holding and status.phase is RolloutPhase.AWAITING_PROMOTION:
        branch.add(Text("timer: none, a person decides", style="yellow"))
    if status.holding:
        branch.add(Text(f"holding: {status.holding}", style="bold yellow"))
    if status.approvals_needed > 1:
        branch.add(Text(f"approvals: {status.approvals} of {status.approvals_needed}"))
    if status.decision:
        branch.add(Text(f"decided: {status.decision}"))
    if status.abort_requested:
        branch.add(Text(f"asked to go back: {status.abort_requested}", style="yellow"))


def _phases(present: RolloutPhase, since: datetime, now: datetime) -> Text:
    """Return the way of a rollout with the present phase marked."""
    way = WAY if present in WAY else (present,)
    line = Text()
    for number, phase in enumerate(way):
        if number:
            line.append(" → ", style="dim")
        if phase is present:
            line.append(f"● {phase.value} {span(now - since)}", style="bold yellow")
        else:
            passed = number < way.index(present)
            line.append(f"✔ {phase.value}" if passed else phase.value, style="green" if passed else "dim")
    return line


def _add_set(tree: Tree, one: SetView, now: datetime, *, under_way: bool) -> None:
    colour = _colour(one, under_way=under_way)
    branch = tree.add(colour.append_text(_set_state(one)))
    for replica in one.replicas[:_SHOWN_REPLICAS]:
        branch.add(_replica(replica, now))
    if len(one.replicas) > _SHOWN_REPLICAS:
        branch.add(Text(f"and {len(one.replicas) - _SHOWN_REPLICAS} more", style="dim"))
    for failure in one.failures:
        _add_failure(branch, failure)
    if one.state is RouteSetState.DRAINING:
        _add_drain(branch, one, now)


def _colour(one: SetView, *, under_way: bool) -> Text:
    """Return what a set is; once the rollout has ended, what is live is neither blue nor green."""
    if one.is_live and not under_way:
        return Text("live", style="bold green")
    match one.colour:
        case Colour.BLUE:
            return Text("blue", style="bold blue")
        case Colour.GREEN:
            return Text("green", style="bold green")
        case None:
            return Text("earlier", style="bold")
        case _ as unreachable:
            assert_never(unreachable)


def _set_state(one: SetView) -> Text:
    """Return a set's revision, what traffic it gets and how many of its replicas are healthy."""
    line = Text(f"  r{one.revision}", style="default").append(f"  set {one.route_set}", style="dim")
    match one.state:
        case RouteSetState.OPEN:
            line.append("  LIVE" if one.is_live else "  no traffic", style="bold green" if one.is_live else "dim")
            line.append_text(_health(one))
        case RouteSetState.DRAINING:
            line.append(f"  draining, {len(one.replicas)} left", style="magenta")
        case RouteSetState.GONE:
            line.append("  gone", style="magenta")
        case _ as unreachable:
            assert_never(unreachable)
    if one.replacements:
        line.append(f"  {one.replacements} replaced", style="yellow")
    if one.requests_cut:
        line.append(f"  {one.requests_cut} requests cut", style="red")
    return line


def _health(one: SetView) -> Text:
    full = one.healthy >= one.wanted
    required = "" if one.required in {None, one.wanted} else f", {one.required} required"
    line = Text(f"  {one.healthy}/{one.wanted} healthy{required}", style="green" if full else "yellow")
    return line if full or not one.last_error else line.append(f"  {one.last_error}", style="red")


def _replica(one: ReplicaView, now: datetime) -> Text:
    if one.status is RouteStatus.RUNNING and one.health is RouteHealthStatus.HEALTHY:
        mark, style = "✔", "green"
    elif one.health is RouteHealthStatus.UNHEALTHY:
        mark, style = "✘", "red"
    else:
        mark, style = "◌", "yellow"
    line = Text(f"{mark} ", style=style).append(f"{one.host}:{one.port}", style="default")
    line.append(f"  {one.status.value}  {one.health.value}", style=style)
    line.append(f"  {span(now - (one.started_at or one.created_at))}", style="dim")
    if one.leaving_deadline is not None:
        running = "unknown" if one.running_requests is None else one.running_requests
        line.append(f"  leaves, running requests: {running}", style="magenta")
        line.append(f"  cut in {span(one.leaving_deadline - now)}", style="yellow")
    if one.last_error and one.health is not RouteHealthStatus.HEALTHY:
        line.append(f"  {one.last_error}", style="red")
    return line


def _add_failure(tree: Tree, one: FailureView) -> None:
    line = Text(f"✘ :{one.port}  {one.status.value} at {clock(one.ended_at)} UTC", style="red")
    branch = tree.add(line.append(f"  {one.last_error}") if one.last_error else line)
    for text in one.output.splitlines()[-_SHOWN_OUTPUT_LINES:]:
        branch.add(Text(text, style="dim"))


def _add_drain(tree: Tree, one: SetView, now: datetime) -> None:
    running = one.running_requests
    line = Text("running requests: ").append("unknown" if running is None else str(running), style="bold")
    if one.drain_deadline is not None:
        line.append(f"  cut in {span(one.drain_deadline - now)}", style="yellow")
    branch = tree.add(line)
    for load in one.load:
        told = "has not reported yet" if load.running is None else str(load.running)
        branch.add(Text(f"{load.router}: {told}", style="dim"))


def _add_routers(tree: Tree, deployment: DeploymentView) -> None:
    routers = deployment.routers
    if not routers:
        tree.add(Text("routers: none is live, so nobody can reach the deployment", style="yellow"))
        return
    silent = [one for one in routers if not one.acknowledged]
    served = f"{len(routers) - len(silent)} of {len(routers)} serve epoch {deployment.epoch}"
    head = Text("routers", style="bold").append(f"  {served}", style="not bold yellow" if silent else "not bold green")
    branch = tree.add(head)
    for one in routers:
        branch.add(_router(one))


def _router(one: RouterView) -> Text:
    if one.acknowledged:
        line = Text("✔ ", style="green").append(one.router, style="default")
    else:
        line = Text("◌ ", style="yellow").append(one.router, style="default")
        line.append("  silent", style="bold yellow")
    line.append("  nothing acknowledged" if one.epoch is None else f"  epoch {one.epoch}", style="not bold dim")
    return line.append(f"  refused: {one.nack}", style="not bold red") if one.nack else line


def _add_refusals(tree: Tree, status: RolloutStatus) -> None:
    if not status.refused:
        return
    branch = tree.add(Text(f"refused messages: {status.refused_total}", style="bold"))
    for one in status.refused[-_SHOWN_REFUSALS:]:
        by = f" by {one.by}" if one.by else ""
        told = f"{clock(one.at)}  {one.message}{by} ({one.door.value}): {_sentence(one.refusal)}"
        branch.add(Text(told, style="yellow"))


def _sentence(refusal: Refusal) -> str:
    return f"{refusal.code.value}: {refusal}"


def _add_events(tree: Tree, events: tuple[AuditEvent, ...]) -> None:
    if not events:
        return
    branch = tree.add(Text("events", style="bold").append("  UTC", style="not bold dim"))
    for event in events:
        branch.add(Text(f"{clock(event.at)}  ", style="dim").append(describe_event(event), style="not dim default"))


def _add_warnings(tree: Tree, view: RolloutView, deployment: DeploymentView) -> None:
    rollout = deployment.rollout
    under_way = rollout is not None and rollout.outcome is None
    if deployment.panic:
        told = "CeladonPanic: too few live replicas are healthy, so unhealthy ones get traffic too"
        tree.add(Text(told, style="bold red"))
    if not deployment.keeper_alive:
        told = "no keeper is at work: start a worker ('celadon worker'), or nothing starts, stops or is replaced"
        tree.add(Text(told, style="bold red"))
    if under_way and view.stuck is not None:
        tree.add(Text(f"the rollout does not get on: {view.stuck.told}", style="bold red"))
    elif under_way and view.workflow.unanswered_because:
        told = (
            "its workflow is gone from Temporal: the keeper ends the rollout and cleans up within a minute"
            if view.workflow.unanswered_because == NO_WORKFLOW
            else f"only the table is shown, the workflow is silent: {view.workflow.unanswered_because}"
        )
        tree.add(Text(told, style="yellow"))
    if deployment.rollout is not None and deployment.rollout.awaits_epoch is not None:
        patience = format_duration(deployment.rollout.policy.router_ack_timeout)
        tree.add(Text(f"blue is kept: routers were silent for {patience} after the switch", style="yellow"))
