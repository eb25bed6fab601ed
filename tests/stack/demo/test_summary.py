"""The summary, and its check against the router's counters."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.language.names import Epoch
from celadon.domain.language.states import RolloutOutcome
from celadon.stack.demo.counters import RouterCounters
from celadon.stack.demo.records import RequestKind, RequestRecord, RequestResult
from celadon.stack.demo.summary import (
    NS_PER_MS,
    NS_PER_SECOND,
    FinishedRollout,
    Switch,
    SwitchKind,
    Tally,
    counter_differences,
    losses,
    streams_open_at,
    summarise,
    tally,
    wrong_revisions,
)

PROMOTED = Switch(
    kind=SwitchKind.PROMOTION,
    epoch=Epoch(5),
    old_revision="r1",
    new_revision="r2",
    decided_ns=20 * NS_PER_SECOND,
    committed_ns=20 * NS_PER_SECOND + 30 * NS_PER_MS,
    acknowledged_ns=20 * NS_PER_SECOND + 40 * NS_PER_MS,
)
WENT_BACK = Switch(
    kind=SwitchKind.SWITCH_BACK,
    epoch=Epoch(6),
    old_revision="r2",
    new_revision="r1",
    decided_ns=30 * NS_PER_SECOND,
    committed_ns=30 * NS_PER_SECOND + 20 * NS_PER_MS,
    acknowledged_ns=30 * NS_PER_SECOND + 25 * NS_PER_MS,
)


def request(
    sent_ms: float,
    revision: str | None = "r1",
    *,
    lasts_ms: float = 5,
    kind: RequestKind = RequestKind.PLAIN,
    result: RequestResult = RequestResult.ANSWERED,
    status: int | None = 200,
) -> RequestRecord:
    sent_ns = round(sent_ms * NS_PER_MS)
    return RequestRecord(
        number=0,
        kind=kind,
        result=result,
        scheduled_ns=sent_ns,
        sent_ns=sent_ns,
        first_byte_ns=None if status is None else sent_ns + NS_PER_MS,
        end_ns=sent_ns + round(lasts_ms * NS_PER_MS),
        status=status,
        revision=revision,
        late=False,
        error=None if result is RequestResult.ANSWERED else "it went wrong",
    )


def stream(sent_ms: float, lasts_ms: float) -> RequestRecord:
    return request(sent_ms, lasts_ms=lasts_ms, kind=RequestKind.STREAM)


@pytest.mark.parametrize(
    ("sent_ms", "revision", "wrong"),
    [
        (10_000, "r1", 0),
        (10_000, "r2", 1),
        (20_020, "r1", 0),
        (20_080, "r1", 0),
        (20_091, "r1", 1),
        (20_091, "r2", 0),
        (20_029, "r2", 0),
        (25_000, "r1", 1),
        (25_000, None, 1),
        (30_000, "r2", 0),
        (30_070, "r2", 0),
        (30_076, "r2", 1),
        (40_000, "r1", 0),
    ],
)
def test_an_answer_is_wrong_when_its_revision_was_not_live(sent_ms: float, revision: str | None, wrong: int) -> None:
    assert wrong_revisions([request(sent_ms, revision)], [PROMOTED, WENT_BACK]) == wrong


def test_a_long_stream_that_began_before_the_switch_is_right() -> None:
    assert wrong_revisions([stream(19_990, 12_000)], [PROMOTED]) == 0


def test_a_request_without_an_answer_has_no_wrong_revision() -> None:
    failed = request(25_000, None, result=RequestResult.FAILED, status=None)
    assert wrong_revisions([failed], [PROMOTED]) == 0


@given(
    sent_ms=st.floats(min_value=0, max_value=60_000),
    revision=st.sampled_from(["r1", "r2"]),
    lasts_ms=st.floats(min_value=2, max_value=15_000),
)
def test_at_most_one_revision_is_wrong_for_any_request(sent_ms: float, revision: str, lasts_ms: float) -> None:
    other = {"r1": "r2", "r2": "r1"}[revision]
    wrong = [
        wrong_revisions([request(sent_ms, one, lasts_ms=lasts_ms)], [PROMOTED, WENT_BACK]) for one in (revision, other)
    ]
    assert sum(wrong) <= 1


@given(sent_ms=st.floats(min_value=20_091, max_value=29_000))
def test_the_old_colour_is_wrong_from_the_tolerance_on_until_the_way_back(sent_ms: float) -> None:
    assert wrong_revisions([request(sent_ms, "r1")], [PROMOTED, WENT_BACK]) == 1


def test_only_long_streams_that_span_the_moment_are_open_at_it() -> None:
    records = [
        stream(15_000, 12_000),
        stream(15_000, 9_000),
        stream(5_000, 12_000),
        stream(21_000, 12_000),
        request(15_000, lasts_ms=12_000),
    ]
    assert streams_open_at(records, 20 * NS_PER_SECOND) == records[:1]


def test_tally_counts_each_result_once() -> None:
    tallied = tally(
        [
            request(1),
            request(2, "r2"),
            request(3, None, result=RequestResult.FAILED, status=503),
            request(4, None, result=RequestResult.FAILED, status=None),
            request(5, kind=RequestKind.STREAM, result=RequestResult.TRUNCATED),
            stream(6, 100),
        ],
        (),
    )
    assert (tallied.requests, tallied.failed, tallied.truncated, tallied.streams) == (6, 2, 1, 2)
    assert (tallied.server_errors, tallied.unanswered) == (1, 1)
    assert tallied.answered_by == {"r1": 2, "r2": 1}


def test_figures_of_a_switch() -> None:
    records = [request(20_039, "r2"), request(20_047, "r2"), request(20_045, "r1"), stream(15_000, 12_000)]
    (figures,) = tally(records, [PROMOTED]).switches
    assert figures.decision_to_switch_ms == 30
    assert figures.switch_to_ack_ms == 10
    assert figures.ack_to_answer_ms == 8
    assert (figures.open_streams, figures.open_streams_on_old) == (1, 1)


def test_summary_has_the_larger_figure_of_both_promotions() -> None:
    slower = PROMOTED.model_copy(
        update={
            "epoch": Epoch(8),
            "decided_ns": 40 * NS_PER_SECOND,
            "committed_ns": 40 * NS_PER_SECOND + 90 * NS_PER_MS,
            "acknowledged_ns": 40 * NS_PER_SECOND + 92 * NS_PER_MS,
        },
    )
    tallied = tally([request(20_041, "r2"), request(40_095, "r2")], [PROMOTED, WENT_BACK, slower])
    rollout = FinishedRollout(
        outcome=RolloutOutcome.PROMOTED,
        workflow_id="rollout-chat",
        run_id="0199",
        epoch=Epoch(8),
        drain_ms=9_000.5,
        history_events=60,
        billable_actions=20,
    )
    summary = summarise(tallied, rollout, requests_cut=0)
    assert summary.switches == 3
    assert summary.promote_to_switch_ms == 90
    assert summary.switch_to_ack_ms == 10
    assert summary.ack_to_answer_ms == 4
    assert summary.switch_back_ms == 25
    assert (summary.outcome, summary.epoch, summary.drain_ms) == (RolloutOutcome.PROMOTED, 8, 9_000.5)


def test_summary_has_the_fields_that_programs_read() -> None:
    summary = summarise(tally([], ()), FinishedRollout(), requests_cut=0)
    assert list(summary.model_dump()) == [
        "outcome",
        "workflow_id",
        "run_id",
        "epoch",
        "switches",
        "requests",
        "failed",
        "wrong_revision",
        "streams",
        "calls",
        "truncated",
        "requests_cut",
        "promote_to_switch_ms",
        "switch_to_ack_ms",
        "ack_to_answer_ms",
        "switch_back_ms",
        "drain_ms",
        "history_events",
        "billable_actions",
    ]


def test_nothing_is_lost_when_every_switch_met_enough_streams() -> None:
    tallied = tally([*[stream(15_000, 12_000)] * 2, request(21_000, "r2")], [PROMOTED])
    assert losses(tallied, 0, streams_wanted=2) == ()


def test_every_loss_is_named() -> None:
    tallied = tally(
        [
            request(1, None, result=RequestResult.FAILED, status=503),
            request(2, kind=RequestKind.STREAM, result=RequestResult.TRUNCATED),
            request(25_000, "r1"),
        ],
        [PROMOTED],
    )
    found = losses(tallied, 4, streams_wanted=20)
    assert [one.split()[0] for one in found] == ["1", "1", "1", "4", "only"]
    assert "open at the promotion to epoch 5" in found[-1]


CLEAN = RouterCounters(
    requests=100,
    answers_5xx=0,
    resets_to_client=0,
    disconnects_of_client=0,
    requests_to_servers=100,
    unconnected=0,
    retries=0,
    disconnects_of_server=0,
    resets_of_server=0,
)


def tallied_well(requests: int = 100) -> Tally:
    return tally([request(at) for at in range(requests)], ())


def test_agreeing_counters_are_no_difference() -> None:
    assert counter_differences(tallied_well(), CLEAN, others=False) == ()


def test_a_retry_that_nobody_noticed_is_no_difference() -> None:
    counted = replace(CLEAN, requests_to_servers=101, retries=1, disconnects_of_server=1)
    assert counter_differences(tallied_well(), counted, others=False) == ()


def test_a_retry_of_a_refused_connection_is_no_difference() -> None:
    counted = replace(CLEAN, retries=5, unconnected=5)
    assert counter_differences(tallied_well(), counted, others=False) == ()


@pytest.mark.parametrize(
    ("changes", "explanation"),
    [
        ({"requests": 101, "requests_to_servers": 101}, "the load sent only 100"),
        ({"requests": 99, "requests_to_servers": 99}, "got answers to more: 100"),
        ({"answers_5xx": 1}, "answers of 5xx, the load saw 0"),
        ({"requests_to_servers": 99}, "took 100 requests and retried 0, but sent 99"),
        ({"requests_to_servers": 102, "retries": 1}, "retried 1"),
        ({"disconnects_of_server": 1}, "broke off 1 running requests"),
        ({"resets_of_server": 1}, "broke off 1 running requests"),
        ({"resets_to_client": 1}, "the router broke off 1 answers"),
        ({"disconnects_of_client": 1}, "clients left 1 running requests"),
        ({"requests": -5000}, "started anew"),
    ],
)
def test_each_difference_is_explained(changes: dict[str, int], explanation: str) -> None:
    (difference,) = counter_differences(tallied_well(), replace(CLEAN, **changes), others=False)
    assert explanation in difference


def test_other_people_may_use_the_router_while_it_is_held() -> None:
    counted = replace(CLEAN, requests=110, requests_to_servers=108, disconnects_of_client=2)
    assert counter_differences(tallied_well(), counted, others=True) == ()


def test_other_people_are_no_excuse_for_errors() -> None:
    counted = replace(CLEAN, requests=110, requests_to_servers=110, answers_5xx=1, disconnects_of_server=1)
    assert len(counter_differences(tallied_well(), counted, others=True)) == 2


counts = st.integers(min_value=0, max_value=1000)


@given(later=st.builds(RouterCounters, *[counts] * 9), earlier=st.builds(RouterCounters, *[counts] * 9))
def test_counters_of_a_time_add_up(later: RouterCounters, earlier: RouterCounters) -> None:
    assert later.requests == earlier.requests + (later - earlier).requests
    assert later.resets_of_server == earlier.resets_of_server + (later - earlier).resets_of_server


@given(
    counted=st.builds(RouterCounters, *[st.integers(min_value=0, max_value=120)] * 9),
    others=st.booleans(),
)
def test_without_other_people_nothing_more_is_forgiven_than_with_them(counted: RouterCounters, *, others: bool) -> None:
    tallied = tallied_well()
    alone = counter_differences(tallied, counted, others=False)
    if counter_differences(tallied, counted, others=others):
        assert alone
