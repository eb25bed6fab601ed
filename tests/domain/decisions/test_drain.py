"""When replicas of a draining set may stop."""

import pytest

from celadon.domain.decisions.drain import DrainVerdict, RouterDrain, may_stop

WAIT, STOP, CUT = DrainVerdict.WAIT, DrainVerdict.STOP, DrainVerdict.CUT


def router(name: str = "a", *, acknowledged: bool = True, running: int | None = 0, zeros: int = 2) -> RouterDrain:
    return RouterDrain(router=name, acknowledged=acknowledged, running=running, zero_reports=zeros)


DRAINED = router()
BUSY = router("b", running=3, zeros=0)
ONE_ZERO = router("b", zeros=1)
UNKNOWN = router("b", running=None, zeros=0)
SILENT = router("b", acknowledged=False, running=None, zeros=0)
SILENT_WITH_ZEROS = router("b", acknowledged=False)


@pytest.mark.parametrize(
    ("routers", "past_deadline", "past_patience", "verdict"),
    [
        ([DRAINED], False, False, STOP),
        ([DRAINED, DRAINED], False, False, STOP),
        ([DRAINED, BUSY], False, False, WAIT),
        ([DRAINED, ONE_ZERO], False, False, WAIT),
        ([DRAINED, UNKNOWN], False, False, WAIT),
        ([DRAINED, BUSY], True, False, CUT),
        ([DRAINED, ONE_ZERO], True, False, CUT),
        ([DRAINED, UNKNOWN], True, False, CUT),
        ([DRAINED], True, True, STOP),
        ([DRAINED, SILENT], False, False, WAIT),
        ([DRAINED, SILENT], True, False, WAIT),
        ([DRAINED, SILENT], True, True, WAIT),
        ([SILENT_WITH_ZEROS], True, True, WAIT),
        ([], False, False, WAIT),
        ([], True, False, WAIT),
        ([], True, True, STOP),
    ],
)
def test_a_set_that_was_live_stops_only_when_every_live_router_lets_it(
    routers: list[RouterDrain],
    past_deadline: bool,  # noqa: FBT001 - a column of the table
    past_patience: bool,  # noqa: FBT001
    verdict: DrainVerdict,
) -> None:
    decision = may_stop(routers, was_live=True, past_deadline=past_deadline, past_router_patience=past_patience)
    assert decision.verdict is verdict


@pytest.mark.parametrize(
    ("routers", "past_deadline", "verdict"),
    [
        ([], False, STOP),
        ([DRAINED], False, STOP),
        ([BUSY], False, WAIT),
        ([SILENT], False, WAIT),
        ([SILENT], True, CUT),
        ([BUSY], True, CUT),
    ],
)
def test_a_green_that_was_never_live_is_held_up_by_previews_until_the_deadline(
    routers: list[RouterDrain],
    past_deadline: bool,  # noqa: FBT001
    verdict: DrainVerdict,
) -> None:
    decision = may_stop(routers, was_live=False, past_deadline=past_deadline, past_router_patience=False)
    assert decision.verdict is verdict


def test_the_reason_names_who_is_silent() -> None:
    decision = may_stop([DRAINED, SILENT], was_live=True, past_deadline=False, past_router_patience=False)
    assert decision.why == "not acknowledged by b"


def test_the_reason_counts_what_runs_where() -> None:
    decision = may_stop([DRAINED, BUSY, UNKNOWN], was_live=True, past_deadline=False, past_router_patience=False)
    assert decision.why == "requests run: 3 on b, unknown on b"
