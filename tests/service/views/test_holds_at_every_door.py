"""Why no timer decides is one sentence, the same wherever somebody looks, with the commands in the door's words."""

from typing import Final

import pytest

from celadon.api.graphql_types import Workflow
from celadon.domain.decisions.narration import details, holding_reason
from celadon.domain.language.progress import Progress
from celadon.domain.language.states import RolloutPhase
from celadon.service.door_words import Door, said_at
from celadon.service.rollout_view import RolloutView
from tests.client.statuses import rollout_status
from tests.docs.rollouts_page import HELD_AT, holds
from tests.sample_views import VIEWS
from tests.service.views.test_both_doors import as_page, as_tree

HOLDS: Final = {name: progress for name, progress, _ in holds()}
SINCE: Final = "since 2026-03-02 11:55:00 UTC"
BY: Final = "by ann (ben looks at the latencies)"
NO_ROOM: Final = "no room for 3 more replicas of chat: its sets have 5, and max_total_replicas is 6"
SCALE: Final = "celadon deployment scale chat N"

PARTS: Final = {
    "a pause": ("paused", SINCE, BY, "until it is resumed", "celadon resume chat"),
    "a freeze": ("frozen", SINCE, BY, "until 2026-03-02 13:00:00 UTC", "celadon unfreeze chat"),
    "a freeze of all": ("all deployments", SINCE, BY, "until somebody ends it", "celadon unfreeze --all"),
    "regressions": (
        "green regressed 3 times",
        SINCE,
        "more than max_regressions (2)",
        "until a person does",
        "celadon promote chat --revision 2",
    ),
    "the hold `frozen`": ("frozen", SINCE, BY, "until the freeze has ended", "celadon unfreeze chat"),
    "the hold `keeper_silent`": (
        "no living keeper",
        SINCE,
        "vouches for the health of green",
        "until a keeper has looked at green",
        "celadon worker",
    ),
    "the hold `blue_changed`": (
        "the live set is 15",
        SINCE,
        "the rollout began with 11",
        "cannot switch any more",
        "celadon abort chat",
    ),
    "the hold `not_by_itself`": (
        "leaves the switch to a person",
        SINCE,
        "the policy of rollout 7",
        "until a person does",
        "celadon promote chat, celadon reschedule chat",
    ),
    "the hold `window`": (
        "a timer is due",
        SINCE,
        "the windows of the policy are closed",
        "until they open at 2026-03-02 13:00:00 UTC",
        "celadon promote chat",
    ),
    "the hold `approvals`": (
        "0 of 2 approved",
        SINCE,
        "another verified person who has the right to promote",
        "waits for them",
        "celadon promote chat",
    ),
    "the hold `no_room`": ("no timer promotes", SINCE, NO_ROOM, "until there is room", SCALE),
    "no room for green": ("green is opened", SINCE, NO_ROOM, "as soon as there is room", SCALE),
    "no room for its growth": ("green grows to 3", SINCE, NO_ROOM, "as soon as there is room", SCALE),
    "a green that is lost": (
        "the bake does not end",
        "since 2026-03-02 11:59:56 UTC",
        "no replica of green is healthy",
        "goes back by itself at 2026-03-02 12:00:06 UTC",
        "celadon finish chat",
    ),
    "a green that is lost, and a policy by which nothing goes back by itself": (
        "the bake does not end",
        "since 2026-03-02 11:59:56 UTC",
        "no replica of green is healthy",
        "nothing goes back by itself",
        "celadon finish chat",
    ),
    "a pending abort, in the bake": (
        "an abort by ann (ben looks at the latencies) is pending",
        SINCE,
        "0 of 3 healthy, 3 required",
        "as soon as blue can take it",
        "unless ann takes it back: celadon withdraw chat, or the bake is ended: celadon finish chat",
    ),
    "a pending abort, while blue drains": (
        "an abort by ann (ben looks at the latencies) is pending",
        SINCE,
        "0 of 3 healthy, 3 required",
        "before it is gone",
        "unless ann takes it back: celadon withdraw chat",
    ),
}
"""Of each hold: what, since when, by whom or what and why, until when, who can end it and how."""


def test_each_hold_has_its_parts_in_the_table() -> None:
    assert set(PARTS) == set(HOLDS)


@pytest.mark.parametrize("hold", HOLDS)
def test_a_hold_says_what_since_when_why_until_when_and_how_it_is_ended(hold: str) -> None:
    sentence = holding_reason(HOLDS[hold], HELD_AT)

    assert [part for part in PARTS[hold] if part not in sentence] == [], sentence


def view_of(progress: Progress) -> RolloutView:
    """Return what is read of a rollout that is held, by every door that reads."""
    sample = VIEWS["baking-pending-abort" if progress.phase is RolloutPhase.BAKING else "awaiting-promotion"]
    status = rollout_status(phase=progress.phase, holding=holding_reason(progress, HELD_AT))
    return sample.model_copy(update={"workflow": sample.workflow.model_copy(update={"status": status})})


@pytest.mark.parametrize("hold", HOLDS)
def test_every_door_says_why_with_the_same_sentence(hold: str) -> None:
    progress = HOLDS[hold]
    sentence = holding_reason(progress, HELD_AT)
    assert sentence
    view = view_of(progress)
    status = view.workflow.status
    assert status is not None

    doors = {
        "status and watch": as_tree(view),
        "console": as_page(view),
        "API": RolloutView.model_validate_json(view.model_dump_json()).workflow.status.holding,  # type: ignore[union-attr]
        "GraphQL": vars(Workflow.of(status))["holding"],
        # Words of people stand in code spans there.
        "Temporal UI": details(progress, HELD_AT, (), ()).replace("`", ""),
    }

    said = {"console": said_at(Door.CONSOLE, sentence), "GraphQL": said_at(Door.GRAPHQL, sentence)}
    told = {door: said.get(door, sentence).casefold() for door in doors}
    assert [door for door, shown in doors.items() if told[door] not in shown.casefold()] == []
