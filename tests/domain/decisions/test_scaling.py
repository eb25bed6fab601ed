"""Which replicas leave a set that has too many, and which come back."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.decisions.scaling import SetMember, who_leaves, who_returns
from celadon.domain.language.names import RouteId
from celadon.domain.language.states import RouteHealthStatus, RouteStatus

_LETTERS = {
    "p": (RouteStatus.PROVISIONING, RouteHealthStatus.NOT_CHECKED),
    "n": (RouteStatus.RUNNING, RouteHealthStatus.NOT_CHECKED),
    "h": (RouteStatus.RUNNING, RouteHealthStatus.HEALTHY),
    "d": (RouteStatus.RUNNING, RouteHealthStatus.DEGRADED),
    "u": (RouteStatus.RUNNING, RouteHealthStatus.UNHEALTHY),
    "t": (RouteStatus.TERMINATING, RouteHealthStatus.HEALTHY),
}


def members(letters: str) -> list[SetMember]:
    """Return members, oldest first, one a letter; capitals leave, and each is named by its place."""
    return [
        SetMember(
            route=RouteId(str(place)),
            status=_LETTERS[letter.lower()][0],
            health=_LETTERS[letter.lower()][1],
            leaves=letter.isupper(),
        )
        for place, letter in enumerate(letters)
    ]


@pytest.mark.parametrize(
    ("letters", "wanted", "expected"),
    [
        ("hhh", 3, ""),
        ("hhh", 4, ""),
        ("hhh", 2, "2"),
        ("hhh", 1, "21"),
        ("hhh", 0, "210"),
        ("uhh", 2, "0"),
        ("uhu", 1, "20"),
        ("hdh", 2, "1"),
        ("hnd", 1, "12"),
        ("hup", 2, "2"),
        ("hup", 1, "21"),
        ("phh", 2, "0"),
        ("hhH", 2, ""),
        ("hhH", 1, "1"),
        ("hht", 2, ""),
        ("", 0, ""),
    ],
)
def test_the_unhealthy_leave_first_then_the_newest(letters: str, wanted: int, expected: str) -> None:
    assert who_leaves(members(letters), wanted) == tuple(expected)


@pytest.mark.parametrize(
    ("letters", "wanted", "expected"),
    [
        ("hH", 1, ""),
        ("hH", 2, "1"),
        ("hHHH", 3, "12"),
        ("hHHH", 9, "123"),
        ("hUH", 3, "2"),
        ("hUDH", 3, "32"),
        ("hU", 2, ""),
        ("hT", 2, ""),
        ("H", 0, ""),
        ("HH", 1, "0"),
        ("U", 1, "0"),
        ("pU", 1, "1"),
        ("pU", 2, "1"),
        ("UN", 1, "1"),
        ("tU", 1, "1"),
        ("p", 2, ""),
        ("uH", 1, "1"),
        ("uD", 1, "1"),
        ("uN", 1, ""),
        ("uU", 1, ""),
        ("huHH", 2, "2"),
        ("uH", 0, ""),
    ],
)
def test_members_come_back_when_more_are_wanted_or_nobody_else_serves(
    letters: str,
    wanted: int,
    expected: str,
) -> None:
    assert who_returns(members(letters), wanted) == tuple(expected)


_sets = st.text(alphabet="pnhdutPNHDUT", max_size=10).map(members)
_wanted = st.integers(min_value=0, max_value=10)


def after(found: Sequence[SetMember], wanted: int) -> list[SetMember]:
    """Return a set as the table has it when it has taken members back and let others leave until nothing changes."""
    for _ in range(len(found) + 1):
        back = who_returns(found, wanted)
        found = [one.model_copy(update={"leaves": one.leaves and one.route not in back}) for one in found]
        leaving = who_leaves(found, wanted)
        found = [one.model_copy(update={"leaves": one.leaves or one.route in leaving}) for one in found]
    return list(found)


@given(_sets, _wanted)
def test_a_set_never_keeps_more_than_it_wants(found: list[SetMember], wanted: int) -> None:
    assert sum(one.stays for one in after(found, wanted)) <= wanted


@given(_sets, _wanted.filter(bool))
def test_a_set_with_members_that_run_always_has_one_that_serves(found: list[SetMember], wanted: int) -> None:
    settled = after(found, wanted)

    assert any(one.serves for one in settled) or not any(one.status is RouteStatus.RUNNING for one in settled)


@given(_sets, _wanted)
def test_nobody_leaves_while_one_of_less_worth_stays(found: list[SetMember], wanted: int) -> None:
    leaving = who_leaves(found, wanted)
    stay = [one for one in found if one.stays and one.route not in leaving]

    if any(one.health is RouteHealthStatus.UNHEALTHY for one in stay if one.serves):
        chosen = [one for one in found if one.route in leaving and one.serves]
        assert all(one.health is RouteHealthStatus.UNHEALTHY for one in chosen)


@given(_sets, _wanted)
def test_what_is_settled_stays_as_it_is(found: list[SetMember], wanted: int) -> None:
    settled = after(found, wanted)

    assert who_leaves(settled, wanted) == ()
    assert after(settled, wanted) == settled
