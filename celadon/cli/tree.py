"""A deployment and its latest rollout as a tree for people: how the view is drawn, and nothing else."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from celadon.domain.language.moments import clock, span
from celadon.service.command import Tone
from celadon.service.rollout_view import RolloutView
from celadon.service.views.deployment import DeploymentDetail, RefusedRow, UnregisteredDetail, deployment_detail
from celadon.service.views.phrases import WHOLE, Phrase, Room, smaller_rooms
from celadon.service.views.rollout import RolloutSummary, Step
from celadon.service.views.sets import DrainRow, FailureRow, ReplicaRow, SetDetail
from celadon.terminal import Text, Tree

STYLES: Final[Mapping[Tone, str]] = {
    Tone.PLAIN: "",
    Tone.QUIET: "dim",
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "red",
}
_COLOURS: Final = {"live": "bold green", "blue": "bold blue", "green": "bold green", "earlier": "bold"}


def rollout_tree(view: RolloutView, now: datetime | None = None, room: Room = WHOLE) -> Tree:
    """Return the whole picture; ``now`` is the moment to which spans are counted, by default the present one."""
    now = now or datetime.now(UTC)
    shown = deployment_detail(view, now, room)
    if isinstance(shown, UnregisteredDetail):
        return _unregistered(shown)
    tree = Tree(_head(shown), guide_style="dim")
    _add_traffic(tree, shown)
    _add_freezes(tree, shown)
    if shown.rollout is not None:
        _add_rollout(tree, shown, shown.rollout, now, room)
    if shown.next is not None:
        tree.add(Text(f"next: {shown.next.text}", style=STYLES[shown.next.tone]))
    for one in shown.sets:
        _add_set(tree, one, now)
    _add_routers(tree, shown)
    _add_refused(tree, shown.refused, shown.refused_total)
    for warned in shown.warnings:
        tree.add(Text(warned.text, style=f"bold {STYLES[warned.tone]}"))
    if shown.events:
        branch = tree.add(Text("events", style="bold").append("  UTC, newest first", style="not bold dim"))
        for row in shown.events:
            branch.add(Text(f"{clock(row.at)}  ", style="dim").append(row.text, style=f"not dim {STYLES[row.tone]}"))
    return tree


def fitting_tree(view: RolloutView, fits: Callable[[Tree], bool], now: datetime | None = None) -> Tree:
    """Return as much of the picture as fits; when even the least does not, that."""
    tree = rollout_tree(view, now)
    for room in smaller_rooms():
        if fits(tree):
            break
        tree = rollout_tree(view, now, room)
    return tree


def styled(phrase: Phrase) -> Text:
    """Return words in the style of their tone."""
    return Text(phrase.text, style=STYLES[phrase.tone])


def outcome_line(rollout: RolloutSummary) -> Text:
    """Return where a rollout stands, or how it ended and why, in a line."""
    style = STYLES[rollout.phase.tone]
    if rollout.is_under_way:
        return Text(rollout.phase.text, style=style)
    line = Text(rollout.phase.text, style=f"bold {style}")
    return line.append(f": {rollout.outcome_reason}", style="not bold default") if rollout.outcome_reason else line


def _unregistered(shown: UnregisteredDetail) -> Tree:
    head = Text(shown.name, style="bold").append(" ") if shown.name else Text()
    tree = Tree(head.append(shown.text, style="not bold"))
    _add_refused(tree, shown.refused, shown.refused_total)
    if shown.next_step:
        tree.add(_next(shown.next_step))
    return tree


def _head(shown: DeploymentDetail) -> Text:
    line = Text(shown.name, style="bold")
    line.append(f"  {shown.lifecycle}", style="not bold cyan")
    line.append(f"  live: {shown.live.text}", style=f"not bold {STYLES[shown.live.tone]}")
    line.append(f"  epoch {shown.epoch}  replicas {shown.replicas}", style="not bold dim")
    if shown.frozen:
        line.append("  FROZEN", style="bold blue")
    return line


def _add_traffic(tree: Tree, shown: DeploymentDetail) -> None:
    if shown.hosts:
        tree.add(Text("hosts: ", style="bold").append(", ".join(shown.hosts), style="not bold"))
    if shown.traffic:
        tree.add(Text("traffic: ", style="bold").append(", ".join(shown.traffic), style="not bold"))


def _add_freezes(tree: Tree, shown: DeploymentDetail) -> None:
    for freeze in shown.freezes:
        tree.add(styled(freeze))


def _add_rollout(tree: Tree, shown: DeploymentDetail, rollout: RolloutSummary, now: datetime, room: Room) -> None:
    head = Text(f"rollout {rollout.number}", style="bold")
    head.append(f"  {rollout.move}  by {rollout.requested_by}", style="not bold")
    if rollout.reason:
        head.append(f": {rollout.reason}", style="not bold")
    branch = tree.add(head)
    if not rollout.is_under_way:
        branch.add(outcome_line(rollout).append(f"  after {rollout.took}, {rollout.ended}", style="not bold dim"))
        if rollout.cut is not None:
            branch.add(styled(rollout.cut))
        return
    branch.add(_way(rollout, now, names_passed=room.passed_phases))
    for timer in shown.timers:
        branch.add(Text(timer.told(now), style="yellow"))
    for note in shown.notes:
        branch.add(styled(note))
    if shown.next_step:
        branch.add(_next(shown.next_step))


def _next(step: str) -> Text:
    return Text("next: ", style="bold").append(step, style="not bold")


def _way(rollout: RolloutSummary, now: datetime, *, names_passed: bool) -> Text:
    """Return the way of a rollout with the present phase marked."""
    line = Text()
    for number, step in enumerate(rollout.way):
        if number:
            line.append(" → " if names_passed or rollout.way[number - 1].state != "passed" else " ", style="dim")
        line.append_text(_step(step, rollout, now, names_passed=names_passed))
    return line


def _step(step: Step, rollout: RolloutSummary, now: datetime, *, names_passed: bool) -> Text:
    match step.state:
        case "present":
            return Text(f"● {step.name} {span(now - rollout.since)}", style="bold yellow")
        case "passed":
            return Text(f"✔ {step.name}" if names_passed else "✔", style="green")
        case _:
            return Text(step.name, style="dim")


def _add_set(tree: Tree, one: SetDetail, now: datetime) -> None:
    line = Text(one.colour, style=_COLOURS[one.colour])
    line.append(f"  {one.revision}", style="not bold default").append(f"  set {one.route_set}", style="not bold dim")
    for phrase in (one.traffic, *(() if one.health is None else (one.health,)), *one.notes):
        line.append(f"  {phrase.text}", style=f"not bold {STYLES[phrase.tone]}")
    if one.error:
        line.append(f"  {one.error}", style="not bold red")
    branch = tree.add(line)
    for replica in one.replicas:
        branch.add(_replica(replica, now))
    if one.more:
        branch.add(Text(f"and {one.more} more", style="dim"))
    for failure in one.failures:
        _add_failure(branch, failure)
    if one.drain is not None:
        _add_drain(branch, one.drain, now)


def _replica(one: ReplicaRow, now: datetime) -> Text:
    style = STYLES[one.tone]
    line = Text(f"{one.mark} ", style=style).append(f"{one.address}", style="default")
    line.append(f"  {one.state}", style=style).append(f", {span(now - one.since)}", style="dim")
    if one.leaving:
        line.append(f"  {one.leaving}", style="magenta")
    if one.cut is not None:
        line.append(f"  {one.cut.told(now)}", style="yellow")
    if one.error:
        line.append(f"  {one.error}", style="red")
    return line


def _add_failure(tree: Tree, one: FailureRow) -> None:
    branch = tree.add(Text(f"✘ {one.title}", style="red"))
    for text in one.output:
        branch.add(Text(text, style="dim"))


def _add_drain(tree: Tree, one: DrainRow, now: datetime) -> None:
    line = Text("running requests: ").append(one.running, style="bold")
    if one.cut is not None:
        line.append(f"  {one.cut.told(now)}", style="not bold yellow")
    branch = tree.add(line)
    for load in one.loads:
        branch.add(Text(f"{load.router}: {load.running}", style="dim"))


def _add_routers(tree: Tree, shown: DeploymentDetail) -> None:
    if not shown.has_routers:
        tree.add(styled(shown.router_summary))
        return
    summary = shown.router_summary
    branch = tree.add(
        Text("routers", style="bold").append(f"  {summary.text}", style=f"not bold {STYLES[summary.tone]}")
    )
    for one in shown.routers:
        style = STYLES[one.state.tone]
        line = Text(f"{one.mark} ", style=style).append(one.name, style="default")
        branch.add(line.append(f"  {one.state.text}", style=style).append(f"  epoch {one.epoch}", style="dim"))


def _add_refused(tree: Tree, refused: tuple[RefusedRow, ...], total: int) -> None:
    if not total:
        return
    branch = tree.add(Text(f"refused messages: {total}", style="bold"))
    for one in refused:
        branch.add(Text(f"{clock(one.at)} UTC  {one.text}", style="yellow"))
