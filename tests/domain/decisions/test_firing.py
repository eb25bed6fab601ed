"""Which firings of a schedule count."""

from datetime import UTC, datetime, timedelta

import pytest

from celadon.domain.decisions.firing import PlannedAsk, refuse_late_firing, refuse_other_firing
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.scheduling import AskRequest

NIGHT = datetime(2026, 12, 1, 3, tzinfo=UTC)
PLANNED = PlannedAsk(command="promote", argument={"reason": "at night"}, at=None, cron="0 3 * * *", zone="UTC")
ASKED = AskRequest(deployment="chat", command="promote", argument={"reason": "at night"})


@pytest.mark.parametrize(("late", "refused"), [(-1, False), (0, False), (600, False), (601, True), (86_400, True)])
def test_a_firing_counts_for_ten_minutes(late: int, refused: bool) -> None:  # noqa: FBT001 - a table
    refusal = refuse_late_firing(NIGHT, NIGHT + timedelta(seconds=late))

    assert (refusal is not None) is refused
    assert refusal is None or refusal.code is RefusalCode.TOO_LATE


def test_what_no_schedule_asks_is_never_late() -> None:
    assert refuse_late_firing(None, NIGHT) is None


def test_a_firing_is_what_its_author_wanted_at_a_moment_that_its_author_named() -> None:
    assert refuse_other_firing(PLANNED, ASKED, NIGHT) is None


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"command": "abort"}, NIGHT),
        ({"argument": {}}, NIGHT),
        ({"argument": {"reason": "at night", "force": True}}, NIGHT),
        ({}, NIGHT + timedelta(minutes=1)),
        ({}, NIGHT + timedelta(seconds=1)),
        ({}, None),
    ],
)
def test_any_other_firing_is_refused(changes: dict[str, object], at: datetime | None) -> None:
    refusal = refuse_other_firing(PLANNED, ASKED.model_copy(update=changes), at)

    assert refusal is not None
    assert refusal.code is RefusalCode.SCHEDULE_CHANGED
