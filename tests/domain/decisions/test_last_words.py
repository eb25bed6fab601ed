"""Which lines of an output say why a program failed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.failure_cause import ReplicaFailure, describe_failure
from celadon.domain.decisions.last_words import telling_lines

TRACEBACK = (
    "Traceback (most recent call last):",
    '  File "/srv/server.py", line 7, in <module>',
    "    load(model)",
    "    ^^^^^^^^^^^",
    "torch.OutOfMemoryError: CUDA out of memory",
)


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        (("one", "two", "three"), "three"),
        ((*TRACEBACK, "INFO: shutting down", "INFO: bye"), TRACEBACK[-1]),
        (("ERROR: no weights", "INFO: bye"), "ERROR: no weights"),
        (("2026-01-01 [error] x", "ERROR first", "CRITICAL second", "bye"), "CRITICAL second"),
        (("ERROR: logged before", *TRACEBACK, "bye"), TRACEBACK[-1]),
        ((*TRACEBACK, "ERROR: application startup failed", "bye"), TRACEBACK[-1]),
        ((*(f"(worker pid=7) {line}" for line in TRACEBACK), "bye"), f"(worker pid=7) {TRACEBACK[-1]}"),
        (("thread 'main' panicked at src/main.rs:3", "bye"), "thread 'main' panicked at src/main.rs:3"),
        (TRACEBACK[:2], TRACEBACK[1]),
        (("no terror here", "errors: 0"), "errors: 0"),
    ],
)
def test_a_traceback_comes_before_an_error_and_an_error_before_the_end(lines: tuple[str, ...], last: str) -> None:
    _, end = telling_lines(lines, 3)

    assert lines[end - 1] == last


def test_a_cause_has_the_exception_and_not_what_the_server_said_after_it() -> None:
    output = "\n".join([*TRACEBACK, *(f"INFO: worker {number} stops" for number in range(9))])

    told = describe_failure(ReplicaFailure(error="exited with code 1", output=output))

    assert told == (
        'exited with code 1: File "/srv/server.py", line 7, in <module> / load(model) / '
        "torch.OutOfMemoryError: CUDA out of memory"
    )


@given(st.lists(st.text(max_size=60), max_size=20), st.integers(min_value=1, max_value=5))
def test_the_lines_are_always_few_and_there(lines: list[str], most: int) -> None:
    begin, end = telling_lines(lines, most)

    assert 0 <= begin <= end <= len(lines)
    assert end - begin <= most
    assert end > begin or not lines
