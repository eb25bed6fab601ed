"""When routers acknowledged, although the table keeps the newest acknowledgement only."""

from datetime import UTC, datetime, timedelta

from celadon.stack.demo.acknowledgements import AcknowledgementLog

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def after(milliseconds: int) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


def test_an_epoch_counts_from_when_it_was_first_served() -> None:
    log = AcknowledgementLog()
    log.note("a", 4, after(0))
    log.note("a", 5, after(10))
    log.note("a", 6, after(90))
    assert log.last_at(5) == after(10)


def test_a_later_epoch_counts_for_one_that_was_skipped() -> None:
    log = AcknowledgementLog()
    log.note("a", 4, after(0))
    log.note("a", 6, after(30))
    assert log.last_at(5) == after(30)


def test_the_slowest_router_says_when() -> None:
    log = AcknowledgementLog()
    log.note("a", 5, after(10))
    log.note("b", 5, after(25))
    assert log.last_at(5) == after(25)


def test_nobody_knows_while_one_router_is_silent() -> None:
    log = AcknowledgementLog()
    log.note("a", 5, after(10))
    log.note("b", 4, after(5))
    assert log.last_at(5) is None
    assert AcknowledgementLog().last_at(5) is None
