"""Pauses between starts of replicas that fail."""

from datetime import timedelta

from celadon.keeper.backoff import StartBackoff

SHORT = timedelta(seconds=1)


def test_pauses_double_up_to_thirty_seconds() -> None:
    backoff, now, pauses = StartBackoff(), 100.0, []
    for _ in range(8):
        backoff.failed(SHORT, now)
        pauses.append(backoff.remaining(now))
        now += pauses[-1]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_replicas_that_fail_together_count_once() -> None:
    backoff = StartBackoff()
    for moment in (100.0, 100.1, 100.2):
        backoff.failed(SHORT, moment)
    assert backoff.remaining(100.2) == 100.5 - 100.2


def test_a_replica_that_has_lived_long_is_replaced_at_once_and_begins_anew() -> None:
    backoff = StartBackoff()
    backoff.failed(SHORT, 100.0)
    backoff.failed(SHORT, 101.0)
    backoff.failed(timedelta(seconds=30), 200.0)
    assert backoff.remaining(200.0) == 0
    backoff.failed(SHORT, 201.0)
    assert backoff.remaining(201.0) == 0.5
