"""What the demonstration showed: computed from the requests' records, the switches, and what the router counted.

Everything here is a pure function. Moments are nanoseconds of the machine's monotonic clock, as in the records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutOutcome
from celadon.stack.demo.counters import RouterCounters
from celadon.stack.demo.records import RequestKind, RequestRecord, RequestResult

NS_PER_MS: Final = 1_000_000
NS_PER_SECOND: Final = 1_000_000_000

TOLERANCE_NS: Final = 50 * NS_PER_MS
"""How long after the last acknowledgement a request may still leave and meet the old colour; covers the clocks too."""

LONG_STREAM_NS: Final = 10 * NS_PER_SECOND
"""How long a stream must last to count as one that a switch met."""

FIRST_SERVER_ERROR: Final = 500


class SwitchKind(StrEnum):
    """Which way traffic was moved."""

    PROMOTION = "promotion"
    SWITCH_BACK = "switch_back"


class Switch(BaseModel):
    """One move of all traffic from one revision to another."""

    model_config = ConfigDict(frozen=True)

    kind: SwitchKind
    epoch: Epoch
    old_revision: str
    """The label with which the colour that traffic left answers."""
    new_revision: str
    decided_ns: int
    """When the promotion's timer fired, or when the message came in that asked for the switch."""
    committed_ns: int
    acknowledged_ns: int
    """When the last live router said that it serves the epoch."""


class SwitchFigures(BaseModel):
    """What one switch took and what it met; durations in milliseconds."""

    model_config = ConfigDict(frozen=True)

    kind: SwitchKind
    epoch: Epoch
    open_streams: int
    """Streams of ten seconds or longer that were open when it committed."""
    open_streams_on_old: int
    """Those of them that the colour served which traffic left."""
    decision_to_switch_ms: float
    switch_to_ack_ms: float
    ack_to_answer_ms: float | None
    """From the last acknowledgement to the first answer by the new revision to a request sent after it."""


class Tally(BaseModel):
    """What the load's own records say."""

    model_config = ConfigDict(frozen=True)

    requests: int
    failed: int
    streams: int
    calls: int
    """Of gRPC."""
    truncated: int
    wrong_revision: int
    server_errors: int
    """Answers with a status from 500 on."""
    unanswered: int
    """Requests that got no status at all."""
    late: int
    answered_by: dict[str, int]
    switches: tuple[SwitchFigures, ...]


class Summary(BaseModel):
    """The last line of ``celadon demo --json``; what is not known because the demonstration broke off is none.

    Of figures that both promotions have, it shows the larger one. The rollout is the last one.
    """

    model_config = ConfigDict(frozen=True)

    outcome: RolloutOutcome | None = None
    workflow_id: str | None = None
    run_id: str | None = None
    epoch: Epoch | None = None
    switches: int = 0
    requests: int = 0
    failed: int = 0
    wrong_revision: int = 0
    """Answers of a revision that was not live at any time while the request was on its way."""
    streams: int = 0
    calls: int = 0
    """Calls of gRPC among the requests."""
    truncated: int = 0
    requests_cut: int | None = None
    """Requests that still ran when a replica was stopped, as the rollouts say."""
    promote_to_switch_ms: float | None = None
    switch_to_ack_ms: float | None = None
    ack_to_answer_ms: float | None = None
    switch_back_ms: float | None = None
    """From the request to go back to the last acknowledgement."""
    drain_ms: float | None = None
    """From the last acknowledgement of the last promotion until blue's last replica had stopped."""
    history_events: int | None = None
    billable_actions: int | None = None
    """Temporal Cloud's actions without heartbeats and queries, which leave no event."""


class _Window(NamedTuple):
    """A time in which one revision was live."""

    revision: str
    begin_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class FinishedRollout:
    """What the last rollout says of itself; nothing while it has not ended."""

    outcome: RolloutOutcome | None = None
    workflow_id: str | None = None
    run_id: str | None = None
    epoch: Epoch | None = None
    drain_ms: float | None = None
    history_events: int | None = None
    billable_actions: int | None = None


def tally(records: Sequence[RequestRecord], switches: Sequence[Switch]) -> Tally:
    """Count what became of the requests, and what each switch met and took.

    ``switches`` stand in the order of their commits.
    """
    answered = [record for record in records if record.result is RequestResult.ANSWERED]
    revisions = sorted({record.revision or "unknown" for record in answered})
    return Tally(
        requests=len(records),
        failed=sum(record.result is RequestResult.FAILED for record in records),
        streams=sum(record.kind is RequestKind.STREAM for record in records),
        calls=sum(record.kind is RequestKind.CALL for record in records),
        truncated=sum(record.result is RequestResult.TRUNCATED for record in records),
        wrong_revision=wrong_revisions(records, switches),
        server_errors=sum(record.status is not None and record.status >= FIRST_SERVER_ERROR for record in records),
        unanswered=sum(record.status is None for record in records),
        late=sum(record.late for record in records),
        answered_by={
            revision: sum((record.revision or "unknown") == revision for record in answered) for revision in revisions
        },
        switches=tuple(_figures(switch, records) for switch in switches),
    )


def wrong_revisions(records: Iterable[RequestRecord], switches: Sequence[Switch]) -> int:
    """Count the answers of a revision that was not live at any time while the request was on its way.

    A colour is live from the commit that made it so until the last acknowledgement of the one that ended it, give or
    take ``TOLERANCE_NS``: a request sent later than that is not answered by the old colour any more.
    """
    windows = _windows(switches)
    if not windows:
        return 0
    return sum(
        not any(
            window.revision == record.revision
            and record.sent_ns <= window.end_ns + TOLERANCE_NS
            and record.first_byte_ns >= window.begin_ns - TOLERANCE_NS
            for window in windows
        )
        for record in records
        if record.first_byte_ns is not None and record.result is not RequestResult.FAILED
    )


def streams_open_at(records: Iterable[RequestRecord], moment_ns: int) -> list[RequestRecord]:
    """Return the streams of ten seconds or longer that were open at a moment."""
    return [
        record
        for record in records
        if record.kind is RequestKind.STREAM
        and record.first_byte_ns is not None
        and record.first_byte_ns < moment_ns < record.end_ns
        and record.end_ns - record.first_byte_ns >= LONG_STREAM_NS
    ]


def counter_differences(tallied: Tally, counted: RouterCounters, *, others: bool) -> tuple[str, ...]:
    """Compare the records with what the router counted over the same time; return each difference in words.

    ``others`` says that people may have used the router beside the load: then it may have counted more requests, and
    clients that went away.
    """
    if min(counted.requests, counted.requests_to_servers) < 0:
        return ("the router started anew while the load ran, so that its counters say nothing",)
    sent = tallied.requests
    lost = tallied.failed + tallied.truncated
    differences: list[str] = []
    if counted.requests < sent - tallied.unanswered:
        differences.append(f"the router counted {counted.requests} requests, the load got answers to more: {sent}")
    if counted.requests > sent and not others:
        differences.append(f"the router counted {counted.requests} requests, the load sent only {sent}")
    if counted.answers_5xx != tallied.server_errors:
        differences.append(
            f"the router counted {counted.answers_5xx} answers of 5xx, the load saw {tallied.server_errors}"
        )
    unsent = counted.requests + counted.retries - counted.requests_to_servers - counted.unconnected
    if unsent and not (others and 0 < unsent <= counted.requests - sent):
        differences.append(
            f"the router took {counted.requests} requests and retried {counted.retries}, but sent "
            f"{counted.requests_to_servers} on to replicas and found no connection for {counted.unconnected}",
        )
    if counted.disconnects_of_server + counted.resets_of_server > lost + counted.retries:
        differences.append(
            f"replicas broke off {counted.disconnects_of_server + counted.resets_of_server} running requests, "
            f"of which the router retried {counted.retries} and the load noticed {lost}",
        )
    if counted.resets_to_client > lost:
        differences.append(f"the router broke off {counted.resets_to_client} answers, the load noticed {lost}")
    if counted.disconnects_of_client > lost and not others:
        differences.append(
            f"clients left {counted.disconnects_of_client} running requests by the router's count, "
            f"the load gave up on {lost}",
        )
    return tuple(differences)


def losses(tallied: Tally, requests_cut: int, *, streams_wanted: int) -> tuple[str, ...]:
    """Return in words each thing that must not happen and did; nothing when no request was lost."""
    loss_texts = [
        f"{count} {what}"
        for count, what in (
            (tallied.failed, "requests failed"),
            (tallied.truncated, "streams were truncated"),
            (tallied.wrong_revision, "answers came from a revision that was not live"),
            (requests_cut, "running requests were cut when replicas stopped"),
        )
        if count
    ]
    loss_texts += [
        f"only {switch.open_streams} streams of ten seconds were open at the {switch.kind} to epoch {switch.epoch}, "
        f"not {streams_wanted}"
        for switch in tallied.switches
        if switch.open_streams < streams_wanted
    ]
    return tuple(loss_texts)


def summarise(tallied: Tally, rollout: FinishedRollout, requests_cut: int) -> Summary:
    """Put everything in one line."""
    promotions = [switch for switch in tallied.switches if switch.kind is SwitchKind.PROMOTION]
    backs = [switch for switch in tallied.switches if switch.kind is SwitchKind.SWITCH_BACK]
    return Summary(
        outcome=rollout.outcome,
        workflow_id=rollout.workflow_id,
        run_id=rollout.run_id,
        epoch=rollout.epoch,
        switches=len(tallied.switches),
        requests=tallied.requests,
        failed=tallied.failed,
        wrong_revision=tallied.wrong_revision,
        streams=tallied.streams,
        calls=tallied.calls,
        truncated=tallied.truncated,
        requests_cut=requests_cut,
        promote_to_switch_ms=max((switch.decision_to_switch_ms for switch in promotions), default=None),
        switch_to_ack_ms=max((switch.switch_to_ack_ms for switch in promotions), default=None),
        ack_to_answer_ms=max(
            (switch.ack_to_answer_ms for switch in promotions if switch.ack_to_answer_ms is not None),
            default=None,
        ),
        switch_back_ms=max(
            (round(switch.decision_to_switch_ms + switch.switch_to_ack_ms, 3) for switch in backs),
            default=None,
        ),
        drain_ms=rollout.drain_ms,
        history_events=rollout.history_events,
        billable_actions=rollout.billable_actions,
    )


def _figures(switch: Switch, records: Sequence[RequestRecord]) -> SwitchFigures:
    streams = streams_open_at(records, switch.committed_ns)
    first_answer_ns = min(
        (
            record.first_byte_ns
            for record in records
            if record.revision == switch.new_revision
            and record.first_byte_ns is not None
            and record.sent_ns >= switch.acknowledged_ns
        ),
        default=None,
    )
    return SwitchFigures(
        kind=switch.kind,
        epoch=switch.epoch,
        open_streams=len(streams),
        open_streams_on_old=sum(record.revision == switch.old_revision for record in streams),
        decision_to_switch_ms=milliseconds_between(switch.decided_ns, switch.committed_ns),
        switch_to_ack_ms=milliseconds_between(switch.committed_ns, switch.acknowledged_ns),
        ack_to_answer_ms=None
        if first_answer_ns is None
        else milliseconds_between(switch.acknowledged_ns, first_answer_ns),
    )


def _windows(switches: Sequence[Switch]) -> list[_Window]:
    if not switches:
        return []
    begins = [0, *(switch.committed_ns for switch in switches)]
    ends = [*(switch.acknowledged_ns for switch in switches), None]
    revisions = [switches[0].old_revision, *(switch.new_revision for switch in switches)]
    never = 2**63
    return [
        _Window(revision, begin, never if end is None else end)
        for revision, begin, end in zip(revisions, begins, ends, strict=True)
    ]


def milliseconds_between(earlier_ns: int, later_ns: int) -> float:
    """Return the milliseconds from one moment to another, to the microsecond."""
    return round((later_ns - earlier_ns) / NS_PER_MS, 3)
