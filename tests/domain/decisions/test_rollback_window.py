"""To which revision a rollback goes, and whether it needs a gate."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.rollback_window import Past, Promoted, judge_window, revisions_back
from celadon.domain.language.names import RevisionNumber
from celadon.domain.language.policy import RollbackWindow

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def past(story: str) -> list[Promoted]:
    """Return rollouts an hour apart: ``A`` rolls out revision 1, ``<A`` rolls back to it."""
    promoted: list[Promoted] = []
    back = False
    for sign in story.replace(" ", ""):
        if sign == "<":
            back = True
            continue
        moment = START + len(promoted) * HOUR
        promoted.append(Promoted(revision=RevisionNumber(ord(sign) - 64), switched_at=moment, goes_back=back))
        back = False
    return promoted


def back(story: str) -> str:
    """Return where a rollback may go, the nearest first."""
    promoted = past(story)
    return "".join(chr(64 + one.revision) for one in revisions_back(promoted, promoted[-1].revision))


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("A", ""),
        ("AB", "A"),
        ("ABC", "BA"),
        ("AB <A", ""),
        ("AB <A B", "A"),
        ("AB <A C", "A"),
        ("AB <A C <B", "A"),
        ("ABC <A", ""),
        ("ABC <B", "A"),
        ("ABC <B D", "BA"),
        ("ABCD <C <B", "A"),
        ("AB A", "B"),
        ("AAB", "A"),
        ("ABB", "A"),
        ("BC <A", ""),
    ],
)
def test_a_rollback_goes_to_what_was_live_and_not_gone_back_from(story: str, expected: str) -> None:
    assert back(story) == expected


def test_what_is_live_although_its_rollout_failed_counts_as_live() -> None:
    promoted = [*past("AB"), Promoted(revision=RevisionNumber(3), switched_at=START + 5 * HOUR)]

    first, second = revisions_back(promoted, RevisionNumber(3))

    assert (first, second.revision) == (Past(revision=RevisionNumber(2), left_at=START + 5 * HOUR), 1)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=20))
def test_a_rollback_never_goes_to_what_is_live_and_never_to_one_revision_in_two_places(
    steps: list[tuple[int, bool]],
) -> None:
    promoted = [
        Promoted(revision=RevisionNumber(number), switched_at=START + place * HOUR, goes_back=goes_back)
        for place, (number, goes_back) in enumerate(steps)
    ]
    live = promoted[-1].revision

    revisions = [one.revision for one in revisions_back(promoted, live)]

    assert live not in revisions
    assert len(set(revisions)) == len(revisions)
    assert set(revisions) <= {one.revision for one in promoted}
    assert all(one.left_at is not None for one in revisions_back(promoted, live))


@pytest.mark.parametrize(
    ("revision", "window", "after", "is_inside", "why"),
    [
        (3, {}, HOUR, True, "r3 is 1 revision back, and traffic left it 1h ago"),
        (1, {}, HOUR, True, "r1 is 3 revisions back"),
        (1, {"revisions": 2}, HOUR, False, "r1 is 3 revisions back, and the window is 2 revisions"),
        (3, {"revisions": 0}, HOUR, False, "r3 is 1 revision back, and the window is 0 revisions"),
        (3, {}, 24 * HOUR, True, "1d ago"),
        (3, {}, 24 * HOUR + timedelta(seconds=1), False, "1d ago, and the window is 1d"),
        (3, {"age": "30m"}, HOUR, False, "2026-03-01 15:00:00 UTC, 1h ago, and the window is 30m"),
        (4, {}, HOUR, False, "r4 was not live before"),
        (9, {}, HOUR, False, "r9 was not live before, or traffic was taken back from it since"),
    ],
)
def test_the_window_has_an_end_in_revisions_and_in_time(
    revision: int,
    window: dict[str, object],
    after: timedelta,
    is_inside: bool,  # noqa: FBT001 - a column of the table
    why: str,
) -> None:
    promoted = past("ABCD")
    found = revisions_back(promoted, RevisionNumber(4))

    verdict = judge_window(
        found,
        RevisionNumber(revision),
        RollbackWindow.model_validate(window),
        promoted[-1].switched_at + after,
    )

    assert verdict.is_inside is is_inside
    assert why in verdict.why
    assert ("the ordinary gate applies" in verdict.why) is not is_inside
