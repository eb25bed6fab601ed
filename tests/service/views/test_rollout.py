"""What people are shown of a rollout."""

from datetime import timedelta

from celadon.domain.language.states import RolloutPhase
from celadon.service.command import Tone
from celadon.service.views.rollout import rollout_event_rows, rollout_summary
from tests.sample_views import NOW
from tests.service.views.records import event, record


def test_events_are_counted_from_the_rollouts_begin() -> None:
    ended = record(RolloutPhase.COMPLETED, switched_at=NOW - timedelta(minutes=5), switch_epoch=12)
    events = [
        event("started", timedelta(0), actor="ann", reason="new weights"),
        event("switched", timedelta(minutes=5), actor="ben", evidence={"epoch": "12"}),
        event("completed", timedelta(minutes=10), evidence={"outcome": "promoted"}),
    ]

    assert [(one.after, one.title, one.tone) for one in rollout_event_rows(ended, events)] == [
        ("0s", "started by ann", Tone.PLAIN),
        ("5m", "switched by ben", Tone.GOOD),
        ("10m", "completed", Tone.GOOD),
    ]


def test_an_ended_rollout_took_from_its_begin_to_its_end() -> None:
    ended = record(RolloutPhase.COMPLETED)

    summary = rollout_summary(ended, NOW + timedelta(days=1))

    assert (summary.took, summary.phase.text, summary.phase.tone) == ("10m", "promoted", Tone.GOOD)


def test_what_a_line_rests_on_is_told_in_words() -> None:
    switched = event(
        "switched", timedelta(0), reason="reviewed with ben", evidence={"epoch": "4", "acknowledged_by": "edge-1"}
    )

    (row,) = rollout_event_rows(record(), [switched])

    assert row.text == "switched: reviewed with ben; epoch 4, acknowledged by edge-1"
