"""``celadon rollout watch``: a rollout as it goes, until its end."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, Self, assert_never

from rich.console import Console
from rich.live import Live

from celadon.cli.ending import ExitCode
from celadon.cli.following import following
from celadon.cli.moments import clock, span
from celadon.cli.output import OutputFormat
from celadon.cli.session import Session, open_session
from celadon.cli.tree import describe_outcome, revision_name, rollout_tree
from celadon.client.overview import RolloutView
from celadon.domain.errors import RefusalCode, refuse
from celadon.domain.names import RolloutId
from celadon.domain.states import RolloutOutcome, RouteSetState
from celadon.table.history import RolloutRecord
from celadon.table.overview import DeploymentView, SetView

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
        self._live = Live(
            console=Console(highlight=False),
            get_renderable=lambda: "" if self._view is None else rollout_tree(self._view),
            refresh_per_second=REDRAWS_A_SECOND,
            vertical_overflow="crop",
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

    def __init__(self, output: OutputFormat) -> None:
        """Write to standard output."""
        self._output = output
        self._said = ""
        self._next_step = ""

    def show(self, view: RolloutView) -> None:
        """Write a line when something has changed."""
        said = _state_line(view)
        if said == self._said:
            return
        self._said = said
        if self._output is OutputFormat.JSON:
            sys.stdout.write(view.model_dump_json() + "\n")
        else:
            sys.stdout.write(f"{clock(datetime.now(UTC))}  {said}{self._news(view)}\n")
        sys.stdout.flush()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line has been flushed."""

    def _news(self, view: RolloutView) -> str:
        """Return the timers and the next step, when that is another one than before."""
        told = ""
        if view.status is not None:
            now = datetime.now(UTC)
            told = "".join(f" · {one.name} in {span(one.fires_at - now)}" for one in view.status.timers)
        if view.next_step != self._next_step:
            self._next_step = view.next_step
            told += f" · next: {view.next_step}" if view.next_step else ""
        return told


async def watch(deployment: str, rollout: int | None, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Show a rollout until it has ended; done when it was promoted, else failed.

    Raises:
        CommandError: Postgres is not there.
        RefusedError: there is no such deployment or rollout.

    """
    async with open_session(data_dir) as session:
        view = await session.view(deployment)
        latest = None if view.deployment is None else view.deployment.rollout
        chosen = rollout or (None if latest is None else latest.rollout)
        if chosen is None:
            raise refuse(
                RefusalCode.NO_SUCH_ROLLOUT,
                f"{deployment} has no rollout yet that could be watched",
                "start one with 'celadon deploy -f FILE'",
            )
        return await watch_until_end(session, deployment, RolloutId(chosen), output)


async def watch_until_end(session: Session, deployment: str, rollout: RolloutId, output: OutputFormat) -> ExitCode:
    """Show a rollout of an open session until it has ended.

    Raises:
        CommandError: the rollout is unknown.

    """
    terminal = output is OutputFormat.TEXT and sys.stdout.isatty()
    screen: Screen = TreeScreen() if terminal else LineScreen(output)
    async with following(session, deployment, rollout) as follower:
        with screen:
            async for view in follower.views():
                screen.show(view)
        record = await follower.record()
    if record is None:
        raise refuse(
            RefusalCode.NO_SUCH_ROLLOUT,
            f"{deployment} has no rollout {rollout}",
            f"list them with 'celadon rollout history {deployment}'",
        )
    if output is OutputFormat.TEXT:
        Console(highlight=False).print(_ending(record), soft_wrap=True)
    return exit_code_of(record.outcome)


def exit_code_of(outcome: RolloutOutcome | None) -> ExitCode:
    """Return what the shell is told of a rollout's end: only a promotion is a success."""
    return ExitCode.DONE if outcome is RolloutOutcome.PROMOTED else ExitCode.FAILED


def _ending(record: RolloutRecord) -> str:
    return (
        f"Rollout {record.rollout} of {record.deployment} "
        f"({revision_name(record.from_revision)} → {revision_name(record.to_revision)}): {describe_outcome(record)}"
    )


def _state_line(view: RolloutView) -> str:
    """Return what a change is judged by."""
    phase = view.phase.value if view.phase is not None else "registering"
    return f"{phase}{_counts(view.deployment) if view.deployment is not None else ''}"


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
