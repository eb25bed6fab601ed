"""A set of replicas as people see it: its colour, its traffic, its health, its replicas, and what has failed."""

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final, assert_never

from celadon.domain.decisions.failure_cause import are_alike
from celadon.domain.language.moments import clock
from celadon.domain.language.names import RouteSetId
from celadon.domain.language.shown_text import one_line
from celadon.domain.language.states import Colour, RouteHealthStatus, RouteSetState, RouteStatus
from celadon.service.command import Tone
from celadon.service.rollout_words import in_words, revision_name
from celadon.service.views.phrases import Countdown, Phrase, Room, Shown
from celadon.table.records.deployments import FailureView, ReplicaView, SetView

_TIMES: Final = re.compile(r" \(\N{MULTIPLICATION SIGN}\d+\)")
_BEGUN: Final = frozenset({RouteStatus.PROVISIONING, RouteStatus.RUNNING})


class ReplicaRow(Shown):
    """A replica that has not ended."""

    address: str
    mark: str
    tone: Tone
    state: str
    """``starting`` until it was healthy for the first time; later such as ``running, healthy``."""
    since: datetime
    """When it began to run, or was asked for."""
    leaving: str
    """That it leaves its set, with the requests that run on it; empty when it stays."""
    cut: Countdown | None
    """When a replica that leaves is stopped with what still runs on it."""
    error: str


class FailureRow(Shown):
    """Replicas that ended by themselves in the same way, by the newest of them."""

    title: str
    output: tuple[str, ...]
    """The last whole lines that it printed."""


class LoadRow(Shown):
    """What one router says of the requests that run on a draining set."""

    router: str
    running: str


class DrainRow(Shown):
    """How far a set has drained."""

    running: str
    """Requests that still run, or ``unknown``."""
    cut: Countdown | None
    loads: tuple[LoadRow, ...]


class SetDetail(Shown):
    """One set."""

    colour: str
    """``live``, ``blue``, ``green`` or ``earlier``."""
    revision: str
    route_set: RouteSetId
    traffic: Phrase
    health: Phrase | None
    """How many of its replicas are healthy; ``None`` when it is not open."""
    error: str
    """What its replicas fail with, each cause once, without what they printed."""
    notes: tuple[Phrase, ...]
    replicas: tuple[ReplicaRow, ...]
    more: int
    """How many replicas are not shown."""
    failures: tuple[FailureRow, ...]
    drain: DrainRow | None


def set_detail(one: SetView, room: Room, *, under_way: bool, tells_output: bool) -> SetDetail:
    """Return a set as people see it.

    Args:
        one: the set.
        room: how much is shown.
        under_way: whether the latest rollout is; once it has ended, what is live is neither blue nor green.
        tells_output: whether what its failed replicas printed is shown: in the view of the rollout that opened it.

    """
    full = one.healthy >= one.wanted
    is_open = one.state is RouteSetState.OPEN
    shown = sorted(one.replicas, key=_is_well)[: room.replicas]
    return SetDetail(
        colour=_colour(one, under_way=under_way),
        revision=revision_name(one.revision),
        route_set=one.route_set,
        traffic=_traffic(one),
        health=_health(one, full=full) if is_open else None,
        error="" if full or not is_open else without_output(one.last_error, errors_of([one])),
        notes=tuple(_notes(one)),
        replicas=tuple(_replica(replica) for replica in one.replicas if replica in shown),
        more=len(one.replicas) - len(shown),
        failures=tuple(_failures(one.failures, room.output_lines if tells_output else 0)),
        drain=_drain(one) if one.state is RouteSetState.DRAINING else None,
    )


def errors_of(sets: Iterable[SetView]) -> tuple[str, ...]:
    """Return what replicas of sets have failed with."""
    errors: list[str] = []
    for one in sets:
        errors += [replica.last_error for replica in one.replicas]
        errors += [failure.last_error for failure in one.failures]
    return tuple(dict.fromkeys(one_line(error) for error in errors if error))


def without_output(causes: str, errors: Collection[str]) -> str:
    """Return causes of failures without what the replicas printed, which stands after each error."""
    places = sorted((begin, begin + len(error)) for error in errors if (begin := causes.find(error)) >= 0 and error)
    text, read_to = "", 0
    for number, (begin, end) in enumerate(places):
        if begin < read_to:
            continue
        following = next((start for start, _ in places[number + 1 :] if start >= end), len(causes))
        text += causes[read_to:end]
        read_to = end
        if causes.startswith(": ", end):
            times = _TIMES.search(causes, end, following)
            if times is not None:
                text += times[0]
            text += "; " if following < len(causes) else ""
            read_to = following
    return text + causes[read_to:]


def _is_well(one: ReplicaView) -> bool:
    return one.status is RouteStatus.RUNNING and one.health is RouteHealthStatus.HEALTHY


def _colour(one: SetView, *, under_way: bool) -> str:
    if one.is_live and not under_way:
        return "live"
    match one.colour:
        case Colour.BLUE | Colour.GREEN:
            return one.colour.value
        case None:
            return "earlier"
        case _ as unreachable:
            assert_never(unreachable)


def _traffic(one: SetView) -> Phrase:
    match one.state:
        case RouteSetState.OPEN if one.is_live:
            return Phrase(text="takes traffic", tone=Tone.GOOD)
        case RouteSetState.OPEN:
            return Phrase(text="no traffic", tone=Tone.QUIET)
        case RouteSetState.DRAINING:
            return Phrase(text=f"draining, {len(one.replicas)} left", tone=Tone.WARN)
        case RouteSetState.GONE:
            return Phrase(text="gone", tone=Tone.QUIET)
        case _ as unreachable:
            assert_never(unreachable)


def _health(one: SetView, *, full: bool) -> Phrase:
    required = "" if one.required in {None, one.wanted} else f", {one.required} required"
    return Phrase(text=f"{one.healthy}/{one.wanted} healthy{required}", tone=Tone.GOOD if full else Tone.WARN)


def _notes(one: SetView) -> Iterable[Phrase]:
    if one.failover_since is not None:
        took = f"took {one.failover_requests} requests that green could not, since {clock(one.failover_since)} UTC"
        yield Phrase(text=took, tone=Tone.BAD)
    if one.replacements:
        yield Phrase(text=f"{one.replacements} replaced", tone=Tone.WARN)
    if one.requests_cut:
        yield Phrase(text=f"{one.requests_cut} requests cut", tone=Tone.BAD)


def _replica(one: ReplicaView) -> ReplicaRow:
    state = f"{in_words(one.status.value)}, {in_words(one.health.value)}"
    if _is_well(one):
        mark, tone = "✔", Tone.GOOD
    elif one.ready_at is None and one.status in _BEGUN:
        mark, tone, state = "◌", Tone.WARN, "starting"
    elif one.health is RouteHealthStatus.UNHEALTHY:
        mark, tone = "✘", Tone.BAD
    else:
        mark, tone = "◌", Tone.WARN
    running = "unknown" if one.running_requests is None else one.running_requests
    leaves = one.leaving_deadline is not None
    return ReplicaRow(
        address=", ".join((f"{one.host}:{one.port}", *(f"{name} {port}" for name, port in one.other_ports.items()))),
        mark=mark,
        tone=tone,
        state=state,
        since=one.started_at or one.created_at,
        leaving=f"leaves, running requests: {running}" if leaves else "",
        cut=None if one.leaving_deadline is None else Countdown(what="cut", at=one.leaving_deadline),
        error="" if one.health is RouteHealthStatus.HEALTHY else one_line(one.last_error),
    )


def _failures(failures: Iterable[FailureView], most_lines: int) -> Iterable[FailureRow]:
    """Yield the newest failure of each kind: replicas that fail alike print the same."""
    errors: list[str] = []
    for one in failures:
        if any(are_alike(one.last_error, other) for other in errors):
            continue
        errors.append(one.last_error)
        why = f": {one_line(one.last_error)}" if one.last_error else ""
        yield FailureRow(
            title=f"port {one.port} {in_words(one.status.value)} at {clock(one.ended_at)} UTC{why}",
            output=_last_lines(one.output, most_lines),
        )


def _last_lines(output: str, most: int) -> tuple[str, ...]:
    """Return the last whole lines; the first one of an output that was cut is none."""
    lines = output.splitlines()
    whole = lines[1:] if output.startswith("…") and len(lines) > 1 else lines
    return tuple(whole[-most:]) if most else ()


def _drain(one: SetView) -> DrainRow:
    running = one.running_requests
    return DrainRow(
        running="unknown" if running is None else str(running),
        cut=None if one.drain_deadline is None else Countdown(what="cut", at=one.drain_deadline),
        loads=tuple(
            LoadRow(router=load.router, running="has not reported yet" if load.running is None else str(load.running))
            for load in one.load
        ),
    )
