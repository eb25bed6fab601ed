"""What a rollout says of itself to people: its details in the Temporal UI and its next step."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, assert_never

from celadon.domain.decisions.approvals import counted, tell_approvals, tell_missing
from celadon.domain.decisions.freezing import freeze_of_rollout, freeze_told
from celadon.domain.decisions.gate import PROMOTION_TIMER
from celadon.domain.decisions.lost_green import ROLLBACK_TIMER, told_of_loss
from celadon.domain.decisions.pause import pause_told
from celadon.domain.decisions.successors import waits_told
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.durations import format_duration
from celadon.domain.language.growth import Growth
from celadon.domain.language.moments import utc
from celadon.domain.language.progress import HoldKind, Progress
from celadon.domain.language.shown_text import code_span
from celadon.domain.language.states import Channel, RolloutPhase
from celadon.domain.language.window import AppliesTo, Window

_UNTIL: Final[Mapping[HoldKind, str]] = {
    HoldKind.FROZEN: "no timer promotes until the freeze has ended",
    HoldKind.KEEPER_SILENT: "no timer promotes until a keeper has looked at green; start a worker: celadon worker",
    HoldKind.BLUE_CHANGED: "this rollout cannot switch any more; abort it: celadon abort {deployment}",
    HoldKind.NOT_BY_ITSELF: "no timer promotes until a person does, or sets its timers: celadon promote {deployment}, "
    "celadon reschedule {deployment}",
    HoldKind.WINDOW: "no timer promotes until they open{until}; a person can: celadon promote {deployment}{force}",
    HoldKind.NO_ROOM: "no timer promotes until there is room; fewer replicas make some: "
    "celadon deployment scale {deployment} N",
    HoldKind.APPROVALS: "the timer is due and waits for them: celadon promote {deployment}",
}

_TIMED: Final = frozenset({RolloutPhase.PROVISIONING, RolloutPhase.VERIFYING, RolloutPhase.AWAITING_PROMOTION})


def holding_reason(progress: Progress, now: datetime, quote: Callable[[str], str] = str) -> str:
    """Return why no timer decides now, before the switch or in the bake; empty when timers decide.

    Args:
        progress: the rollout.
        now: the moment.
        quote: how words of people are written.

    """
    parts: tuple[str, ...]
    match progress.phase:
        case RolloutPhase.PROVISIONING:
            parts = (_pause(progress, quote), _room(progress))
        case RolloutPhase.VERIFYING if progress.growth is not None:
            parts = (_pause(progress, quote), _room(progress))
        case RolloutPhase.VERIFYING | RolloutPhase.AWAITING_PROMOTION:
            parts = (
                _pause(progress, quote),
                _freeze(progress, now, quote),
                _too_many_regressions(progress),
                _hold(progress, now, quote),
            )
        case RolloutPhase.BAKING:
            parts = (_pause(progress, quote), told_of_loss(progress), _pending_abort(progress, quote))
        case RolloutPhase.DRAINING:
            parts = (_pending_abort(progress, quote),)
        case _:
            parts = ()
    return "; ".join(part for part in parts if part)


def timers_told(progress: Progress, quote: Callable[[str], str] = str) -> str:
    """Return who has given a rollout that waits for its switch other timers; empty when nobody has."""
    timers_set = progress.timers_set
    if timers_set is None or progress.phase not in _TIMED:
        return ""
    why = f" ({quote(timers_set.reason)})" if timers_set.reason else ""
    return f"timers set by {quote(timers_set.by)} at {utc(timers_set.at)}{why}"


def _pause(progress: Progress, quote: Callable[[str], str]) -> str:
    pause = progress.paused
    return "" if pause is None else pause_told(pause, progress.deployment, quote)


def _freeze(progress: Progress, now: datetime, quote: Callable[[str], str]) -> str:
    freeze = freeze_of_rollout(progress, now)
    return "" if freeze is None else freeze_told(freeze, progress.deployment, quote)


def _too_many_regressions(progress: Progress) -> str:
    if not progress.automation_suspended:
        return ""
    since = "" if progress.regressed_at is None else f"since {utc(progress.regressed_at)}: "
    return (
        f"{since}green regressed {progress.regressions} times, more than max_regressions "
        f"({progress.policy.max_regressions}); no timer promotes until a person does: celadon promote "
        f"{progress.deployment} --revision {progress.to_revision}"
    )


def _hold(progress: Progress, now: datetime, quote: Callable[[str], str]) -> str:
    hold = progress.hold
    if hold is None or progress.phase is not RolloutPhase.AWAITING_PROMOTION:
        return ""
    if hold.kind is HoldKind.FROZEN and freeze_of_rollout(progress, now) is not None:
        return ""
    at = " (no opening is in sight)" if hold.until is None else f" at {utc(hold.until)}"
    until = _UNTIL[hold.kind].format(deployment=progress.deployment, until=at, force=_force(progress))
    # Somebody may have approved since the table said why.
    why = _missing_approvals(progress, quote) if hold.kind is HoldKind.APPROVALS else hold.why
    return f"since {utc(hold.since)}: {why}; {until}"


def _room(progress: Progress) -> str:
    """Return why green is not opened yet, or does not grow yet; empty when it does not wait for room."""
    hold = progress.hold
    waits_to_open = progress.phase is RolloutPhase.PROVISIONING
    if hold is None or hold.kind is not HoldKind.NO_ROOM or (not waits_to_open and progress.growth is None):
        return ""
    until = "green is opened" if progress.growth is None else f"green grows to {progress.growth.wanted}"
    return (
        f"since {utc(hold.since)}: {hold.why}; {until} as soon as there is room; fewer replicas make "
        f"some: celadon deployment scale {progress.deployment} N"
    )


def growth_told(growth: Growth, quote: Callable[[str], str] = str) -> str:
    """Return what green grows to and who has decided that."""
    why = f" ({quote(growth.reason)})" if growth.reason else ""
    return (
        f"green grows to {growth.wanted}, is verified again, then traffic switches: decided by {quote(growth.by)} at "
        f"{utc(growth.at)}{why}"
    )


def _missing_approvals(progress: Progress, quote: Callable[[str], str]) -> str:
    rule = progress.policy.approvals
    return "" if rule is None else tell_missing(rule, counted(progress.approvals, progress.phase), quote)


def _force(progress: Progress) -> str:
    """Return the flags with which a person promotes outside of the windows; none when no window binds people."""
    binds = any(window.applies_to is AppliesTo.EVERYONE for window in progress.policy.windows)
    return " --force --reason WHY" if binds else ""


def _pending_abort(progress: Progress, quote: Callable[[str], str]) -> str:
    pending = progress.pending
    if pending is None:
        return ""
    command = pending.request.command
    by, since = quote(command.by), utc(pending.since)
    reason = f" ({quote(command.reason)})" if command.reason else ""
    is_baking = progress.phase is RolloutPhase.BAKING
    # Nobody takes a cancellation of Temporal's back, nor what nobody asked for.
    is_withdrawn = pending.request.door is not Channel.CANCEL and not pending.request.lost_green
    ends = (
        *(("a replica of green is healthy again",) if pending.request.lost_green else ()),
        *((f"{by} takes it back: celadon withdraw {progress.deployment}",) if is_withdrawn else ()),
        *((f"the bake is ended: celadon finish {progress.deployment}",) if is_baking else ()),
    )
    until = (
        "traffic goes back as soon as blue can take it"
        if is_baking
        else "blue drains; traffic goes back if blue can take it before it is gone"
    )
    unless = f", unless {', or '.join(ends)}" if ends else ""
    return f"an abort by {by}{reason} is pending since {since}: {pending.why}; {until}{unless}"


def next_step(progress: Progress, now: datetime) -> str:
    """Return what a person can do now, with the command."""
    name = progress.deployment
    held = _held_by(progress, now)
    match progress.phase:
        case RolloutPhase.PROVISIONING | RolloutPhase.VERIFYING:
            return _next_step_of_green(progress)
        case RolloutPhase.AWAITING_PROMOTION if held is not None:
            return _next_step_of_hold(held, name, _force(progress))
        case RolloutPhase.AWAITING_PROMOTION:
            promote = "promote" if progress.policy.approvals is None else "approve"
            return f"{promote}: celadon promote {name} --revision {progress.to_revision} · abort: celadon abort {name}"
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


def _next_step_of_green(progress: Progress) -> str:
    name = progress.deployment
    if _room(progress):
        return _next_step_of_hold(HoldKind.NO_ROOM, name, "")
    if progress.growth is not None:
        return f"wait until green has grown to {progress.growth.wanted}, or abort: celadon abort {name}"
    return f"wait, or abort: celadon abort {name}"


def _held_by(progress: Progress, now: datetime) -> HoldKind | None:
    if freeze_of_rollout(progress, now) is not None:
        return HoldKind.FROZEN
    return None if progress.hold is None else progress.hold.kind


def _next_step_of_hold(kind: HoldKind, name: str, force: str) -> str:
    match kind:
        case HoldKind.FROZEN:
            return f"wait for the end of the freeze, or abort: celadon abort {name}"
        case HoldKind.KEEPER_SILENT:
            return f"start a worker: celadon worker · abort: celadon abort {name}"
        case HoldKind.BLUE_CHANGED:
            return f"abort and start a new rollout: celadon abort {name}"
        case HoldKind.NOT_BY_ITSELF:
            return f"promote: celadon promote {name} · abort: celadon abort {name}"
        case HoldKind.WINDOW:
            return f"wait for the opening, or promote: celadon promote {name}{force} · abort: celadon abort {name}"
        case HoldKind.NO_ROOM:
            return f"wait for room, or make some: celadon deployment scale {name} N · abort: celadon abort {name}"
        case HoldKind.APPROVALS:
            return f"approve: celadon promote {name} · abort: celadon abort {name}"
        case _ as unreachable:
            assert_never(unreachable)


def summary_of(deployment: str) -> str:
    """Return the line that the Temporal UI shows above a rollout."""
    return f"blue-green rollout of **{deployment}**"


def details(
    progress: Progress,
    now: datetime,
    timers: tuple[tuple[str, datetime], ...],
    silent: tuple[str, ...],
    *,
    with_summary: bool = False,
) -> str:
    """Return the Markdown that the Temporal UI shows as the workflow's current details.

    ``with_summary`` begins with the summary, which Temporal does not carry to a run that another one continued as.
    Words of programs stand in code spans, so that none of them becomes a link, an image or HTML.
    """
    name = progress.deployment
    revisions = f"**{_revision(progress.from_revision)}** → **{_revision(progress.to_revision)}**"
    lines = [
        *([summary_of(name), ""] if with_summary else []),
        f"### {name}: {progress.phase.value.replace('_', ' ')}",
        "",
        f"- revision: {revisions} (rollout {progress.rollout})",
        f"- live: **{_live(progress)}**",
        f"- since: {utc(progress.since)}",
    ]
    green = progress.green
    if green is not None:
        error = f" · last error: {code_span(green.last_error)}" if green.last_error else ""
        counts = f"{green.running} of {green.wanted} run, {green.ready} healthy, {green.required} required"
        lines.append(f"- green: {counts}{error}")
    lines += [f"- timer: {timer} at {utc(at)}" for timer, at in timers]
    held = holding_reason(progress, now, code_span)
    timers_text = timers_told(progress, code_span)
    if timers_text:
        lines.append(f"- {timers_text}")
    if progress.growth is not None and progress.phase is RolloutPhase.VERIFYING:
        lines.append(f"- {growth_told(progress.growth, code_span)}")
    rule = progress.policy.approvals
    if rule is not None and (progress.approvals or progress.phase is RolloutPhase.AWAITING_PROMOTION):
        lines.append(f"- approvals: {tell_approvals(rule, progress.approvals, code_span)}")
    if not timers and progress.phase is RolloutPhase.AWAITING_PROMOTION and not held:
        lines.append("- timer: none, a person decides")
    if progress.phase is RolloutPhase.AWAITING_PROMOTION and progress.gated:
        lines += [f"- window: {window_in_words(window)}" for window in progress.policy.windows]
    if held:
        lines.append(f"- **holding**: {held}")
    if progress.successor is not None and progress.outcome is None:
        lines.append(f"- next: {waits_told(progress.successor, code_span)}")
    if silent:
        routers = ", ".join(code_span(router) for router in silent)
        lines.append(f"- **routers silent**: {routers}: blue is kept until they acknowledge or are gone")
    lines += ["", *_commands(progress, now)]
    return "\n".join(lines)


def window_in_words(window: Window) -> str:
    """Return a window as a line of text, such as ``mon, tue 09:00 to 17:00 Europe/Berlin, for timers``."""
    days = ", ".join(day.value for day in window.days)
    whom = "everyone" if window.applies_to is AppliesTo.EVERYONE else "timers"
    return f"{days} {window.from_} to {window.to} {window.zone}, for {whom}"


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


def _commands(progress: Progress, now: datetime) -> list[str]:
    identity = workflow_id(progress.deployment)
    match progress.phase:
        case RolloutPhase.AWAITING_PROMOTION if progress.policy.approvals is not None:
            return [
                "Approve; only a signed promotion counts:",
                "```",
                f"celadon promote {progress.deployment} --revision {progress.to_revision}",
                "```",
                "Abort: **Request Cancellation**, or",
                "```",
                f"temporal workflow signal -w {identity} --name abort",
                "```",
            ]
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
            return [next_step(progress, now)]
        case _ as unreachable:
            assert_never(unreachable)


def timer_summary(name: str, at: datetime, now: datetime) -> str:
    """Return what a timer's bar says in the UI's timeline."""
    verb = {PROMOTION_TIMER: "promotes", ROLLBACK_TIMER: "goes back"}.get(name, "ends")
    return f"{name}: {verb} in {format_duration(at - now)} unless a message comes first"
