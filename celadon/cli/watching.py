"""``celadon rollout watch``: a rollout as it goes, until its end."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, Self

from celadon.cli.access.answers import no_such_rollout
from celadon.cli.access.opening import open_access
from celadon.cli.access.protocol import Access
from celadon.cli.output import OutputFormat, print_line, print_one_of_many, print_text
from celadon.cli.patience import Patience, outlasting
from celadon.cli.target import TargetChoice
from celadon.cli.tree import fitting_tree, outcome_line, rollout_tree
from celadon.domain.decisions.workflow_condition import WorkflowCondition
from celadon.domain.language.errors import RefusalCode, refuse
from celadon.domain.language.moments import clock
from celadon.domain.language.names import RolloutId
from celadon.domain.language.states import RolloutOutcome
from celadon.ending import ExitCode
from celadon.service.rollout_view import RolloutView
from celadon.service.rollout_words import in_words
from celadon.service.views.deployment import DeploymentDetail, UnregisteredDetail, deployment_detail
from celadon.service.views.rollout import rollout_summary
from celadon.service.views.sets import SetDetail
from celadon.table.records.rollouts import RolloutRecord
from celadon.terminal import Shown, fits_on, live_picture

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
        self._is_over = False
        self._live = live_picture(self._draw, redraws_a_second=REDRAWS_A_SECOND)

    def show(self, view: RolloutView) -> None:
        """Draw anew; spans and timers run on between two views."""
        self._view = view

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture, whole."""
        self._is_over = True
        self._live.vertical_overflow = "visible"
        self._live.stop()

    def _draw(self) -> Shown:
        """Return as much as the terminal has lines for."""
        if self._view is None:
            return ""
        if self._is_over:
            return rollout_tree(self._view)
        return fitting_tree(self._view, lambda tree: fits_on(self._live.console, tree))


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
        now = self._now()
        shown = deployment_detail(view, now)
        said = _state_line(view, shown) + _next(shown)
        if said == self._said:
            return
        self._said = said
        if self._output.is_for_programs:
            print_one_of_many(view, self._output)
            return
        print_line(f"{clock(now)} UTC  {_state_line(view, shown)}{self._news(shown, now)}")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line has been flushed."""

    def _news(self, shown: DeploymentDetail | UnregisteredDetail, now: datetime) -> str:
        """Return timers, notes, and the next step when that is another one than before."""
        text = ""
        if isinstance(shown, DeploymentDetail):
            text = "".join(f" · {one.told(now)}" for one in shown.timers)
            text += "".join(f" · {one.text}" for one in shown.notes)
            text += f" · {_next(shown)}" if shown.next is not None else ""
        if shown.next_step != self._next_step:
            self._next_step = shown.next_step
            text += f" · next: {shown.next_step}" if shown.next_step else ""
        return text


def _next(shown: DeploymentDetail | UnregisteredDetail) -> str:
    """Return what waits for its turn; empty when nothing does."""
    return f"next: {shown.next.text}" if isinstance(shown, DeploymentDetail) and shown.next is not None else ""


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
        async with Patience(timeout).waiting(what, f"it goes on; come back with 'celadon rollout watch {deployment}'"):
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
    summary = rollout_summary(record, datetime.now(UTC))
    print_text(f"Rollout {summary.number} of {summary.deployment} ({summary.move}): {outcome_line(summary)}")


def _state_line(view: RolloutView, shown: DeploymentDetail | UnregisteredDetail) -> str:
    """Return what a change is judged by."""
    phase = in_words(view.phase.value) if view.phase is not None else "registering"
    counts = _counts(shown) if isinstance(shown, DeploymentDetail) else ""
    return f"{phase}{counts}{'' if view.stuck is None else _stuck(view.stuck)}"


def _stuck(condition: WorkflowCondition) -> str:
    """Return why a rollout does not get on, without what changes at each attempt."""
    why = f" ({condition.message})" if condition.message else ""
    return f" · does not get on: its workflow is {in_words(condition.state.value)}{why}"


def _counts(shown: DeploymentDetail) -> str:
    text = f" · live {shown.live.text}"
    if shown.rollout is not None and not shown.rollout.is_under_way:
        return f"{text} · {shown.rollout.phase.text}"
    for one in shown.sets:
        if one.colour in {"blue", "green"}:
            text += f" · {one.colour} {_set_counts(one)}"
    silent = [router.name for router in shown.routers if router.is_silent]
    return f"{text} · silent: {', '.join(silent)}" if silent else text


def _set_counts(one: SetDetail) -> str:
    if one.health is not None:
        return f"{one.health.text} ({one.error})" if one.error else one.health.text
    return one.traffic.text if one.drain is None else f"{one.traffic.text}, running requests: {one.drain.running}"
