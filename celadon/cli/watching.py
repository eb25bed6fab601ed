"""``celadon rollout watch``: a rollout as it goes, until its end."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, Self, assert_never

from celadon.cli.access.answers import no_such_rollout
from celadon.cli.access.opening import open_access
from celadon.cli.access.protocol import Access
from celadon.cli.ending import ExitCode
from celadon.cli.output import OutputFormat, print_line, print_one_of_many, print_text
from celadon.cli.patience import Patience, outlasting
from celadon.cli.target_choice import TargetChoice
from celadon.cli.tree import describe_outcome, rollout_tree
from celadon.client.rollout_view import RolloutView
from celadon.client.wording import in_words, revision_name
from celadon.domain.decisions.workflow_condition import WorkflowCondition
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.moments import clock, span
from celadon.domain.language.names import RolloutId
from celadon.domain.language.states import RolloutOutcome, RouteSetState
from celadon.table.records.deployments import DeploymentView, SetView
from celadon.table.records.rollouts import RolloutRecord
from celadon.terminal import live_picture

REDRAWS_A_SECOND: Final = 4


class Screen(Protocol):
    """Where a rollout is shown as it goes."""

    def show(self, view: RolloutView) -> None:
        """Show how it stands now."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""


class TreeScreen:
    """A live tree in a terminal; the last picture stays."""

    def __init__(self) -> None:
        """Prepare to draw on standard output."""
        self._view: RolloutView | None = None
        self._live = live_picture(
            lambda: "" if self._view is None else rollout_tree(self._view),
            redraws_a_second=REDRAWS_A_SECOND,
        )

    def show(self, view: RolloutView) -> None:
        """Draw anew; spans and timers run on between two views."""
        self._view = view

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture, whole."""
        self._live.vertical_overflow = "visible"
        self._live.stop()


class LineScreen:
    """A line for each change, or a JSON object a line."""

    def __init__(self, output: OutputFormat, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Write to standard output; ``now`` is the clock by which lines and timers are told."""
        self._output = output
        self._now = now
        self._said = ""
        self._next_step = ""

    def show(self, view: RolloutView) -> None:
        """Write a line when something has changed."""
        said = _state_line(view)
        if said == self._said:
            return
        self._said = said
        if self._output.is_for_programs:
            print_one_of_many(view, self._output)
            return
        print_line(f"{clock(self._now())}  {said}{self._news(view)}")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line has been flushed."""

    def _news(self, view: RolloutView) -> str:
        """Return the timers and the next step, when that is another one than before."""
        told = ""
        if view.status is not None:
            now = self._now()
            told = "".join(f" · {one.name} in {span(one.fires_at - now)}" for one in view.status.timers)
            if view.status.holding:
                told += f" · holding: {view.status.holding}"
        if view.next_step != self._next_step:
            self._next_step = view.next_step
            told += f" · next: {view.next_step}" if view.next_step else ""
        return told


class NoScreen:
    """Shows nothing."""

    def show(self, view: RolloutView) -> None:
        """Show nothing."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


async def watch(
    deployment: str,
    rollout: int | None,
    target: TargetChoice,
    output: OutputFormat,
    timeout: timedelta | None,
) -> ExitCode:
    """Show a rollout until it has ended; done when it was promoted, else failed.

    Raises:
        CommandError: Celadon is not there, or the rollout took longer than the person would wait.
        RefusedError: there is no such deployment or rollout.

    """
    async with open_access(target) as access:
        view = await access.view(deployment)
        latest = None if view.deployment is None else view.deployment.rollout
        chosen = rollout or (None if latest is None else latest.rollout)
        if chosen is None:
            raise refuse(
                RefusalCode.NO_SUCH_ROLLOUT,
                f"{deployment} has no rollout yet that could be watched",
                "start one with 'celadon deploy -f FILE'",
            )
        if rollout is not None and await access.rollout(deployment, RolloutId(rollout)) is None:
            raise no_such_rollout(deployment, rollout)
        screen = screen_of(output)
        what = f"rollout {chosen} of {deployment} has not ended"
        async with Patience(timeout).waiting(what, "it goes on"):
            record = await _show_to_end(access, deployment, RolloutId(chosen), screen)
    if output is OutputFormat.TEXT:
        _print_ending(record)
    return exit_code_of(record.outcome)


async def watch_until_end(access: Access, deployment: str, rollout: RolloutId, output: OutputFormat) -> ExitCode:
    """Show a rollout until it has ended; done when it was promoted, else failed.

    Raises:
        RefusedError: the rollout is unknown.

    """
    record = await _show_to_end(access, deployment, rollout, screen_of(output))
    if output is OutputFormat.TEXT:
        _print_ending(record)
    return exit_code_of(record.outcome)


async def follow_to_end(access: Access, deployment: str, rollout: RolloutId, output: OutputFormat) -> RolloutRecord:
    """Wait until a rollout has ended, which is shown to people alone; return how. Errors as for watching."""
    screen: Screen = NoScreen() if output.is_for_programs else screen_of(output)
    record = await _show_to_end(access, deployment, rollout, screen)
    if output is OutputFormat.TEXT:
        _print_ending(record)
    return record


def screen_of(output: OutputFormat) -> Screen:
    """Return where a rollout is shown: a live tree in a terminal, lines elsewhere."""
    return TreeScreen() if output is OutputFormat.TEXT and sys.stdout.isatty() else LineScreen(output)


async def _show_to_end(access: Access, deployment: str, rollout: RolloutId, screen: Screen) -> RolloutRecord:
    async with access.follow(deployment, rollout) as views:
        with screen:
            async for view in views:
                screen.show(view)
    record = await outlasting(lambda: access.rollout(deployment, rollout))
    if record is None:
        raise no_such_rollout(deployment, rollout)
    return record


def exit_code_of(outcome: RolloutOutcome | None) -> ExitCode:
    """Return what the shell is told of a rollout's end: only a promotion is a success."""
    return ExitCode.DONE if outcome is RolloutOutcome.PROMOTED else ExitCode.FAILED


def _print_ending(record: RolloutRecord) -> None:
    move = f"{revision_name(record.from_revision)} → {revision_name(record.to_revision)}"
    print_text(f"Rollout {record.rollout} of {record.deployment} ({move}): {describe_outcome(record)}")


def _state_line(view: RolloutView) -> str:
    """Return what a change is judged by."""
    phase = view.phase.value if view.phase is not None else "registering"
    counts = _counts(view.deployment) if view.deployment is not None else ""
    return f"{phase}{counts}{'' if view.stuck is None else _stuck(view.stuck)}"


def _stuck(condition: WorkflowCondition) -> str:
    """Return why a rollout does not get on, without what changes at each attempt."""
    why = f" ({condition.message})" if condition.message else ""
    return f" · does not get on: its workflow is {in_words(condition.state.value)}{why}"


def _counts(deployment: DeploymentView) -> str:
    rollout = deployment.rollout
    told = f" · live {revision_name(deployment.live_revision)}"
    if rollout is not None and rollout.outcome is not None:
        return f"{told} · {rollout.outcome.value}"
    for one in deployment.sets:
        if one.colour is not None:
            told += f" · {one.colour.value} {_set_counts(one)}"
    silent = [router.router for router in deployment.routers if not router.acknowledged]
    return f"{told} · silent: {', '.join(silent)}" if silent else told


def _set_counts(one: SetView) -> str:
    match one.state:
        case RouteSetState.OPEN:
            error = f" ({one.last_error})" if one.last_error and one.healthy < one.wanted else ""
            return f"{one.healthy}/{one.wanted} healthy{error}"
        case RouteSetState.DRAINING:
            running = "unknown" if one.running_requests is None else one.running_requests
            return f"drains, {running} requests running"
        case RouteSetState.GONE:
            return "gone"
        case _ as unreachable:
            assert_never(unreachable)
