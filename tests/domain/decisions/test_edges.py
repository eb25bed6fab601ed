"""Which of the keeper's signals are news to a rollout."""

from datetime import UTC, datetime

import pytest

from celadon.domain.decisions.edges import is_news_of_green, means_other_rollout
from celadon.domain.language.messages import GreenChanged
from celadon.domain.language.names import RolloutId, RouteSetId
from celadon.domain.language.progress import Progress
from celadon.domain.language.states import RolloutPhase, SetCondition

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def progress(*, rollout: int | None = 7, green_set: int | None = 2, known: GreenChanged | None = None) -> Progress:
    return Progress(
        deployment="chat",
        phase=RolloutPhase.VERIFYING,
        since=NOW,
        rollout=None if rollout is None else RolloutId(rollout),
        green_set=None if green_set is None else RouteSetId(green_set),
        green=known,
    )


def edge(route_set: int = 2, seq: int = 1, rollout: int | None = 7) -> GreenChanged:
    return GreenChanged(
        rollout=None if rollout is None else RolloutId(rollout),
        route_set=RouteSetId(route_set),
        seq=seq,
        condition=SetCondition.READY,
        running=1,
        ready=1,
        required=1,
        wanted=1,
    )


@pytest.mark.parametrize(("own", "meant", "other"), [(7, 7, False), (7, 6, True), (7, None, False), (None, 6, False)])
def test_a_signal_means_the_rollout_that_it_names(own: int | None, meant: int | None, other: bool) -> None:  # noqa: FBT001
    assert means_other_rollout(progress(rollout=own), None if meant is None else RolloutId(meant)) is other


@pytest.mark.parametrize(
    ("told", "known", "green_set", "news"),
    [
        (edge(), None, 2, True),
        (edge(rollout=6), None, 2, False),
        (edge(rollout=6), None, None, False),
        (edge(route_set=1), None, 2, False),
        (edge(seq=2), edge(seq=1), 2, True),
        (edge(seq=1), edge(seq=1), 2, False),
        (edge(seq=1), edge(route_set=1, seq=50, rollout=None), None, True),
    ],
    ids=[
        "the first edge",
        "of the rollout before",
        "of the rollout before, green not known yet",
        "of another set",
        "a later edge",
        "the same edge again",
        "after an edge of another set with a larger number",
    ],
)
def test_an_edge_is_news(told: GreenChanged, known: GreenChanged | None, green_set: int | None, news: bool) -> None:  # noqa: FBT001
    assert is_news_of_green(progress(green_set=green_set, known=known), told) is news
