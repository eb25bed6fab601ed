"""How the demonstration shows itself: a live view in a terminal, else a line for each thing that happens."""

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, Self, TextIO

from pydantic import BaseModel, ConfigDict
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel

from celadon.domain.language.shown_text import escape_json
from celadon.domain.language.states import Colour, RolloutPhase, RouteHealthStatus, RouteSetState
from celadon.stack.demo.generator import LoadCounts
from celadon.stack.demo.summary import Summary
from celadon.standard_streams import write_line
from celadon.table.records.deployments import DeploymentView, SetView
from celadon.terminal import Table, TerminalConsole, Text

REPORT_EVERY: Final = timedelta(seconds=5)
"""How often a screen without a live view says how the load is doing."""

REFRESH_PER_SECOND: Final = 4.0


class Frame(BaseModel):
    """All that can be seen at one moment."""

    model_config = ConfigDict(frozen=True)

    step: str
    """What the demonstration is doing, in words."""
    deployment: DeploymentView | None
    load: LoadCounts | None
    timers: dict[str, datetime]
    """What will happen by itself, and when."""


class Screen(Protocol):
    """Where the demonstration is shown."""

    def say(self, event: str, text: str, /, **facts: object) -> None:
        """Tell of something that happened: its name, a sentence for people, and what programs want to know."""

    def show(self, frame: Frame) -> None:
        """Show how things stand now."""

    def conclude(self, summary: Summary, complaints: tuple[str, ...]) -> None:
        """Tell the end: the figures, and each thing that must not happen and did."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""


class JsonScreen:
    """A JSON line for each thing that happens; the last one is the summary."""

    def __init__(self, output: TextIO | None = None) -> None:
        """Write to ``output``, by default standard output."""
        self._output = output or sys.stdout
        self._reports = _Reports()

    def say(self, event: str, text: str, /, **facts: object) -> None:
        """Write a line."""
        self._write(_Line(event=event, text=text, **facts))

    def show(self, frame: Frame) -> None:
        """Write the load's counts from time to time, and each change of phase."""
        for event, text in self._reports.of(frame):
            self.say(event, text)

    def conclude(self, summary: Summary, complaints: tuple[str, ...]) -> None:
        """Write each complaint, then the summary."""
        for complaint in complaints:
            self.say("complaint", complaint)
        self._write(summary)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line has been flushed."""

    def _write(self, line: BaseModel) -> None:
        self._output.write(escape_json(line.model_dump_json()) + "\n")
        self._output.flush()


class LineScreen:
    """A line of text for each thing that happens, for terminals that are none."""

    def __init__(self, output: TextIO | None = None) -> None:
        """Write to ``output``, by default standard output."""
        self._output = output or sys.stdout
        self._began = time.monotonic()
        self._reports = _Reports()

    def say(self, _event: str, text: str, /, **_facts: object) -> None:
        """Write a line with the seconds since the beginning."""
        self._write(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def show(self, frame: Frame) -> None:
        """Write the load's counts from time to time, and each change of phase."""
        for event, text in self._reports.of(frame):
            self.say(event, text)

    def conclude(self, summary: Summary, complaints: tuple[str, ...]) -> None:
        """Write the figures, one a line, and the verdict."""
        for name, value in summary.model_dump(mode="json").items():
            self._write(f"{name:>22}  {_plain(value)}")
        for line in _verdict(complaints):
            self._write(line)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line has been flushed."""

    def _write(self, line: str) -> None:
        write_line(line, self._output)


class TerminalScreen:
    """A live view: where the rollout stands, both colours, what the load gets, and what will happen by itself."""

    def __init__(self, console: Console | None = None) -> None:
        """Show on ``console``, by default the terminal of standard output."""
        self._console = console or TerminalConsole()
        self._began = time.monotonic()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._shown_at = 0.0

    def say(self, _event: str, text: str, /, **_facts: object) -> None:
        """Write a line above the live view, where it stays."""
        line = Text(f"{time.monotonic() - self._began:6.1f} s  ", style="dim")
        self._live.console.print(line.append(text, style="not dim"), soft_wrap=True)

    def show(self, frame: Frame) -> None:
        """Draw anew, at most some times a second."""
        now = time.monotonic()
        if now - self._shown_at >= 1 / REFRESH_PER_SECOND:
            self._shown_at = now
            self._live.update(render_frame(frame, datetime.now(UTC)), refresh=True)

    def conclude(self, summary: Summary, complaints: tuple[str, ...]) -> None:
        """Replace the live view by the figures and the verdict."""
        self._live.stop()
        figures = Table.of_pairs()
        for name, value in summary.model_dump(mode="json").items():
            figures.add_row(Text(name, style="dim"), _plain(value))
        self._console.print(Panel(figures, title="summary", title_align="left", expand=False))
        for line in _verdict(complaints):
            self._console.print(Text(line, style="bold red" if complaints else "bold green"), soft_wrap=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self._live.stop()


class _Line(BaseModel):
    """One JSON line before the last."""

    model_config = ConfigDict(extra="allow")

    event: str
    text: str


class _Reports:
    """Decides what a screen without a live view says of a frame."""

    def __init__(self) -> None:
        self._phase: RolloutPhase | None = None
        self._counted_at = 0.0

    def of(self, frame: Frame) -> list[tuple[str, str]]:
        """Return the lines for a frame as names and sentences; most frames have none."""
        lines: list[tuple[str, str]] = []
        rollout = frame.deployment.rollout if frame.deployment else None
        if rollout is not None and rollout.phase is not self._phase:
            self._phase = rollout.phase
            lines.append(("phase", f"rollout {rollout.rollout} to r{rollout.to_revision}: {rollout.phase}"))
        now = time.monotonic()
        if frame.load is not None and now - self._counted_at >= REPORT_EVERY.total_seconds():
            self._counted_at = now
            lines.append(("load", _describe_load(frame.load)))
        return lines


def render_frame(frame: Frame, now: datetime) -> RenderableType:
    """Return what the live view draws of a frame."""
    parts: list[RenderableType] = [Text(frame.step, style="bold")]
    view = frame.deployment
    if view is not None:
        parts.append(_render_phases(view))
        colours = Table(expand=True, box=None, header_style="dim", pad_edge=False)
        for heading in ("colour", "revision", "traffic", "replicas", "running"):
            colours.add_column(heading)
        for one in view.sets:
            colours.add_row(*_render_set(one))
        parts.append(colours)
    if frame.load is not None:
        parts.append(_render_load(frame.load))
    timers = [f"{name} in {max(0.0, (at - now).total_seconds()):.0f} s" for name, at in frame.timers.items()]
    parts.append(Text(" · ".join(timers), style="yellow"))
    return Panel(Group(*parts), title="celadon demo", title_align="left", padding=(0, 1))


def _render_phases(view: DeploymentView) -> Text:
    line = Text(f"epoch {view.epoch}   ")
    rollout = view.rollout
    if rollout is None:
        return line
    way_back = (RolloutPhase.ROLLING_BACK, RolloutPhase.COMPLETED)
    way_on = tuple(phase for phase in RolloutPhase if phase is not RolloutPhase.ROLLING_BACK)
    for phase in way_back if rollout.phase is RolloutPhase.ROLLING_BACK else way_on:
        line.append(f"{phase} ", style="bold reverse green" if phase is rollout.phase else "dim")
    return line


def _render_set(one: SetView) -> tuple[Text, ...]:
    colour = Text(one.colour or "", style="bold green" if one.colour is Colour.GREEN else "bold blue")
    if one.is_live:
        traffic = Text("● live", style="bold")
    elif one.state is RouteSetState.DRAINING:
        traffic = Text("○ drains")
    else:
        traffic = Text("○ stands by", style="dim")
    replicas = Text()
    for replica in one.replicas:
        style = "green" if replica.health is RouteHealthStatus.HEALTHY else "yellow"
        replicas.append(f":{replica.port} {replica.health}  ", style=style)
    return (
        colour,
        Text(f"r{one.revision}"),
        traffic,
        replicas,
        Text("" if one.running_requests is None else str(one.running_requests)),
    )


def _render_load(load: LoadCounts) -> Text:
    lost = load.failed + load.truncated
    line = Text(f"{load.sent} requests   ")
    for revision, count in sorted(load.answered_by.items()):
        line.append(f"{revision} {count}   ")
    line.append(f"streams open {load.open_streams}   late {load.late}   ")
    line.append(f"failed {load.failed}   truncated {load.truncated}", style="bold red" if lost else "green")
    return line


def _describe_load(load: LoadCounts) -> str:
    answered = ", ".join(f"{revision} {count}" for revision, count in sorted(load.answered_by.items())) or "none yet"
    return (
        f"{load.sent} requests, answered by {answered}; {load.open_streams} streams open; "
        f"{load.failed} failed, {load.truncated} truncated, {load.late} late"
    )


def _plain(value: object) -> str:
    return "unknown" if value is None else str(value)


def _verdict(complaints: tuple[str, ...]) -> tuple[str, ...]:
    if not complaints:
        return ("Nothing was lost.",)
    return ("The demonstration failed:", *(f"- {complaint}" for complaint in complaints))
