"""Room: what a bound on the replicas of all sets refuses."""

import pytest

from celadon.domain.decisions.room import refuse_bound, refuse_for_room
from celadon.domain.language.errors import RefusalCode


@pytest.mark.parametrize(
    ("used", "more", "bound", "is_refused"),
    [
        (3, 3, 6, False),
        (3, 3, 5, True),
        (4, 3, 6, True),
        (0, 6, 6, False),
        (9, 0, 6, False),
        (9, -2, 6, False),
        (9, 1, 6, True),
        (9, 9, None, False),
    ],
)
def test_more_replicas_need_room_within_the_bound(used: int, more: int, bound: int | None, *, is_refused: bool) -> None:
    refusal = refuse_for_room("chat", used=used, more=more, bound=bound)

    assert (refusal is not None) is is_refused
    assert refusal is None or refusal.code is RefusalCode.NO_ROOM


def test_the_refusal_tells_the_figures() -> None:
    refusal = refuse_for_room("chat", used=6, more=1, bound=6)

    assert refusal is not None
    assert refusal.message == "no room for 1 more replica of chat: its sets have 6, and max_total_replicas is 6"


@pytest.mark.parametrize(
    ("blue", "green", "bound", "is_refused"),
    [(3, 3, 6, False), (3, 3, 5, True), (0, 3, 3, False), (0, 3, 2, True), (5, 1, 6, False), (5, 5, None, False)],
)
def test_a_bound_must_leave_room_for_green_beside_blue(
    blue: int, green: int, bound: int | None, *, is_refused: bool
) -> None:
    refusal = refuse_bound("chat", blue=blue, green=green, bound=bound)

    assert (refusal is not None) is is_refused
    assert refusal is None or refusal.code is RefusalCode.POLICY_CONFLICT


def test_the_refusal_of_a_bound_says_what_it_would_have_to_be() -> None:
    refusal = refuse_bound("chat", blue=3, green=2, bound=4)

    assert refusal is not None
    assert "blue has 3 and green needs 2 beside it" in refusal.message
    assert "raise max_total_replicas to 5" in refusal.next_step
