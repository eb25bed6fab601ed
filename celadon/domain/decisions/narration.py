"""What a rollout says of itself to people: its details in the Temporal UI and its next step."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, assert_never

from celadon.domain.decisions.gate import PROMOTION_TIMER
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.durations import format_duration
from celadon.domain.language.progress import HoldKind, Progress
from celadon.domain.language.shown_text import code_span
from celadon.domain.language.states import RolloutPhase

_UNTIL: Final[Mapping[HoldKind, str]] = {
    HoldKind.FROZEN: "no timer promotes until the freeze has ended",
    HoldKind.KEEPER_SILENT: "no timer promotes until a keeper has looked at green; start a worker: celadon worker",
    HoldKind.BLUE_CHANGED: "this rollout cannot switch any more; abort it: celadon abort {deployment}",
    HoldKind.NOT_BY_ITSELF: "no timer promotes, a person decides",
}


def holding_reason(progress: Progress, quote: Callable[[str], str] = str) -> str:
    """Return why no timer decides now, before the switch or in the bake; empty when timers decide.

    Args:
        progress: the rollout.
        quote: how words of people are written.

    """
    parts: tuple[str, ...]
    match progress.phase:
        case RolloutPhase.PROVISIONING:
            parts = (_pause(progress, quote),)
        case RolloutPhase.VERIFYING | RolloutPhase.AWAITING_PROMOTION:
            parts = (_pause(progress, quote), _too_many_regressions(progress), _hold(progress))
        case RolloutPhase.BAKING:
            parts = (_pause(progress, quote), _pending_abort(progress, quote))
        case RolloutPhase.DRAINING:
            parts = (_pending_abort(progress, quote),)
        case _:
            parts = ()
    return "; ".join(part for part in parts if part)


def _pause(progress: Progress, quote: Callable[[str], str]) -> str:
    pause = progress.paused
    if pause is None:
        return ""
    why = f" ({quote(pause.reason)})" if pause.reason else ""
    end = (
        f"until it is resumed: celadon resume {progress.deployment}"
        if pause.until is None
        else f"until {pause.until:%Y-%m-%d %H:%M:%S} UTC, or celadon resume {progress.deployment}"
    )
    return f"paused since {pause.since:%Y-%m-%d %H:%M:%S} UTC by {quote(pause.by)}{why}: all timers stand still {end}"


def _too_many_regressions(progress: Progress) -> str:
    if not progress.automation_suspended:
        return ""
    return f"green regressed {progress.regressions} times, more than max_regressions: timers stopped, a person decides"


def _hold(progress: Progress) -> str:
    hold = progress.hold
    if hold is None or progress.phase is not RolloutPhase.AWAITING_PROMOTION:
        return ""
    until = _UNTIL[hold.kind].format(deployment=progress.deployment)
    return f"since {hold.since:%Y-%m-%d %H:%M:%S} UTC: {hold.why}; {until}"


def _pending_abort(progress: Progress, quote: Callable[[str], str]) -> str:
    pending = progress.pending
    if pending is None:
        return ""
    by, since = quote(pending.request.command.by), f"{pending.since:%Y-%m-%d %H:%M:%S} UTC"
    until = (
        "traffic goes back as soon as blue can take it"
        if progress.phase is RolloutPhase.BAKING
        else "blue drains; traffic goes back if blue can take it before it is gone"
    )
    return f"an abort by {by} is pending since {since}: {pending.why}; {until}"


def next_step(progress: Progress) -> str:
    """Return what a person can do now, with the command."""
    name = progress.deployment
    match progress.phase:
        case RolloutPhase.PROVISIONING | RolloutPhase.VERIFYING:
            return f"wait, or abort: celadon abort {name}"
        case RolloutPhase.AWAITING_PROMOTION if progress.hold is not None:
            return _next_step_of_hold(progress.hold.kind, name)
        case RolloutPhase.AWAITING_PROMOTION:
            return f"promote: celadon promote {name} --revision {progress.to_revision} · abort: celadon abort {name}"
        case RolloutPhase.SWITCHING:
            return "wait for the routers' acknowledgements"
        case RolloutPhase.BAKING | RolloutPhase.DRAINING if progress.pending is not None:
            return f"wait for healthy replicas of blue: celadon rollout status {name}"
        case RolloutPhase.BAKING:
            return f"wait, or go back to blue: celadon rollback {name}"
        case RolloutPhase.DRAINING:
            return f"wait; while blue is healthy, going back is possible: celadon rollback {name}"
        case RolloutPhase.ROLLING_BACK:
            return "wait until green has drained"
        case RolloutPhase.COMPLETED:
            return f"start the next rollout: celadon deploy -f FILE · see this one: celadon rollout history {name}"
        case _ as unreachable:
            assert_never(unreachable)


def _next_step_of_hold(kind: HoldKind, name: str) -> str:
    match kind:
        case HoldKind.FROZEN:
            return f"wait for the end of the freeze, or abort: celadon abort {name}"
        case HoldKind.KEEPER_SILENT:
            return f"start a worker: celadon worker · abort: celadon abort {name}"
        case HoldKind.BLUE_CHANGED:
            return f"abort and start a new rollout: celadon abort {name}"
        case HoldKind.NOT_BY_ITSELF:
            return f"promote: celadon promote {name} · abort: celadon abort {name}"
        case _ as unreachable:
            assert_never(unreachable)


def details(progress: Progress, timers: tuple[tuple[str, datetime], ...], silent: tuple[str, ...]) -> str:
    """Return the Markdown that the Temporal UI shows as the workflow's current details.

    Words of programs stand in code spans, so that none of them becomes a link, an image or HTML.
    """
    name = progress.deployment
    revisions = f"**{_revision(progress.from_revision)}** → **{_revision(progress.to_revision)}**"
    lines = [
        f"### {name}: {progress.phase.value.replace('_', ' ')}",
        "",
        f"- revision: {revisions} (rollout {progress.rollout})",
        f"- live: **{_live(progress)}**",
        f"- since: {progress.since:%Y-%m-%d %H:%M:%S} UTC",
    ]
    green = progress.green
    if green is not None:
        error = f" · last error: {code_span(green.last_error)}" if green.last_error else ""
        counts = f"{green.running} of {green.wanted} run, {green.ready} healthy, {green.required} required"
        lines.append(f"- green: {counts}{error}")
    lines += [f"- timer: {timer} at {at:%Y-%m-%d %H:%M:%S} UTC" for timer, at in timers]
    if not timers and progress.phase is RolloutPhase.AWAITING_PROMOTION and progress.hold is None:
        lines.append("- timer: none, a person decides")
    held = holding_reason(progress, code_span)
    if held:
        lines.append(f"- **holding**: {held}")
    if silent:
        routers = ", ".join(code_span(router) for router in silent)
        lines.append(f"- **routers silent**: {routers}: blue is kept until they acknowledge or are gone")
    lines += ["", *_commands(progress)]
    return "\n".join(lines)


def request_details(requested_by: str, reason: str) -> str:
    """Return the Markdown that the Temporal UI shows of a rollout's request, in which people's words are text."""
    return f"requested by {code_span(requested_by)}" + (f"\n\n{code_span(reason)}" if reason.strip() else "")


def _revision(number: int | None) -> str:
    return "nothing" if number is None else f"r{number}"


def _live(progress: Progress) -> str:
    switched = {RolloutPhase.BAKING, RolloutPhase.DRAINING}
    if progress.phase in switched:
        return f"green, {_revision(progress.to_revision)}"
    return f"blue, {_revision(progress.from_revision)}" if progress.from_revision else "nothing"


def _commands(progress: Progress) -> list[str]:
    identity = workflow_id(progress.deployment)
    match progress.phase:
        case RolloutPhase.AWAITING_PROMOTION:
            payload = f'{{"revision": {progress.to_revision}, "by": "me"}}'
            return [
                "Promote:",
                "```",
                f"temporal workflow update execute -w {identity} --name promote --input '{payload}'",
                "```",
                "Abort: **Request Cancellation**, or",
                "```",
                f"temporal workflow signal -w {identity} --name abort",
                "```",
            ]
        case RolloutPhase.BAKING | RolloutPhase.DRAINING:
            return [
                "Go back to blue: **Request Cancellation**, or",
                "```",
                f"temporal workflow update execute -w {identity} --name rollback",
                "```",
            ]
        case RolloutPhase.PROVISIONING | RolloutPhase.VERIFYING:
            return [
                "Abort: **Request Cancellation**, or",
                "```",
                f"temporal workflow signal -w {identity} --name abort",
                "```",
            ]
        case RolloutPhase.SWITCHING | RolloutPhase.ROLLING_BACK | RolloutPhase.COMPLETED:
            return [next_step(progress)]
        case _ as unreachable:
            assert_never(unreachable)


def timer_summary(name: str, at: datetime, now: datetime) -> str:
    """Return what a timer's bar says in the UI's timeline."""
    verb = "promotes" if name == PROMOTION_TIMER else "ends"
    return f"{name}: {verb} in {format_duration(at - now)} unless a message comes first"
